# Incremental backups from a standby, among them ones of a standby that has nothing new, and a chain that a primary and
# its standby make together.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Cluster;
use Test::More;

my $repository = new_repository('standby', 'file');
my $primary = new_node('inc_primary', repository => $repository, settings => { autovacuum => 'off', archive_timeout => '1s' });
fill_tables($primary, 10000);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('inc_standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my (@ids, %expected);

# take(NODE, SQL, EXPECTED KIND): a backup after SQL has been replayed and a checkpoint has reached the standby.
sub take
{
    my ($node, $sql, $kind) = @_;
    $primary->safe_psql('postgres', "$sql; CHECKPOINT");
    $primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
    $standby->safe_psql('postgres', 'CHECKPOINT');
    my $position = log_position($node);
    my $id = backup_now($node, 'auto');
    note(log_since($node, $position) =~ /^.*pgvigil.*$/mg);
    like($id, qr/$kind$/, $node->name . ": $id");
    push @ids, $id;
    $expected{$id} = table_checksums($primary);
    return $id;
}

take($standby, 'SELECT 1', 'F');
take($standby, 'UPDATE items SET word = $$one$$ WHERE id % 10 = 0', 'I');
# Nothing has happened since: the backup begins where the last one began.
take($standby, 'SELECT 1', 'I');
take($standby, 'DELETE FROM items WHERE id > 7000; VACUUM items; INSERT INTO items SELECT g, $$again$$ FROM generate_series(30001, 31000) g', 'I');
take($primary, 'UPDATE items SET word = $$two$$ WHERE id % 10 = 1', 'I');
take($standby, 'UPDATE items SET word = $$three$$ WHERE id % 10 = 2; CREATE TABLE late AS SELECT g FROM generate_series(1, 3000) g', 'I');

refresh($primary);
is($primary->safe_psql('postgres', "SELECT parents FROM pgv_backups WHERE backup_id = '$ids[-1]'"), '{' . join(',', reverse @ids[ 0 .. $#ids - 1 ]) . '}', 'one chain');
wait_for_archived($primary);
for my $id (@ids)
{
    my $copy = restored_node("copy_$id", $repository, '--backup', $id, '--target-immediate', '--no-sync');
    start_copy($copy);
    is_same_data($copy, $expected{$id}, "backup $id");
    $copy->stop;
}
my $copy = restored_node('copy_end', $repository);
start_copy($copy);
is_same_data($copy, table_checksums($primary), 'replayed to the end');

done_testing();
