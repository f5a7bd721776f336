# One of two repositories is away for a while as the server streams: the other goes on without it, to the last byte; when it is
# back it is filled in and streamed to again, and it alone restores everything. PGVIGIL_TEST_AWAY sets for how many seconds.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use PgVigil::Stream;
use Test::More;
use Time::HiRes qw(sleep time);

needs_s3();
my $away = $ENV{PGVIGIL_TEST_AWAY} // 12;
my ($one, $two) = (new_repository('stays', 'file'), new_repository('leaves', 's3'));
my $proxy = PgVigil::FaultProxy->new($two->{endpoint});
my $node = new_node('away', initdb => ['--wal-segsize=1'],
    settings => {
        'pgvigil.repository' => join(', ', $one->url, $two->url_at($proxy->endpoint)), 'pgvigil.retry_timeout' => '1s',
        'pgvigil.stream_interval' => '100ms', 'pgvigil.required_repositories' => '1', autovacuum => 'off',
        max_wal_size => '64MB' });
fill_tables($node);
backup_now($node);
wait_for_archived($node);
wait_for_durable($node);
wait_for(sub { pieces($two) > 0 }, 'both to be streamed to');

my $position = log_position($node);
$proxy->set({ action => 'refuse' });
my ($begin, $slowest, $count, $runs) = (time(), 0, 0, scalar(() = run_documents($one)));
my @segments;
while (time() - $begin < $away)
{
    my $began = time();
    $node->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
    push @segments, switch_wal($node) if ++$count % 10 == 0;
    wait_for_durable($node);
    $slowest = time() - $began if time() - $began > $slowest;
    sleep(0.4);
}
cmp_ok($slowest, '<', 5, "the other repository is not held up ($slowest s)");
is(scalar(() = run_documents($one)), $runs, 'it is streamed to in one session');
is($node->safe_psql('postgres', 'SELECT stream_failing_since IS NULL FROM pgv_status'), 't', 'which does not fail');
wait_for_archived($node, $segments[-1]);
is(join(' ', grep { !$one->has_segment($_) } @segments), '', 'it has all complete segments');

# Back, without a word from anybody.
$proxy->set();
$node->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
my $lsn = flushed_lsn($node);
my ($segment, $offset) = segment_position($node, $lsn);
wait_for(sub { grep { $_->{segment} eq $segment && $_->{to} >= $offset } pieces($two) }, 'the repository that was away to be streamed to');
pass('streaming to it goes on');
wait_for(sub { !grep { !$two->has_segment($_) } @segments }, 'its segments to be filled in');
pass('what it lacks is filled in');
wait_for_log($node, qr/pgvigil streams WAL to repository ".*leaves.*" again/, $position);
pass('and the log says that it is streamed to again');
$node->safe_psql('postgres', q(INSERT INTO items SELECT max(id) + 1, 'the last' FROM items));
my $expected = table_checksums($node);
$lsn = flushed_lsn($node);
($segment, $offset) = segment_position($node, $lsn);
wait_for(sub { grep { $_->{segment} eq $segment && $_->{to} >= $offset } pieces($two) }, 'the last byte');
lose_server($node);
my $copy = restored_node('away_copy', $two, '--no-sync');
start_copy($copy);
is_same_data($copy, $expected, 'the repository that was away, alone');
$copy->stop('immediate');

done_testing();
