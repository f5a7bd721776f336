# The store is away under load: commits do not wait, the view says since when, and everything catches up afterwards.
# PGVIGIL_TEST_OUTAGE seconds, 15 when not set.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use Time::HiRes qw(time sleep);
use Test::More;

needs_s3();
my $seconds = $ENV{PGVIGIL_TEST_OUTAGE} // 15;
my $repository = new_repository('outage', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
my $node = new_node('outage',
    settings => { 'pgvigil.repository' => $repository->url_at($proxy->endpoint), 'pgvigil.retry_timeout' => '3s' });
fill_tables($node);
backup_now($node);
my $load = pgbench_load($node, rate => 200);
wait_for_archived($node);

$proxy->set({ action => 'refuse' });
my $begin = time();
my @waiting = map { switch_wal($node) } 1 .. 3;
my ($slowest, $statements) = (0, 0);
while (time() - $begin < $seconds)
{
    my $one = time();
    $node->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
    my $took = time() - $one;
    $slowest = $took if $took > $slowest;
    $statements++;
    sleep(0.2);
}
cmp_ok($statements, '>=', $seconds / 2, 'commits go on during the outage');
cmp_ok($slowest, '<', 10, 'none waits for the store');
ok(!archived_through($node, $waiting[0]), 'nothing is acknowledged meanwhile');
my $status = $node->safe_psql('postgres', 'SELECT to_jsonb(s) FROM pgv_status s');
like($status, qr/error|fail/i, 'pgv_status shows the error');
cmp_ok($node->safe_psql('postgres', 'SELECT extract(epoch FROM now() - failing_since) FROM pgv_archiver'), '>', $seconds / 3, 'pgv_archiver says since when it fails');
cmp_ok($node->safe_psql('postgres', 'SELECT waiting_bytes FROM pgv_archiver'), '>=', 3 * 16 * 1024 * 1024, 'and how much WAL waits');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Extension' AND query !~ 'pg_stat_activity')), 0, 'no client waits in the extension');

$proxy->set();
wait_for_archived($node, $waiting[-1], 120);
pass('everything catches up');
wait_for(sub { $node->safe_psql('postgres', 'SELECT failing_since IS NULL FROM pgv_archiver') eq 't' }, 'the view to say that all is well');
ok($load->running, 'pgbench ran all the time');
$load->stop;
wait_for_archived($node);
my $expected = table_checksums($node);
my $copy = restored_node('outage_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'restored');

done_testing();
