# Every recovery target ends exactly where it says: time, LSN, transaction, restore point, end of the backup, end of WAL.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('targets', 'file');
my $node = new_node('targets', repository => $repository);
$node->safe_psql('postgres', 'CREATE TABLE steps (step text)');
my $backup = backup_now($node);

sub step
{
    my ($name) = @_;
    my $out = $node->safe_psql('postgres', <<"S");
BEGIN;
INSERT INTO steps VALUES ('$name');
SELECT pg_current_xact_id();
COMMIT;
SELECT pg_current_wal_insert_lsn();
SELECT clock_timestamp();
S
    my ($xid, $lsn, $time) = split /\n/, $out;
    return { xid => $xid, lsn => $lsn, time => $time };
}

my $one = step('one');
my $two = step('two');
$node->safe_psql('postgres', q(SELECT pg_create_restore_point('before three')));
my $three = step('three');
my $four = step('four');
$node->safe_psql('postgres', 'DROP TABLE steps; CREATE TABLE steps (step text)');
step('after the drop');
my $five = step('five');
wait_for_archived($node);
$node->stop;

# [what, arguments, expected steps]
my @cases = (
    [ 'time', [ '--target-time', $one->{time} ], 'one' ],
    [ 'LSN', [ '--target-lsn', $two->{lsn} ], 'one,two' ],
    [ 'xid', [ '--target-xid', $three->{xid} ], 'one,three,two' ],
    [ 'name', [ '--target-name', 'before three' ], 'one,two' ],
    [ 'time before a DROP TABLE', [ '--target-time', $four->{time} ], 'four,one,three,two' ],
    [ 'time after the last commit', [ '--target-time', $five->{time} ], 'after the drop,five' ],
    [ 'immediate', ['--target-immediate'], '' ],
    [ 'latest', [], 'after the drop,five' ],
    [ 'a named backup', [ '--backup', $backup ], 'after the drop,five' ]);

my $number = 0;
for my $case (@cases)
{
    my ($what, $arguments, $expected) = @$case;
    my $copy = restored_node('copy' . ++$number, $repository, @$arguments);
    start_copy($copy);
    is($copy->safe_psql('postgres', q(SELECT coalesce(string_agg(step, ',' ORDER BY step), '') FROM steps)), $expected, "target $what");
    $copy->stop('immediate');
    $copy->clean_node;
}

done_testing();
