# A backup in its course: throttled, visible in both progress views, one at a time, cancelled within a second.
use strict;
use warnings;
use PgVigil;
use Time::HiRes qw(time);
use Test::More;

my $repository = new_repository('cancel', 'file');
my $node = new_node('cancel', repository => $repository);
fill_tables($node, 20000);
wait_for_archived($node);
my $size = $node->safe_psql('postgres', 'SELECT sum(pg_database_size(oid)) FROM pg_database');

# About 12 seconds at this rate.
my $kilobytes = int($size / 12 / 1024);
set_and_reload($node, 'pgvigil.max_rate' => "${kilobytes}kB");
my $begin = time();
$node->safe_psql('postgres', q(SELECT pgv_backup_now('full', wait => false)));
wait_for(sub { $node->safe_psql('postgres', 'SELECT bytes_done > 0 FROM pgv_progress') eq 't' }, 'bytes in pgv_progress');
cmp_ok($node->safe_psql('postgres', 'SELECT bytes_done FROM pgv_progress'), '<=', 1.3 * $size, 'pgv_progress counts bytes');
cmp_ok($node->safe_psql('postgres', 'SELECT bytes_total FROM pgv_progress'), '>', $size / 3, 'of a plausible total');
wait_for(sub { $node->safe_psql('postgres', 'SELECT backup_streamed > 0 FROM pg_stat_progress_basebackup') eq 't' }, 'bytes in pg_stat_progress_basebackup');
pass('pg_stat_progress_basebackup shows it, too');
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/55006|55P03|53300|already|running|progress/, 'a second backup meanwhile');
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups') == 1 }, 'the throttled backup');
cmp_ok(time() - $begin, '>', 6, 'max_rate slows the backup down');

# Cancelled by the function.
set_and_reload($node, 'pgvigil.max_rate' => '64kB');
$node->safe_psql('postgres', q(SELECT pgv_backup_now('full', wait => false)));
wait_for(sub { $node->safe_psql('postgres', 'SELECT bytes_done > 0 FROM pgv_progress') eq 't' }, 'the backup to copy');
$begin = time();
$node->safe_psql('postgres', 'SELECT pgv_cancel_backup()');
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_progress') == 0 }, 'the end of the cancelled backup');
cmp_ok(time() - $begin, '<', 5, 'cancelled promptly');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 1, 'and no second backup is listed');

# Cancelled by cancelling the session that waits for it.
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/started/, "\\echo started\nSELECT pgv_backup_now('full');\n");
wait_for(sub { $node->safe_psql('postgres', 'SELECT bytes_done > 0 FROM pgv_progress') eq 't' }, 'the backup to copy');
$begin = time();
$node->safe_psql('postgres', q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pgv_backup_now%' AND pid <> pg_backend_pid()));
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_progress') == 0 }, 'the backup to end with its session');
cmp_ok(time() - $begin, '<', 5, 'cancelling the waiting session cancels the backup');
$session->quit;

set_and_reload($node, 'pgvigil.max_rate' => '0');
my $id = backup_now($node);
is(scalar($repository->matching(qr{/commits/})), 2, 'the next backup works');

# A checkpoint spread over minutes is cancelled as well.
set_and_reload($node, checkpoint_completion_target => '0.9', checkpoint_timeout => '30min');
$node->safe_psql('postgres', 'UPDATE items SET word = word');
my $spread = $node->background_psql('postgres', on_error_stop => 0);
$spread->query_until(qr/started/, "\\echo started\nSELECT pgv_backup_now('full', fast => false);\n");
wait_for(sub { $node->safe_psql('postgres', 'SELECT phase FROM pgv_progress') =~ /checkpoint/ }, 'the checkpoint');
$begin = time();
$node->safe_psql('postgres', 'SELECT pgv_cancel_backup()');
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_progress') == 0 }, 'the end of the cancelled backup');
cmp_ok(time() - $begin, '<', 5, 'cancelled during its checkpoint');
$spread->quit;
$node->safe_psql('postgres', 'CHECKPOINT');
backup_now($node);

# A backup of an unknown kind, and an incremental one that has no parent to lean on.
sql_fails($node, q(SELECT pgv_backup_now('differential')), qr/differential/, 'an unknown kind');
sql_fails($node, q(SELECT pgv_backup_now('full', annotations => '[1]')), qr/annotations|object/, 'annotations that are no object');

done_testing();
