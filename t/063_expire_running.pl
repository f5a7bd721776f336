# Expiry beside a running backup, on a standby and in a repository that was taken over: nothing that is needed goes.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('expire_running', 'file');
my $node = new_node('expire_running', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.retention_window' => '0', 'pgvigil.retention_fulls' => '1' });
fill_tables($node, 20000);
my @backups = map { my $id = backup_now($node); wait_for_archived($node); $id } 1 .. 3;

# Throttled, so that two expiries fit into it.
my $size = $node->safe_psql('postgres', 'SELECT sum(pg_database_size(oid)) FROM pg_database');
set_and_reload($node, 'pgvigil.max_rate' => int($size / 10 / 1024) . 'kB');
$node->safe_psql('postgres', q(SELECT pgv_backup_now('full', wait => false)));
wait_for(sub { $node->safe_psql('postgres', 'SELECT bytes_done > 0 FROM pgv_progress') eq 't' }, 'the backup to copy');
my ($running) = $node->safe_psql('postgres', 'SELECT backup_id FROM pgv_progress');
like($node->safe_psql('postgres', 'SELECT kind, object, action, reason FROM pgv_expire()'), qr/^attempt\|$running\|keep\|it is running$/m, 'it is shown as running');
$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false, true)') for 1 .. 2;
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_progress'), 1, 'the backup goes on');
is($node->safe_psql('postgres', 'SELECT string_agg(backup_id, \',\') FROM pgv_backups'), $backups[2], 'the others were expired');
wait_for(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pgv_backups WHERE backup_id = '$running'") == 1 }, 'the backup to complete');
wait_for_archived($node);
$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false)');
is($node->safe_psql('postgres', 'SELECT string_agg(backup_id, \',\') FROM pgv_backups'), $running, 'it is the newest now');
my $expected = table_checksums($node);
wait_for_archived($node);
my $restored = restored_node('restored', $repository);
start_copy($restored);
is_same_data($restored, $expected, 'what ran beside an expiry');

# A standby does not expire.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
sql_fails($standby, 'SELECT * FROM pgv_expire(false, true)', qr/55000.*standby does not expire.*HINT/s, 'a standby');
$standby->stop;

# Whoever took over must be told once that it may delete what another server filled.
$restored->safe_psql('postgres', q(SELECT pgv_take_over('a test')));
fill_tables($restored);
backup_now($restored) for 1 .. 2;
wait_for_archived($restored);
sql_fails($restored, 'SELECT * FROM pgv_expire(false)', qr/55000.*filled by another server.*HINT/s, 'the first run after a take-over');
sql_fails($node, 'SELECT * FROM pgv_expire(false, true)', qr/55000/, 'the old server may not expire any more');
$restored->safe_psql('postgres', 'SELECT * FROM pgv_expire(false, true)');
is($restored->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 1, 'confirmed: only the newest is left');
$restored->safe_psql('postgres', 'SELECT * FROM pgv_expire(false)');
pass('and confirmed for the next runs');
$expected = table_checksums($restored);
wait_for_archived($restored);
my $second = restored_node('second', $repository);
start_copy($second);
is_same_data($second, $expected, 'on the new timeline');
is(scalar($repository->matching(qr{/wal/00000001/[0-9A-F]{8}/})), 0, 'of the old timeline nothing is left');

done_testing();
