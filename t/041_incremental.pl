# A chain of incremental backups: each stores what changed and nothing else, says so, and restores to what the cluster
# held then.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('incremental', 'file');
my $node = new_node('incremental', repository => $repository, settings => { autovacuum => 'off' });
fill_tables($node, 30000);
$node->safe_psql('postgres', 'CREATE TABLE shrinking AS SELECT g AS id, md5(g::text) AS word FROM generate_series(1, 20000) g');

my (@chain, %expected);

# Takes a backup of a cluster that does not change meanwhile.
sub take
{
    my ($kind, $sql) = @_;
    $node->safe_psql('postgres', $_) for split /;\s*/, $sql;
    my $position = log_position($node);
    my $id = backup_now($node, $kind);
    push @chain, $id;
    $expected{$id} = table_checksums($node);
    return ($id, log_since($node, $position));
}

sub backup_column { my ($id, $column) = @_; return $node->safe_psql('postgres', "SELECT $column FROM pgv_backups WHERE backup_id = '$id'"); }

my ($full, $log) = take('auto', 'SELECT 1');
like($full, qr/F$/, 'the first automatic backup is full');
like($log, qr/starts: full\n.*DETAIL:\s+There is no backup to build on/, 'and it is said why');

my ($rows) = take('auto', 'UPDATE items SET word = upper(word) WHERE id BETWEEN 10000 AND 10200; INSERT INTO long_values SELECT g, repeat(md5(g::text), 300) FROM generate_series(51, 60) g');
like($rows, qr/I$/, 'then they are incremental');
is(backup_column($rows, 'kind'), 'incremental', 'pgv_backups says so');
is(backup_column($rows, 'parents'), "{$full}", 'and on which backup it builds');
cmp_ok(backup_column($rows, 'new_bytes'), '<', backup_column($full, 'new_bytes') / 4, 'it has read little into its own extents');
cmp_ok(backup_column($rows, 'stored_bytes'), '<', backup_column($full, 'stored_bytes') / 4, 'and stored little');
is(backup_column($rows, 'logical_bytes > 20000000'), 't', 'while it restores to all of it');

take('incremental', 'DELETE FROM shrinking WHERE id > 2000; VACUUM shrinking; INSERT INTO shrinking SELECT g, $$again$$ FROM generate_series(2001, 6000) g; TRUNCATE long_values');
take('incremental', 'CREATE DATABASE second STRATEGY file_copy; CREATE DATABASE third STRATEGY wal_log; CREATE TABLE made AS SELECT g FROM generate_series(1, 5000) g; DROP TABLE long_values; CREATE UNLOGGED TABLE fleeting AS SELECT g FROM generate_series(1, 5000) g');
take('incremental', 'DROP DATABASE second; VACUUM FULL items; REINDEX TABLE shrinking; ALTER TABLE fleeting SET LOGGED');
my ($idle, $idle_log) = take('incremental', 'CHECKPOINT');
cmp_ok(backup_column($idle, 'stored_bytes'), '<', 3_000_000, 'nothing changed: little is stored');
is(backup_column($idle, 'parents'), '{' . join(',', reverse @chain[ 0 .. $#chain - 1 ]) . '}', 'all ancestors, nearest first');
like($idle_log, qr/pgvigil backup \Q$idle\E is complete: incremental on \Q$chain[-2]\E, \d+ blocks changed, \d+ bytes read, \d+ stored/, 'the log sums up');
like($idle_log, pg_major() >= 17 ? qr/WAL summaries tell what changed/ : qr/has no WAL summaries\. All blocks are compared with the hashes/, 'and says how the changes were found');

# While one runs, its kind and parent are shown.
set_and_reload($node, 'pgvigil.max_rate' => '256kB');
my $running = $node->safe_psql('postgres', q(SELECT pgv_backup_now('incremental', wait => false)));
like($running, qr/I$/, 'the id of an incremental is known at once');
is($node->safe_psql('postgres', 'SELECT backup_id, kind, parent FROM pgv_progress'), "$running|incremental|$idle", 'pgv_progress');
$node->safe_psql('postgres', 'SELECT pgv_cancel_backup()');
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_progress') == 0 }, 'the end of the cancelled backup');
set_and_reload($node, 'pgvigil.max_rate' => '0');

# Each of the chain as of its own end, and the last one replayed.
for my $id (@chain)
{
    my $copy = restored_node("copy_$id", $repository, '--backup', $id, '--target-immediate', '--no-sync');
    start_copy($copy);
    is_same_data($copy, $expected{$id}, "backup $id");
    $copy->stop;
    $copy->clean_node;
}
$node->safe_psql('postgres', 'INSERT INTO made SELECT g FROM generate_series(5001, 6000) g; UPDATE items SET word = $$end$$ WHERE id % 7 = 0');
wait_for_archived($node);
my $expected = table_checksums($node);
my $copy = restored_node('copy_latest', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'the newest one, replayed to the end');

done_testing();
