# Targets that lie in WAL of which only the tail is stored: time, LSN, transaction and restore point end exactly where they say, and the
# recovery window ends at the last streamed commit.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my $repository = new_repository('tail_targets', 'file');
my $node = new_node('tail_targets', repository => $repository, settings => { 'pgvigil.stream_interval' => '50ms', autovacuum => 'off' });
$node->safe_psql('postgres', 'CREATE TABLE steps (step text)');
backup_now($node);
wait_for_archived($node);
my $segments = $repository->matching(qr{/wal/});

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
wait_for_durable($node);
is(scalar($repository->matching(qr{/wal/})), $segments, 'nothing of it is in a stored segment');

# The window: from the server's own view and from the program's, which knows nothing but the store.
refresh($node);
is( $node->safe_psql('postgres', "SELECT max(to_lsn) >= '$four->{lsn}' AND max(to_time) >= '$two->{time}' AND max(to_time) <= '$four->{time}' FROM pgv_recovery_windows"),
    't', 'pgv_recovery_windows ends at the last streamed commit');
my ($status, $list) = pgvigil('list', '--repository', $repository->url, '--json');
is($status, 0, 'pgvigil list');
like($list, qr/"to_lsn"/, 'tells of windows');
my @ends = $list =~ /"to_lsn"\s*:\s*"([^"]+)"/g;
ok((grep { $node->safe_psql('postgres', "SELECT '$_'::pg_lsn >= '$four->{lsn}'") eq 't' } @ends), 'which reach the last commit as well');
# Nobody commits, and time goes on: the window does not move.
my $end = $node->safe_psql('postgres', 'SELECT max(to_time) FROM pgv_recovery_windows');
my $message = $node->safe_psql('postgres', q(SELECT pg_logical_emit_message(false, 'pgvigil test', 'no commit')));
wait_for_durable($node, $message);
is($node->safe_psql('postgres', "SELECT window_to_lsn >= '$message', window_to = '$end' FROM pgv_status"), 't|t', 'pgv_status has the same window, at once');
refresh($node);
is($node->safe_psql('postgres', 'SELECT max(to_time) FROM pgv_recovery_windows'), $end, 'WAL without a commit does not make it longer');

# Everything from here is asked of the store alone: the machine is lost.
lose_server($node);
my $number = 0;
for my $case (
    [ 'time', [ '--target-time', $one->{time} ], 'one' ],
    [ 'LSN', [ '--target-lsn', $two->{lsn} ], 'one,two' ],
    [ 'xid', [ '--target-xid', $three->{xid} ], 'one,three,two' ],
    [ 'name', [ '--target-name', 'before three' ], 'one,two' ],
    [ 'time after the last commit', [ '--target-time', $four->{time} ], 'four,one,three,two' ],
    [ 'latest', [], 'four,one,three,two' ])
{
    my ($what, $arguments, $expected) = @$case;
    my $copy = restored_node('tail_copy' . ++$number, $repository, '--no-sync', @$arguments);
    start_copy($copy);
    is($copy->safe_psql('postgres', q(SELECT coalesce(string_agg(step, ',' ORDER BY step), '') FROM steps)), $expected, "target $what");
    $copy->stop('immediate');
    $copy->clean_node;
}

# A target behind the tail's end is refused, with the window, before anything is fetched.
my ($refused, undef, $err) = restore($repository, scratch_directory() . '/beyond', '--target-lsn', 'FF/0');
isnt($refused, 0, 'an LSN behind the tail is refused');
like($err, qr/window/, 'with the window');

done_testing();
