# What streaming writes and what becomes of it: nothing while nothing is written, few bytes beside the segments at a high
# rate, few objects at a short interval; expiry removes what complete segments supersede, tail_cleanup at once, and a
# store that allows no deletion is tolerated.
use strict;
use warnings;
use IPC::Run;
use PgVigil;
use PgVigil::FaultProxy;
use PgVigil::Stream;
use Test::More;
use Time::HiRes qw(sleep time);

my $repository = new_repository('tail_objects', 'file');
# Small segments: many of them end in an interval of the burst below, however slow the machine is.
my $node = new_node('tail_objects', repository => $repository, initdb => ['--wal-segsize=1'], settings => { 'pgvigil.stream_interval' => '20ms', autovacuum => 'off', bgwriter_lru_maxpages => '0' });
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
backup_now($node);

# Pieces that no wider piece of the same run covers.
sub alive
{
    my @pieces = pieces($repository);
    my %by_segment;
    push @{ $by_segment{"$_->{segment} $_->{epoch} $_->{run}"} }, $_ for @pieces;
    my $most = 0;
    for my $group (values %by_segment)
    {
        my @open = grep { my $p = $_; !grep { $_ != $p && $_->{from} <= $p->{from} && $_->{to} >= $p->{to} && $_->{to} - $_->{from} > $p->{to} - $p->{from} } @$group } @$group;
        $most = @open if @open > $most;
    }
    return ($most, scalar @pieces);
}

sub size_below
{
    my ($what) = @_;
    my $size = 0;
    $size += -s $repository->directory . "/$_" for $repository->matching(qr{/$what/});
    return $size;
}

# Nothing is written, nothing is shipped. PostgreSQL itself logs something now and then: a quiet second is looked for.
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('quiet')));
my $quiet = wait_for(
    sub {
        my $lsn = wait_for_durable($node);
        my @before = map { $_->{key} } pieces($repository);
        sleep(1);
        return if flushed_lsn($node) ne $lsn;
        return [ "@before", join(' ', map { $_->{key} } pieces($repository)) ];
    },
    'a second without WAL');
is($quiet->[1], $quiet->[0], 'fifty intervals without WAL: no object');

# A short interval and many small commits in one segment.
my ($most, $total) = (0, 0);
my $output = '';
my $script = scratch_directory() . '/words.sql';
PostgreSQL::Test::Utils::append_to_file($script, "INSERT INTO words VALUES (md5(random()::text));\n");
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-R', 300, '-T', 6, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], '<', \undef, '>&', \$output);
while ($load->pumpable)
{
    $load->pump_nb;
    my ($now, $all) = alive();
    $most = $now if $now > $most;
    $total = $all;
    sleep(0.1);
}
$load->finish or die "pgbench: $output";
cmp_ok($total, '>', 20, "the tail was streamed in $total objects");
cmp_ok($most, '<=', 64, "of a segment at most $most are not superseded");

# A burst: what is durable as a segment is not shipped besides.
set_and_reload($node, 'pgvigil.stream_interval' => '1s');
wait_for_archived($node);
my ($tail, $wal) = map { size_below($_) } qw(tail wal);
IPC::Run::run([ 'pgbench', '-q', '-i', '-s', 6, '-h', $node->host, '-p', $node->port, 'postgres' ], '>&', \$output) or die $output;
wait_for_archived($node);
($tail, $wal) = (size_below('tail') - $tail, size_below('wal') - $wal);
cmp_ok($tail, '<', $wal / 3, sprintf('a burst: %.1f MB of segments, %.1f MB of tail', $wal / 1e6, $tail / 1e6));

# Expiry takes what is superseded; what only the tail has stays.
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('only in the tail')));
wait_for_durable($node);
my ($current) = segment_position($node, flushed_lsn($node));
my $complete = grep { $_->{segment} lt $current } pieces($repository);
cmp_ok($complete, '>', 0, 'pieces of complete segments stand there');
refresh($node);
my $said = $node->safe_psql('postgres', q(SELECT string_agg(DISTINCT kind || ' ' || action, ', ') FROM pgv_expire(dry_run => false) WHERE object ~ 'tail'));
note("pgv_expire: $said");
is(scalar(grep { $_->{segment} lt $current } pieces($repository)), 0, 'expiry removes them');
cmp_ok(scalar(grep { $_->{segment} eq $current } pieces($repository)), '>', 0, 'and leaves the others');
my $copy = restored_node('tail_objects_copy', $repository, '--no-sync');
start_copy($copy);
is($copy->safe_psql('postgres', q(SELECT count(*) FROM words WHERE word = 'only in the tail')), 1, 'the tail is still good');
$copy->stop('immediate');

# At once. What stands in the segment in which it was turned on is left to expiry.
set_and_reload($node, 'pgvigil.tail_cleanup' => 'on', 'pgvigil.stream_interval' => '20ms');
my $before = wait_for_archived($node);
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('cleaned up')));
wait_for_durable($node);
my $done = wait_for_archived($node);
cmp_ok($done, 'gt', $before, 'another segment');
wait_for(sub { !grep { $_->{segment} gt $before && $_->{segment} le $done } pieces($repository) }, 'tail_cleanup to remove what is superseded', 60);
pass('tail_cleanup: gone once the segment is stored');
$node->stop;

# Credentials that may not delete.
SKIP:
{
    skip 'needs an S3 server', 4 unless PgVigil::Repository->s3_available;
    my $bucket = new_repository('no_delete', 's3');
    my $proxy = PgVigil::FaultProxy->new($bucket->{endpoint});
    $proxy->set({ action => 'status', status => 403, code => 'AccessDenied', method => 'DELETE' },
        { action => 'status', status => 403, code => 'AccessDenied', method => 'POST', path => 'delete' });
    my $other = new_node('no_delete', settings => {
        'pgvigil.repository' => $bucket->url_at($proxy->endpoint), 'pgvigil.stream_interval' => '50ms', 'pgvigil.tail_cleanup' => 'on', 'pgvigil.retry_timeout' => '2s' });
    fill_tables($other);
    backup_now($other);
    for my $round (1 .. 3)
    {
        fill_tables($other, 50);
        wait_for_durable($other);
        wait_for_archived($other);
    }
    wait_for(sub { $proxy->requests(qr/AccessDenied|^(?:DELETE|POST) .* 403 /) }, 'a deletion to be refused', 60);
    my $mentions = () = log_since($other, 0) =~ /(?:WARNING|LOG|ERROR): [^\n]*(?:AccessDenied|access denied|not allowed|denied)/gi;
    cmp_ok($mentions, '<=', 2, 'no deletion allowed: said once');
    fill_tables($other, 50);
    wait_for_durable($other);
    pass('streaming goes on');
    my $expected = table_checksums($other);
    lose_server($other);
    my $restored = restored_node('no_delete_copy', $bucket, '--no-sync');
    start_copy($restored);
    is_same_data($restored, $expected, 'no deletion allowed');
    $restored->stop('immediate');
}

done_testing();
