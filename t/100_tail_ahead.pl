# A data directory from the past whose WAL ends in the middle of the segment that the repository has streamed further: no
# complete segment lies behind its end, only a tail. It is refused before it writes anything, and told how far the tail reaches.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('ahead', 'file');
my $node = new_node('ahead', repository => $repository,
    settings => { 'pgvigil.stream_interval' => '50ms', autovacuum => 'off', checkpoint_timeout => '1h', wal_keep_size => '1GB' });
fill_tables($node);
backup_now($node);
wait_for_durable($node);

# As a snapshot of the disk would be: without a checkpoint, in the middle of a segment.
kill_server($node);
my $snapshot = $node->basedir . '/snapshot';
system_or_bail('cp', '-a', $node->data_dir, $snapshot);
$node->start;
my $segment = current_segment($node);
$node->safe_psql('postgres', q(INSERT INTO items SELECT max(id) + 1, 'streamed' FROM items)) for 1 .. 20;
my $end = wait_for_durable($node);
is((segment_position($node, $end))[0], $segment, 'all in one segment');
ok(!$repository->has_segment($segment), 'which is not complete');
my $expected = table_checksums($node);
# Reading may write, too.
$end = wait_for_durable($node);
kill_server($node);

# Rolled back, with the inode of the identity, as a disk keeps it.
rename($node->data_dir, $node->basedir . '/future') or die;
rename($snapshot, $node->data_dir) or die;
rename($node->basedir . '/future/pgvigil.identity', $node->data_dir . '/pgvigil.identity') or die;
# Whatever it writes it would write behind the end of its past.
my @before = $repository->objects;
my $position = log_position($node);
$node->start;
my $log = wait_for_log($node, qr/pgvigil writes nothing/, $position);
like($log, qr{stale copy and may not write}, 'a stale copy is refused');
my ($own, $there) = $log =~ m{Its WAL ends at (\S+) on timeline 1, but "file:.*" has WAL of that timeline up to (\S+) at least};
ok($own, 'the log says where it ends, and how far the repository has more') or BAIL_OUT($log);
is($node->safe_psql('postgres', "SELECT '$own'::pg_lsn < '$there'::pg_lsn AND '$there'::pg_lsn <= '$end'::pg_lsn"), 't', 'which is the tail');
wait_for(sub { $node->safe_psql('postgres', 'SELECT role, stream_mode, ok FROM pgv_status') eq 'stale|off|f' }, 'pgv_status to say so');
like($node->safe_psql('postgres', 'SELECT role_hint FROM pgv_status'), qr/pgv_take_over/, 'and what to do');
$node->safe_psql('postgres', q(INSERT INTO items SELECT max(id) + 1, 'another history' FROM items));
my $own_segment = switch_wal($node);
wait_for_log($node, qr/could not archive WAL file "$own_segment"/, $position);
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/stale copy/, 'a backup');
ok(!archived_through($node, $own_segment), 'its WAL is not acknowledged');
set_and_reload($node, 'pgvigil.stream_interval' => '60ms');
$node->safe_psql('postgres', q(INSERT INTO items SELECT max(id) + 1, 'on and on' FROM items; SELECT pg_switch_wal()));
wait_for(sub { $node->safe_psql('postgres', 'SELECT failed_count > 1 FROM pg_stat_archiver') eq 't' }, 'another try');
is($node->safe_psql('postgres', 'SELECT role FROM pgv_status'), 'stale', 'however far it has come meanwhile');
# Nor by a restart, after which it ends behind all that the repository has.
$node->restart;
wait_for(sub { $node->safe_psql('postgres', q(SELECT role NOT IN ('unknown', 'off') FROM pgv_status)) eq 't' }, 'the role after the restart');
is($node->safe_psql('postgres', 'SELECT role FROM pgv_status'), 'stale', 'also after a restart');
like($node->safe_psql('postgres', 'SELECT role_message FROM pgv_status'), qr/is not what "file:.*" has/, 'for what its WAL is');
my $failed = $node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver');
$node->safe_psql('postgres', q(INSERT INTO items SELECT max(id) + 1, 'and on' FROM items; SELECT pg_switch_wal()));
wait_for(sub { $node->safe_psql('postgres', "SELECT failed_count > $failed FROM pg_stat_archiver") eq 't' }, 'the archiver to try');
is(join(' ', $repository->objects), join(' ', @before), 'nothing was written');

# What the repository has is the first history, to the last streamed byte.
my $copy = restored_node('ahead_copy', $repository, '--no-sync');
start_copy($copy);
is_same_data($copy, $expected, 'the repository');
$copy->stop('immediate');

# A person's word gives that up.
is($node->safe_psql('postgres', q(SELECT pgv_take_over('the past it is'))), 2, 'a take-over begins an epoch');
wait_for_archived($node);
wait_for_durable($node);
$expected = table_checksums($node);
wait_for_durable($node);
lose_server($node);
$copy = restored_node('past_copy', $repository, '--no-sync');
start_copy($copy);
is_same_data($copy, $expected, 'the other history');
$copy->stop('immediate');

done_testing();
