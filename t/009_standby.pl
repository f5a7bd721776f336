# A standby: its own backup, archive_mode = always beside the primary, and promotion, which takes over at once.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('standby', 'file');
my $primary = new_node('primary', repository => $repository, settings => { archive_mode => 'always' });
fill_tables($primary);
my $first = backup_now($primary);

my $standby = new_standby($primary);

# Both archive the same segments: identical content is not a conflict.
my $segment = switch_wal($primary);
wait_for_archived($primary, $segment);
$primary->wait_for_catchup($standby, 'replay');
wait_for(sub { archived_through($standby, $segment) }, 'the standby to archive the same segment');
is($standby->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver'), 0, 'primary and standby archive the same segments');

# A backup from the standby, of a primary that is busy and then idle.
my $load = pgbench_load($primary);
wait_for(sub { $standby->safe_psql('postgres', q(SELECT count(*) FROM pg_database WHERE datname = 'bench')) }, 'the database on the standby');
my $id = backup_now($standby);
like($id, qr/F$/, 'a backup from the standby');
$load->stop;
my $idle = backup_now($standby);
isnt($idle, $id, 'and one while the primary is idle');
wait_for_archived($primary);
my $expected = table_checksums($primary);
for my $backup ($id, $idle)
{
    my $copy = restored_node("copy_$backup", $repository, '--backup', $backup);
    start_copy($copy);
    is_same_data($copy, $expected, "from the standby's backup $backup");
    $copy->stop;
}

# Promotion: the standby was registered, so it takes over without being told.
$primary->stop;
promote($standby);
$standby->safe_psql('postgres', q(INSERT INTO items SELECT max(id) + 1, 'after promotion' FROM items));
my $new = wait_for_archived($standby);
like($new, qr/^00000002/, 'the promoted standby archives on its new timeline');
is(scalar($repository->matching(qr/00000002\.history$/)), 1, 'and its history file');
# Readers ignore segments of an older epoch from where the new one begins: none may carry it.
is(join(' ', grep { $repository->epoch_of($_) != 2 } $repository->matching(qr{/wal/00000002/[0-9A-F]{8}/[0-9A-F]{24}})), '',
    'every segment of the new timeline carries the new epoch');
my $after = backup_now($standby);
like($after, qr/F$/, 'and makes backups');
my $copy = restored_node('after_promotion', $repository, '--backup', $first);
start_copy($copy);
is($copy->safe_psql('postgres', q(SELECT count(*) FROM items WHERE word = 'after promotion')), 1, 'replay follows the promotion from a backup of the old timeline');

done_testing();
