# Damaged objects of every kind (cut short, a flipped bit, a future format, another cluster's): the error names the
# object, and what a failed restore leaves cannot be started.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('bad', 'file');
my $node = new_node('bad', repository => $repository, initdb => ['--wal-segsize=1']);
fill_tables($node);
my $id = backup_now($node);
my $segment = wait_for_archived($node);
$node->stop;
my $other_repository = new_repository('other', 'file');
my $other = new_node('other', repository => $other_repository, initdb => ['--wal-segsize=1']);
backup_now($other);
$other->stop;

my %damage = (
    'cut short' => sub { substr($_[0], 0, int(length($_[0]) / 2)) },
    'cut to nothing' => sub { '' },
    'cut within its header' => sub { substr($_[0], 0, 100) },
    'with a flipped bit' => sub { my $middle = int(length($_[0]) * 2 / 3); substr($_[0], $middle, 1) = chr(ord(substr($_[0], $middle, 1)) ^ 4); $_[0] },
    'with a flipped bit in its header' => sub { substr($_[0], 60, 1) = chr(ord(substr($_[0], 60, 1)) ^ 1); $_[0] },
    'of a future format' => sub { substr($_[0], 8, 2) = pack('v', 2); $_[0] },
    'that is no object at all' => sub { 'hello, world' x 1000 });

my %kinds = (
    pack => qr{/data/\Q$id\E/000001$|/data/\Q$id\E/000000$},
    'file table part' => qr{/files/\Q$id\E/00000[01]$},
    'file table index' => qr{/files/\Q$id\E/index$},
    commit => qr{/commits/\Q$id\E\.json$},
    'repository document' => qr{^pgvigil\.json$});

my $number = 0;
my $directory;
for my $kind (sort keys %kinds)
{
    my $key = ($repository->matching($kinds{$kind}))[0];
    my $good = $repository->read_object($key);
    for my $what (sort keys %damage)
    {
        # A restore reads a pack's extents by their place and checks each by its hash: it has no use for the header.
        next if $kind eq 'pack' && $what =~ /future format|in its header/;
        my $copy = $good;
        $repository->write_object($key, $damage{$what}->($copy));
        $directory = $node->basedir . '/damaged' . ++$number;
        my ($status, undef, $err) = restore($repository, $directory, '--backup', $id, '--target-immediate');
        isnt($status, 0, "$kind $what: refused");
        my ($name) = $key =~ m{([^/]+/[^/]+)$} ? $1 : $key;
        like($err, qr/\Q$name\E/, "$kind $what: the object is named");
        like($err, qr/version/, "$kind $what: and that another version is needed") 
          if $what eq 'of a future format' && $kind =~ /commit|document/;
        ok(!-e "$directory/global/pg_control", "$kind $what: what is left cannot be started");
    }
    # Another cluster's object of the same kind.
    my $foreign_pattern = $kind eq 'repository document' ? undef : $kinds{$kind} =~ s/\Q\E//r;
    if ($foreign_pattern)
    {
        my ($foreign) = $other_repository->matching($kind eq 'pack' ? qr{/data/} : $kind eq 'commit' ? qr{/commits/} : $kind =~ /index/ ? qr{/index$} : qr{/files/[^/]+/\d});
        $repository->write_object($key, $other_repository->read_object($foreign));
        $directory = $node->basedir . '/foreign' . ++$number;
        my ($status, undef, $err) = restore($repository, $directory, '--backup', $id, '--target-immediate');
        isnt($status, 0, "$kind of another cluster: refused");
        ok(!-e "$directory/global/pg_control", "$kind of another cluster: what is left cannot be started");
    }
    $repository->write_object($key, $good);
}

# WAL: wal-get never hands out bad bytes.
my $key = $repository->only(qr{/wal/.*/\Q$segment\E$});
my $good = $repository->read_object($key);
for my $what (sort keys %damage)
{
    my $copy = $good;
    $repository->write_object($key, $damage{$what}->($copy));
    my $file = $node->basedir . '/wal' . ++$number;
    my ($status, undef, $err) = pgvigil('wal-get', '--repository', $repository->url, '--patience', '1', $segment, $file);
    isnt($status, 0, "segment $what: refused");
    like($err, qr/\Q$segment\E/, "segment $what: named");
    is(join(' ', glob("$file*")), '', "segment $what: no file appears");
}
$repository->write_object($key, $good);

# Unharmed again, it restores.
my $copy = restored_node('unharmed', $repository);
start_copy($copy);
pass('with its objects put back the backup restores');

done_testing();
