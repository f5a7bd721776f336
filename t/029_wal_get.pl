# wal-get as restore_command (rules E1): 1 only when absence is confirmed, 126 for a gap or a failure in recovery, 1 with
# a message for a standby; what it writes is whole or absent; nothing past the planned path.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('wal_get', 'file');
my $node = new_node('wal_get', repository => $repository, initdb => ['--wal-segsize=1']);
fill_tables($node);
backup_now($node);
my @segments = map { fill_tables($node, 50); switch_wal($node) } 1 .. 6;
wait_for_archived($node, $segments[-1]);
my $after_the_end = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn() + 3 * 1048576)');
$node->stop;
# The shutdown archives the last segment: what comes after is absent for certain.
my $directory = scratch_directory();

# A working directory as the server gives it to restore_command: the data directory, with its signal file.
sub in_recovery
{
    my ($signal) = @_;
    my $place = "$directory/data_$signal";
    mkdir $place;
    append_to_file("$place/$signal", '') if $signal;
    return $place;
}

sub wal_get
{
    my ($place, $name, @more) = @_;
    my $target = "$place/RECOVERYXLOG";
    unlink $target;
    my ($out, $err) = ('', '');
    IPC::Run::run([ 'pgvigil', 'wal-get', '--repository', $repository->url, @more, $name, $target ], '<', \undef, '>', \$out, '2>', \$err,
        init => sub { chdir $place });
    note("wal-get $name in $place: status " . ($? >> 8) . ", $err");
    return ($? >> 8, $err, -e $target ? -s $target : undef);
}

my $recovery = in_recovery('recovery.signal');
my $standby = in_recovery('standby.signal');
for my $place ($recovery, $standby)
{
    my ($status, $err, $size) = wal_get($place, $segments[1]);
    is($status, 0, 'a segment that is there');
    is($size, 1024 * 1024, 'arrives whole');
    ($status, $err, $size) = wal_get($place, $after_the_end);
    is($status, 1, 'a confirmed end is 1');
    is($size, undef, 'and leaves no file');
    ($status) = wal_get($place, '00000002.history');
    is($status, 1, 'an absent history file is 1');
}

# A gap: the segment is gone, later ones are there.
my $gap = $segments[3];
my $key = $repository->only(qr/\Q$gap\E$/);
my $bytes = $repository->read_object($key);
$repository->delete_object($key);
my ($status, $err, $size) = wal_get($recovery, $gap, '--patience', '2');
is($status, 126, 'a gap in recovery is 126, which stops it');
like($err, qr/\Q$gap\E/, 'and names the segment');
($status, $err) = wal_get($standby, $gap);
is($status, 1, 'a gap for a standby is 1');

# pgv_wal_ranges and the windows show it; a restore across it is refused before it fetches.
$node->start;
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) = 1 FROM pgv_wal_ranges WHERE state = 'missing')) eq 't' }, 'the gap to be shown');
my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
$node->stop;
($status, undef, $err) = restore($repository, "$directory/across", '--target-lsn', $end);
isnt($status, 0, 'a target behind the gap is refused');
ok(!-e "$directory/across/PG_VERSION", 'before anything is fetched');

# "Latest" ends before the gap, says so, and recovery ends there and not with an error.
my $copy = restored_node('before_gap', $repository);
start_copy($copy);
cmp_ok($copy->safe_psql('postgres', 'SELECT count(*) FROM items'), '<', 2000 + 6 * 50, 'latest ends before the gap');
$copy->stop;
$repository->write_object($key, $bytes);

# The store is away.
rename($repository->directory, $repository->directory . '.away') or die;
($status, $err) = wal_get($recovery, $segments[2], '--patience', '2');
is($status, 126, 'an outage in recovery is 126');
like($err, qr/\S/, 'with a message');
($status, $err) = wal_get($standby, $segments[2]);
is($status, 1, 'an outage for a standby is 1');
like($err, qr/\S/, 'with a message');
($status) = wal_get($recovery, '00000002.history', '--patience', '2');
is($status, 126, 'an outage in recovery is 126 for a history file, too');
rename($repository->directory . '.away', $repository->directory) or die;

# Bad usage.
for my $arguments ([], [ 'not-a-wal-name', "$directory/x" ], [ $segments[0] ])
{
    my ($code, undef, $message) = pgvigil('wal-get', '--repository', $repository->url, @$arguments);
    cmp_ok($code, '>=', 2, 'bad usage is neither 0 nor 1: ' . (join(' ', @$arguments) || 'no arguments'));
    like($message, qr/\S/, 'with a message');
}

done_testing();
