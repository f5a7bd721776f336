# A restore follows timelines through their tails: what the old primary had streamed counts up to the switch, what the new one streams counts
# behind it; the old timeline alone can be restored to its own last streamed byte; a restored copy archives nothing that was built from a tail.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my $repository = new_repository('tail_restore', 'file');
my $node = new_node('tail_restore', repository => $repository, initdb => ['--wal-segsize=1'], allows_streaming => 1,
    settings => { 'pgvigil.stream_interval' => '20ms', autovacuum => 'off' });
$node->safe_psql('postgres', 'CREATE TABLE steps (step text)');
backup_now($node);
my $standby = new_standby($node);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
$node->safe_psql('postgres', q(INSERT INTO steps VALUES ('one')));
$node->wait_for_catchup($standby, 'replay');
# The old primary goes on alone: this is not on the new timeline.
$standby->stop;
$node->safe_psql('postgres', q(INSERT INTO steps VALUES ('alone')));
wait_for_durable($node);
lose_server($node);
$standby->start;
promote($standby);
is($standby->safe_psql('postgres', q(SELECT string_agg(step, ',' ORDER BY step) FROM steps)), 'one', 'the standby parted before');
$standby->safe_psql('postgres', q(INSERT INTO steps VALUES ('two')));
my $durable = wait_for_durable($standby, undef, 120);
ok((grep { hex $_->{timeline} == 2 } pieces($repository)), 'the new timeline is streamed');
ok(!$repository->matching(qr{/wal/00000002/[0-9A-F]{8}/}), 'and nothing of it is complete');
lose_server($standby);

my $copy = restored_node('latest', $repository, '--no-sync');
my $before = $repository->fingerprint;
start_copy($copy);
is($copy->safe_psql('postgres', q(SELECT string_agg(step, ',' ORDER BY step) FROM steps)), 'one,two', 'the latest moment, over both tails');
$copy->safe_psql('postgres', 'SELECT pg_switch_wal()');
$copy->stop;
is_deeply($repository->fingerprint, $before, 'the copy has written nothing');
$copy->clean_node;

my $old = restored_node('old', $repository, '--no-sync', '--target-timeline', '1');
start_copy($old);
is($old->safe_psql('postgres', q(SELECT string_agg(step, ',' ORDER BY step) FROM steps)), 'alone,one', 'the old timeline to its last streamed byte');
$old->stop;

# A standby built from the repository does without tails, and waits.
my $next = restored_node('next', $repository, '--no-sync', '--standby');
$next->start;
is($next->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'a standby stays one');
$next->stop;

done_testing();
