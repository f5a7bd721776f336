# Unlogged relations come back empty, temporary ones and temporary files not at all; sequences, large objects,
# materialised views and prepared transactions as they were.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('unlogged', 'file');
my $node = new_node('unlogged', repository => $repository, conf => "max_prepared_transactions = 5\n");
fill_tables($node);
$node->safe_psql('postgres', <<'S');
CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY, t text);
INSERT INTO scratch SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
CREATE SEQUENCE counter; SELECT nextval('counter') FROM generate_series(1, 100);
CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM items;
SELECT lo_from_bytea(4711, decode(repeat('ab', 5000), 'hex'));
BEGIN; INSERT INTO items SELECT max(id) + 1, 'prepared' FROM items; PREPARE TRANSACTION 'held';
S
my $session = $node->background_psql('postgres');
$session->query_safe('CREATE TEMPORARY TABLE mine AS SELECT generate_series(1, 5000) AS id');
my $scratch = $node->safe_psql('postgres', q(SELECT pg_relation_filepath('scratch')));
my $mine = $session->query_safe(q(SELECT pg_relation_filepath('mine')));
my $data = $node->data_dir;
mkdir "$data/base/pgsql_tmp";
append_to_file("$data/base/pgsql_tmp/pgsql_tmp1.1", 'left over');
append_to_file("$data/pg_replslot/junk", 'junk') unless -e "$data/pg_replslot/junk";
append_to_file("$data/postgresql.auto.conf.tmp", 'junk');
backup_now($node);
unlink "$data/pg_replslot/junk";
$node->safe_psql('postgres', q(INSERT INTO scratch VALUES (100000); SELECT nextval('counter')));
wait_for_archived($node);
my $expected = table_checksums($node);
$session->quit;

my $copy = restored_node('unlogged_copy', $repository);
my $copy_data = $copy->data_dir;
ok(!-e "$copy_data/$scratch", 'the main fork of an unlogged table is not in the backup');
ok(-e "$copy_data/${scratch}_init", 'its init fork is');
ok(!-e "$copy_data/$mine", 'nor is a temporary table');
ok(!-e "$copy_data/base/pgsql_tmp/pgsql_tmp1.1", 'nor a temporary file');
ok(!-e "$copy_data/postgresql.auto.conf.tmp", 'nor what the file rules leave out by name');
ok(-d "$copy_data/$_", "$_ is there")
  for qw(pg_notify pg_replslot pg_serial pg_snapshots pg_stat_tmp pg_subtrans pg_dynshmem pg_wal/archive_status);
is(join(' ', glob("$copy_data/pg_replslot/*")), '', 'and pg_replslot is empty');
ok(!-e "$copy_data/postmaster.pid" && !-e "$copy_data/postmaster.opts", 'no postmaster.pid, no postmaster.opts');
start_copy($copy);
is_same_data($copy, $expected, 'permanent tables');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM scratch'), 0, 'the unlogged table is empty');
$copy->safe_psql('postgres', 'INSERT INTO scratch VALUES (1)');
cmp_ok($copy->safe_psql('postgres', q(SELECT nextval('counter'))), '>', 101, 'sequences go on');
is($copy->safe_psql('postgres', 'SELECT count FROM summary'), 2000, 'the materialised view');
is($copy->safe_psql('postgres', 'SELECT length(lo_get(4711))'), 5000, 'the large object');
$copy->safe_psql('postgres', q(COMMIT PREPARED 'held'));
is($copy->safe_psql('postgres', q(SELECT count(*) FROM items WHERE word = 'prepared')), 1, 'the prepared transaction');
$node->safe_psql('postgres', q(ROLLBACK PREPARED 'held'));

done_testing();
