# A promotion in the middle of a chain: the promoted standby goes on with incremental backups that build on those of
# the former primary, and every one of them restores.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Cluster;
use Test::More;

my $repository = new_repository('promotion', 'file');
my $primary = new_node('chain_primary', repository => $repository, settings => { autovacuum => 'off' });
fill_tables($primary, 10000);
my %expected;
my $full = backup_now($primary, 'full');
$expected{$full} = table_checksums($primary);

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('chain_standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', 'UPDATE items SET word = $$first$$ WHERE id % 10 = 0; DELETE FROM items WHERE id > 8000; VACUUM items');
my $first = backup_now($primary, 'incremental');
like($first, qr/I$/, 'an incremental backup of the primary');
$expected{$first} = table_checksums($primary);
$primary->safe_psql('postgres', 'UPDATE items SET word = $$before$$ WHERE id % 10 = 1; CREATE TABLE before_promotion AS SELECT 1 AS x');
wait_for_archived($primary);
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
$primary->stop;
$standby->promote;
wait_for(sub { $standby->safe_psql('postgres', 'SELECT NOT pg_is_in_recovery()') eq 't' }, 'the promotion');
$standby->safe_psql('postgres', 'UPDATE items SET word = $$after$$ WHERE id % 10 = 2; INSERT INTO items SELECT g, $$grown$$ FROM generate_series(20001, 26000) g');
wait_for_archived($standby);

my $position = log_position($standby);
my $second = backup_now($standby, 'auto');
like($second, qr/I$/, 'the promoted standby goes on with the chain');
note(log_since($standby, $position));
is($standby->safe_psql('postgres', "SELECT parents FROM pgv_backups WHERE backup_id = '$second'"), "{$first,$full}", 'on the former primary\'s backups');
$expected{$second} = table_checksums($standby);
$standby->safe_psql('postgres', 'DELETE FROM items WHERE id % 3 = 0');
my $third = backup_now($standby, 'incremental');
is($standby->safe_psql('postgres', "SELECT parents FROM pgv_backups WHERE backup_id = '$third'"), "{$second,$first,$full}", 'and again');
$expected{$third} = table_checksums($standby);

for my $id ($full, $first, $second, $third)
{
    my $copy = restored_node("copy_$id", $repository, '--backup', $id, '--target-immediate', '--no-sync');
    start_copy($copy);
    is_same_data($copy, $expected{$id}, "backup $id");
    $copy->stop;
}
wait_for_archived($standby);
my $copy = restored_node('copy_across', $repository, '--backup', $first);
start_copy($copy);
is_same_data($copy, table_checksums($standby), 'from before the promotion to the end');

done_testing();
