# Streaming: what was written is in the store an interval later, an idle server asks nothing of the store, segments follow
# each other, a restart goes on, a reload changes the interval and turns it off.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $repository = new_repository('stream', 'file');
my $node = new_node('stream', repository => $repository,
    settings => { 'pgvigil.stream_interval' => '300ms', autovacuum => 'off', checkpoint_timeout => '1h', log_statement => 'none' },
    # The server's own record of running transactions comes every 15 seconds otherwise.
    conf => "bgwriter_lru_maxpages = 0\n");
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
wait_for_durable($node);
pass('what was written becomes durable');
is($node->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status'), 'asynchronous', 'pgv_status tells the mode');
is(scalar(run_documents($repository)), 1, 'one run');

# Within an interval and a PUT, however slow the machine may be.
my $worst = 0;
for my $number (1 .. 10)
{
    $node->safe_psql('postgres', "INSERT INTO words VALUES ('$number')");
    my $begin = time();
    wait_for_durable($node);
    my $took = time() - $begin;
    $worst = $took if $took > $worst;
}
cmp_ok($worst, '<', 5, "a commit is durable soon ($worst s)");
cmp_ok($node->safe_psql('postgres', 'SELECT lag_bytes FROM pgv_status'), '==', 0, 'nothing is missing');
cmp_ok($node->safe_psql('postgres', q(SELECT lag = interval '0' FROM pgv_status)), 'eq', 't', 'and there is no lag');
my @pieces = pieces($repository);
cmp_ok(scalar(@pieces), '>=', 3, 'in several pieces');
is($pieces[0]{from}, 0, 'which begin at the start of the segment');
ok(!(grep { $_->{to} <= $_->{from} } @pieces), 'and are not empty');
cmp_ok($node->safe_psql('postgres', 'SELECT streamed_objects_per_minute FROM pgv_status'), '>', 0, 'pgv_status counts them');
is($node->safe_psql('postgres', 'SELECT ok OR summary = \'there is no backup yet\' FROM pgv_status'), 't', 'nothing else is wrong');

# Idle: nothing new is stored. A checkpoint that is due, the server's own snapshot and the like may write a record of their own.
wait_for(
    sub {
        my $before = flushed_lsn($node);
        wait_for_durable($node, $before);
        my @then = pieces($repository);
        sleep(2);
        return flushed_lsn($node) eq $before && @then == pieces($repository);
    },
    'two seconds without a new piece');
pass('nothing is stored when nothing is written');

# Segments follow each other; the complete ones go to the archive and only what is behind them is a tail.
my @segments = map { $node->safe_psql('postgres', "INSERT INTO words VALUES ('s$_')"); switch_wal($node) } 1 .. 3;
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('behind')));
my $lsn = wait_for_durable($node);
my ($segment) = segment_position($node, $lsn);
ok((grep { $_->{segment} eq $segment } pieces($repository)), 'a piece of the newest segment');
wait_for_archived($node, $segments[-1]);
pass('the complete segments are archived');

# A restart: another run, which begins at offset 0 of the segment that is written to.
$node->restart;
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('restarted')));
wait_for_durable($node);
my ($last) = sort { $b->{epoch} <=> $a->{epoch} || $b->{run} <=> $a->{run} } pieces($repository);
cmp_ok($last->{run}, '>', 1, 'a restart begins a run');
ok((grep { $_->{run} == $last->{run} && $_->{segment} eq $last->{segment} && $_->{from} == 0 } pieces($repository)), 'from offset 0 on');

# kill -9: the server recovers, and streams on.
kill_server($node);
$node->start;
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('recovered')));
wait_for_durable($node);
pass('after a crash streaming goes on');

# A longer interval after a reload; then off; then on again.
my $runs = run_documents($repository);
set_and_reload($node, 'pgvigil.stream_interval' => '1h');
wait_for(sub { run_documents($repository) > $runs }, 'a run with the new interval');
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('first')));
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('waits')));
$lsn = flushed_lsn($node);
sleep(1.5);
ok(!is_durable($node, $lsn), 'with an hour between two pieces the newest is not durable');
cmp_ok($node->safe_psql('postgres', 'SELECT extract(epoch FROM lag) FROM pgv_status'), '>', 1, 'and pgv_status says since when');
set_and_reload($node, 'pgvigil.stream_interval' => '0');
wait_for(sub { $node->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status') eq 'off' }, 'streaming to be off');
my @before = pieces($repository);
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('off')));
sleep(1.5);
is(scalar(pieces($repository)), scalar(@before), 'off: nothing is streamed');
set_and_reload($node, 'pgvigil.stream_interval' => '20ms');
wait_for_durable($node);
pass('on again');

# What ends the worker does not end streaming.
my $worker = $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgvigil streamer'));
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('again')));
wait_for_durable($node);
isnt($node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgvigil streamer')), $worker, 'the worker is started again');

$node->stop('immediate');
unlike(slurp_file($node->logfile), qr/could not stream|PANIC|TRAP/, 'the log complains of nothing');
done_testing();
