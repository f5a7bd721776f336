# A chain of incrementals over everything that happens to tables: every backup of it, and moments between them, come back
# as the primary was. The restored directories pass pg_verifybackup.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('chain');
my $node = new_node('chain', repository => $repository);
fill_tables($node);
my %at;       # backup id => what the tables held just before it
my @moments;  # [restore point, what the tables held]

sub take
{
    my ($kind) = @_;
    my $id = backup_now($node, $kind);
    like($id, $kind eq 'full' ? qr/F$/ : qr/I$/, "a backup of kind $kind");
    $at{$id} = table_checksums($node);
    return $id;
}

sub note_moment
{
    my $name = 'moment ' . (@moments + 1);
    $node->safe_psql('postgres', "SELECT pg_create_restore_point('$name')");
    push @moments, [ $name, table_checksums($node) ];
    return;
}

my $full = take('full');
$node->safe_psql('postgres', <<'S');
UPDATE items SET word = 'changed' WHERE id % 100 = 0;
CREATE TABLE small (id int); INSERT INTO small VALUES (1);
CREATE DATABASE other;
S
note_moment();
take('incremental');
# A truncation by vacuum and an extension after it; a table that is dropped, one that is rewritten.
$node->safe_psql('postgres', 'DELETE FROM items WHERE id > 500');
$node->safe_psql('postgres', 'VACUUM (TRUNCATE) items');
$node->safe_psql('postgres', <<'S');
INSERT INTO items SELECT g, repeat('y', 200) FROM generate_series(10000, 11000) g;
DROP TABLE small;
VACUUM FULL long_values;
S
my $middle = take('incremental');
note_moment();
$node->safe_psql('other', "CREATE TABLE there AS SELECT g id, md5(g::text) FROM generate_series(1, 3000) g");
$node->safe_psql('postgres', 'TRUNCATE long_values');
take('incremental');
$node->safe_psql('postgres', 'UPDATE items SET word = word || id');
note_moment();
my $newest = take('incremental');
wait_for_archived($node);

my $number = 0;
for my $id (sort keys %at)
{
    my $copy = restored_node('backup' . ++$number, $repository, '--backup', $id, '--target-immediate');
    start_copy($copy);
    is_same_data($copy, $at{$id}, "backup $id");
    $copy->stop;
}
for my $moment (@moments)
{
    my $copy = restored_node('moment' . ++$number, $repository, '--target-name', $moment->[0]);
    start_copy($copy);
    is_same_data($copy, $moment->[1], $moment->[0]);
    $copy->stop;
}

# From one end of the chain to the other and back in one directory, and each time only what differs is fetched.
my $place = PostgreSQL::Test::Cluster->new('place');
my %fetched;
for my $id ($newest, $full, $middle, $newest, $newest)
{
    my ($status, $out) = restore($repository, $place->data_dir, '--delta', '--backup', $id, '--target-immediate', '--target-action', 'promote', '--json');
    is($status, 0, "--delta to $id");
    ($fetched{$id}) = $out =~ /"fetched_bytes": (\d+)/;
    verify_backup($place->data_dir, "--delta to $id: pg_verifybackup");
}
my ($first_status, $first) = restore($repository, scratch_directory() . '/whole', '--backup', $full, '--json');
my ($whole) = $first =~ /"fetched_bytes": (\d+)/;
cmp_ok($fetched{$full}, '<', $whole / 2, 'to the full one over another state: less than half was fetched');
PgVigil::_own_address($place);
start_copy($place);
is_same_data($place, $at{$newest}, 'after --delta');

done_testing();
