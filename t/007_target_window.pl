# A target that cannot be reached is refused before anything is fetched, with the window in the message.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('window', 'file');
my $node = new_node('window', repository => $repository);
fill_tables($node);
my $early = $node->safe_psql('postgres', q(SELECT clock_timestamp() - interval '1 hour'));
my $lsn_before = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
backup_now($node);
$node->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
wait_for_archived($node);
my $beyond = $node->safe_psql('postgres', q(SELECT pg_current_wal_lsn() + 1000000000::numeric));
my $future = $node->safe_psql('postgres', q(SELECT clock_timestamp() + interval '1 day'));

my $directory = $node->basedir . '/target';
for my $case (
    [ 'a time before the first backup', '--target-time', $early ],
    [ 'a time in the future', '--target-time', $future ],
    [ 'an LSN before the first backup', '--target-lsn', '0/1000000' ],
    [ 'an LSN beyond the last WAL', '--target-lsn', $beyond ],
    [ 'an unknown restore point', '--target-name', 'nobody made this' ],
    [ 'an unknown transaction', '--target-xid', '4000000000' ],
    [ 'an unknown timeline', '--target-timeline', '7' ],
    [ 'an unknown backup', '--backup', '20010101T000000F' ])
{
    my ($what, @arguments) = @$case;
    my ($status, $out, $err) = restore($repository, $directory, @arguments);
    isnt($status, 0, "$what: refused");
    like($err, qr/window|does not (?:exist|hold)|no (?:such )?(?:backup|timeline|restore point|transaction)|not found|is not in the repository/, "$what: says what is possible");
    ok(!-e "$directory/PG_VERSION" && !-e "$directory/base", "$what: nothing was fetched");
}
my (undef, undef, $err) = restore($repository, $directory, '--target-time', $future);
my $year = (localtime)[5] + 1900;
like($err, qr/$year-\d\d-\d\d.*$year-\d\d-\d\d/s, 'the window is given with its times');

# Malformed targets name the value and what was expected.
for my $case (
    [ '--target-time', 'yesterday-ish' ], [ '--target-lsn', '12345' ], [ '--target-xid', '-3' ], [ '--target-timeline', 'zero' ])
{
    my ($option, $value) = @$case;
    my ($status, undef, $message) = restore($repository, $directory, $option, $value);
    isnt($status, 0, "$option $value: refused");
    like($message, qr/\Q$value\E/, "$option $value: named in the error");
}
my ($status, undef, $two) = restore($repository, $directory, '--target-immediate', '--target-lsn', $lsn_before);
isnt($status, 0, 'two targets are refused');

done_testing();
