# restore --delta over the server's own directory: what was changed, added and removed is put right, little is fetched,
# and the server goes on. A running server's directory and another cluster's are refused.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('delta');
my $node = new_node('delta', repository => $repository);
fill_tables($node, 50000);
my $space = scratch_directory() . '/space';
mkdir $space;
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$space'");
$node->safe_psql('postgres', 'CREATE TABLE in_space TABLESPACE space AS SELECT g FROM generate_series(1, 20000) g');
my $id = backup_now($node);
$node->safe_psql('postgres', q(SELECT pg_create_restore_point('before')));
my $expected = table_checksums($node);
$node->safe_psql('postgres', <<'S');
UPDATE items SET word = 'gone' WHERE id % 1000 = 0;
DROP TABLE long_values;
CREATE TABLE added AS SELECT g FROM generate_series(1, 5000) g;
UPDATE in_space SET g = g + 1 WHERE g < 100;
CREATE DATABASE added_too;
S
wait_for_archived($node);
my $data = $node->data_dir;

# A server that runs, whatever it is called with.
for my $mode ([], ['--no-sync'])
{
    my ($status, undef, $err) = restore($repository, $data, '--delta', '--target-name', 'before', @$mode);
    is($status, 14, 'a running server: refused');
    like($err, qr/may be running/, 'a running server: says why');
}
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'the server did not notice');
is($node->safe_psql('postgres', 'SELECT count(*) FROM added'), 5000, 'nothing was changed');

# Another cluster's directory, and one that is none.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
my ($status, undef, $err) = restore($repository, $other->data_dir, '--delta');
is($status, 11, "another cluster's directory: refused");
like($err, qr/belongs to another cluster/, "another cluster's directory: says why");
$other->start;
is($other->safe_psql('postgres', 'SELECT 1'), 1, "another cluster's directory: unchanged");
$other->stop;
my $home = scratch_directory();
append_to_file("$home/precious", 'mine');
($status, undef, $err) = restore($repository, $home, '--delta');
is($status, 4, 'no data directory: refused');
is(slurp_file("$home/precious"), 'mine', 'no data directory: unchanged');

$node->stop;
append_to_file("$data/base/leftover", 'x');
append_to_file("$data/extra.conf", 'x');
mkdir "$data/base/999999";
append_to_file("$data/base/999999/1", 'x');
chmod 0400, "$data/PG_VERSION";
my $json;
($status, $json, $err) = restore($repository, $data, '--delta', '--target-name', 'before', '--target-action', 'promote',
    '--take-over', 'undo a mistake', '--json');
is($status, 0, '--delta') or die $err;
my %said = $json =~ /"(\w+_(?:bytes|files))": (\d+)/g;
cmp_ok($said{kept_bytes}, '>', 5 * $said{fetched_bytes}, "kept $said{kept_bytes} bytes, fetched $said{fetched_bytes}");
cmp_ok($said{removed_files}, '>=', 3, 'what the backup has not was removed');
verify_backup($data, 'pg_verifybackup');
ok(!-e "$data/$_", "$_ is gone") for 'base/leftover', 'extra.conf', 'base/999999', 'global/pg_control.pgvigil', 'pgvigil.identity';
$node->start;
wait_for(sub { $node->safe_psql('postgres', 'SELECT NOT pg_is_in_recovery()') eq 't' }, 'the end of recovery');
is_same_data($node, $expected, 'after --delta');
is($node->safe_psql('postgres', 'SELECT count(*) FROM in_space WHERE g = 1'), 1, 'the tablespace too');
wait_for_archived($node);
pass('the server archives again: it took over');

done_testing();
