# While the store does not answer, nothing that waits for every process of the server waits for pgvigil: DROP DATABASE,
# checkpoints, reloads and pg_terminate_backend go through.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use Time::HiRes qw(time);
use Test::More;

needs_s3();
my $repository = new_repository('barriers', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
my $node = new_node('barriers', settings => { 'pgvigil.repository' => $repository->url_at($proxy->endpoint) });
fill_tables($node);
wait_for_archived($node);
wait_for(sub { $node->safe_psql('postgres', 'SELECT catalog_time IS NOT NULL FROM pgv_status') eq 't' }, 'the catalog to be read');

$proxy->set({ action => 'hang' });
my $segment = switch_wal($node);
wait_for(sub { $proxy->requests(qr/ hang /) }, 'a request that hangs');
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/started/, "\\echo started\nSELECT pgv_backup_now('full');\n");

for my $statement ('CREATE DATABASE short_lived', 'DROP DATABASE short_lived', 'CHECKPOINT', 'SELECT pg_reload_conf()',
    q(SELECT count(*) FROM pgv_status), 'SELECT count(*) FROM pgv_archiver', 'SELECT count(*) FROM pgv_repositories',
    'SELECT count(*) FROM pgv_progress', 'SELECT count(*) FROM pgv_backups', 'SELECT count(*) FROM pgv_chains',
    'SELECT count(*) FROM pgv_wal_ranges', 'SELECT count(*) FROM pgv_recovery_windows')
{
    my $begin = time();
    $node->safe_psql('postgres', $statement);
    cmp_ok(time() - $begin, '<', 15, "$statement while the store hangs");
}

# The session that waits for its backup can be cancelled.
my $begin = time();
$node->safe_psql('postgres', q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pgv_backup_now%' AND pid <> pg_backend_pid()));
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pgv_backup_now%' AND pid <> pg_backend_pid())) == 0 },
    'the session to be cancelled', 60);
cmp_ok(time() - $begin, '<', 15, 'a waiting session is cancelled at once');
$session->quit;

# So can one that calls a function which asks the store.
my $reader = $node->background_psql('postgres', on_error_stop => 0);
$reader->query_until(qr/started/, "\\echo started\nSELECT * FROM pgv_restore_plan();\n");
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pgv\_restore\_plan%' AND pid <> pg_backend_pid())) }, 'the reader', 30);
$begin = time();
$node->safe_psql('postgres', q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pgv\_restore\_plan%' AND pid <> pg_backend_pid()));
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pgv\_restore\_plan%' AND pid <> pg_backend_pid())) == 0 },
    'the reader to be cancelled', 60);
cmp_ok(time() - $begin, '<', 15, 'a reader of pgv_restore_plan() is cancelled at once');
$reader->quit;

$proxy->set();
wait_for_archived($node, $segment);
ok($repository->has_segment($segment), 'what waited arrives');
backup_now($node);

done_testing();
