# archive_queue_max: at the limit WAL is let go loudly, the gap is shown, no window crosses it, and a new full backup
# follows by itself.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('queue', 'file');
my $node = new_node('queue', repository => $repository, initdb => ['--wal-segsize=1'], first_backup => 1,
    settings => { 'pgvigil.retry_timeout' => '1s' });
fill_tables($node);
my $first = wait_for_backup($node);
wait_for_archived($node);
my $directory = $repository->directory;

# The store is away; without the setting everything is kept.
rename($directory, "$directory.away") or die;
my @kept = map { switch_wal($node) } 1 .. 10;
ok(!archived_through($node, $kept[0]), 'without the setting nothing is let go');

my $position = log_position($node);
set_and_reload($node, 'pgvigil.archive_queue_max' => '4MB');
wait_for_log($node, qr/WARNING:.*lets WAL file .* go without archiving it/, $position);
pass('letting WAL go is loud');
wait_for(sub { $node->safe_psql('postgres', 'SELECT let_go_count > 0 FROM pgv_archiver') eq 't' }, 'pgv_archiver to count it');
wait_for(sub { my @ready = glob($node->data_dir . '/pg_wal/archive_status/0*.ready'); @ready <= 5 }, 'the queue to be below the limit');

# It is back: a gap, and a new full backup without being asked.
rename("$directory.away", $directory) or die;
# Something new to archive wakes the archiver from its pause after failures.
switch_wal($node);
my $second = wait_for_backup($node, 2);
isnt($second, $first, 'a new full backup follows');
my $segment = wait_for_archived($node);
ok($repository->has_segment($segment), 'archiving goes on');
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) = 1 FROM pgv_wal_ranges WHERE state = 'missing')) eq 't' }, 'pgv_wal_ranges to show the gap');
pass('the gap is shown');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_recovery_windows'), 2, 'two recovery windows, none across the gap');

# Latest starts from the new backup; the first one's window ends before the gap.
my $expected = table_checksums($node);
my $copy = restored_node('queue_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'after the gap');
$copy->stop;
my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
my ($status, undef, $err) = restore($repository, $node->basedir . '/across', '--backup', $first, '--target-lsn', $end);
isnt($status, 0, 'a target across the gap is refused');

done_testing();
