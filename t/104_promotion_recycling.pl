# A standby's pg_wal calls archived what its primary never archived. The first checkpoints after a promotion leave it all
# the same, however late this server gets to ask the store: the standby has taken those marks off before.
use strict;
use warnings;
use PgVigil;
use PgVigil::LeftBehind;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('recycling', 'file');
my $primary = new_node('primary', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { wal_keep_size => '0', min_wal_size => '2MB', 'pgvigil.stream_interval' => '0' });
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
my $wal = $standby->data_dir . '/pg_wal';
sub is_marked { return -e "$wal/archive_status/$_[0].done" }

$primary->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
my $stored = switch_wal($primary);
wait_for_archived($primary);
$primary->wait_for_catchup($standby, 'replay');

my ($accept, @left) = leave_segments_behind($primary, $standby, $repository);
is(join(' ', grep { $repository->has_segment($_) } @left), '', 'the primary left segments behind');

wait_for(sub { is_marked($stored) }, 'what is stored to be marked', 60);
is(join(' ', grep { is_marked($_) } @left), '', 'what is not stored is not marked');

# Whoever looks for what was left behind comes late.
my $keeper = $standby->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgvigil keeper'));
kill('STOP', $keeper) == 1 or die "could not stop process $keeper: $!";
$standby->promote;
for my $number (1 .. 3)
{
    $standby->safe_psql('postgres', $_) for 'INSERT INTO items SELECT max(id) + 1 FROM items', 'SELECT pg_switch_wal()', 'CHECKPOINT';
}
kill('CONT', $keeper);
is(join(' ', grep { !-e "$wal/$_" } @left), '', 'the checkpoints leave what is not stored');

$accept->();
my $expected = table_checksums($standby);
wait_for_archived($standby);
is(join(' ', grep { !$repository->has_segment($_) } @left), '', 'all of it arrives');
my $copy = restored_node('promotion_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'across the promotion');

done_testing();
