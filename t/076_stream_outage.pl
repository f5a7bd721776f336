# The store is away while the server streams: commits go on, the memory of the streamer stays bounded, pgv_status says what is
# wrong and since when, the log says it once; when the store is back, everything catches up.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use PgVigil::Stream;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

needs_s3();
my $repository = new_repository('stream_outage', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
my $node = new_node('outage',
    settings => {
        'pgvigil.repository' => $repository->url_at($proxy->endpoint), 'pgvigil.stream_interval' => '100ms', 'pgvigil.retry_timeout' => '1s',
        autovacuum => 'off', max_wal_size => '1GB', checkpoint_timeout => '1h' });
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
backup_now($node);
my $before = wait_for_durable($node);

sub streamer { return $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgvigil streamer')); }

sub resident_kb
{
    my ($kb) = slurp_file('/proc/' . streamer() . '/status') =~ /^VmRSS:\s*(\d+)/m;
    return $kb;
}

my $worker = streamer();
my $small = resident_kb();
my $position = log_position($node);
$proxy->set({ action => 'refuse' });

# Several segments and the time that they take to be tried in vain.
my $slowest = 0;
for my $number (1 .. 6)
{
    my $begin = time();
    $node->safe_psql('postgres', "INSERT INTO words SELECT md5(g::text) || repeat('x', 400) FROM generate_series(1, 40000) g");
    my $took = time() - $begin;
    $slowest = $took if $took > $slowest;
    sleep(0.5);
}
my $behind = flushed_lsn($node);
cmp_ok($slowest, '<', 20, 'no commit waits for the store');
wait_for(sub { $node->safe_psql('postgres', 'SELECT stream_failing_since IS NOT NULL FROM pgv_status') eq 't' }, 'pgv_status to say since when');
is($node->safe_psql('postgres', 'SELECT ok FROM pgv_status'), 'f', 'and that something is wrong');
ok(!is_durable($node, $behind), 'nothing is called durable that is not');
cmp_ok($node->safe_psql('postgres', "SELECT durable_lsn >= '$before' FROM pgv_status"), 'eq', 't', 'and nothing is taken back');
cmp_ok($node->safe_psql('postgres', 'SELECT lag_bytes FROM pgv_status'), '>', 90 * 1024 * 1024, 'lag_bytes tells how much');
cmp_ok($node->safe_psql('postgres', 'SELECT extract(epoch FROM lag) FROM pgv_status'), '>', 2, 'lag tells how long');
is(streamer(), $worker, 'the worker lives on');
cmp_ok(resident_kb() - $small, '<', 100 * 1024, 'and does not keep the backlog in its memory');
my $said = () = log_since($node, $position) =~ /could not stream WAL/g;
cmp_ok($said, '<=', 4, "the log says it, not again and again ($said)");

$proxy->set();
wait_for_durable($node, $behind);
pass('the backlog is durable when the store is back');
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('on')));
wait_for_durable($node);
wait_for(sub { $node->safe_psql('postgres', 'SELECT stream_failing_since IS NULL FROM pgv_status') eq 't' }, 'the trouble to be over');
is($node->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status'), 'asynchronous', 'and streaming goes on');
is(streamer(), $worker, 'in the same worker');
is($node->safe_psql('postgres', 'SELECT failed_count >= 0 FROM pg_stat_archiver'), 't', 'the server is unharmed');
my $words = $node->safe_psql('postgres', 'SELECT count(*) FROM words');
lose_server($node);
my $copy = restored_node('outage_copy', $repository, '--no-sync');
start_copy($copy);
is($copy->safe_psql('postgres', 'SELECT count(*) FROM words'), $words, 'all of it can be restored');
$copy->stop('immediate');

done_testing();
