# What the former primary left behind waits in the promoted standby's pg_wal until the store takes it, whatever checkpoints
# do meanwhile: they take away what archive_status calls archived, as it calls all that a standby has received.
use strict;
use warnings;
use PgVigil;
use PgVigil::LeftBehind;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('checkpoints', 'file');
my $primary = new_node('primary', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { wal_keep_size => '256MB', min_wal_size => '2MB', 'pgvigil.stream_interval' => '0' });
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
wait_for_archived($primary);

my ($accept, @left) = leave_segments_behind($primary, $standby, $repository);
is(join(' ', grep { $repository->has_segment($_) } @left), '', 'the primary left segments behind');

promote($standby);
my $wal = $standby->data_dir . '/pg_wal';
wait_for(sub { 6 == grep { -e "$wal/archive_status/$_.ready" } @left }, 'the segments to be handed over');
# What a crash between the two steps leaves: put right when the role is settled anew.
append_to_file("$wal/archive_status/$left[3].done", '');
set_and_reload($standby, 'pgvigil.retry_timeout' => '2s');
wait_for(sub { !grep { -e "$wal/archive_status/$_.done" } @left }, 'nothing to call them archived', 60);
set_and_reload($standby, wal_keep_size => '0');
for my $number (1 .. 2)
{
    $standby->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items; SELECT pg_switch_wal(); CHECKPOINT');
}
is(join(' ', grep { !-e "$wal/$_" } @left), '', 'checkpoints leave them alone');
$accept->();
wait_for_archived($standby);
is(join(' ', grep { !$repository->has_segment($_) } @left), '', 'all of them arrive');
my $expected = table_checksums($standby);
wait_for_archived($standby);
my $copy = restored_node('promotion_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'across the promotion');

done_testing();
