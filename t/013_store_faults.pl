# A store that answers with errors, breaks connections, loses answers after it has stored the object, cuts answers short
# and flips bits: WAL, backup and restore get through, and nothing is wrong afterwards.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use Test::More;

needs_s3();
my $repository = new_repository('faults', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
my $url = $repository->url_at($proxy->endpoint);
my $node = new_node('faults', initdb => ['--wal-segsize=1'], settings => { 'pgvigil.repository' => $url });
fill_tables($node);
wait_for_archived($node);

for my $fault (
    { action => 'status', status => 503, count => 3 },
    { action => 'status', status => 500, code => 'InternalError', count => 3 },
    { action => 'reset', count => 3 },
    { action => 'refuse', count => 3 },
    { action => 'lose-answer', count => 2 },
    { action => 'status', status => 400, code => 'RequestTimeout', count => 2 })
{
    my $what = join ' ', grep { defined } @$fault{qw(action status)};
    my $failed = $node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver');
    $proxy->set({ %$fault, method => 'PUT', path => '/wal/' });
    fill_tables($node, 100);
    my $segment = wait_for_archived($node);
    ok($repository->has_segment($segment), "archiving through $what");
    is($node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver'), $failed, "$what: retried inside, not by the server");
}

# A backup, with each kind of fault somewhere in it.
$proxy->set(
    { action => 'lose-answer', method => 'PUT', path => '/data/', skip => 1, count => 1 },
    { action => 'status', method => 'PUT', path => '/data/', count => 1 },
    { action => 'reset', method => 'PUT', path => '/files/', count => 1 },
    { action => 'lose-answer', method => 'PUT', path => '/commits/', count => 1 },
    { action => 'lose-answer', method => 'PUT', path => '/attempts/', count => 1 });
my $id = backup_now($node);
cmp_ok(scalar($proxy->requests(qr/ lose-answer 200/)), '>=', 2, 'the backup met lost answers');
is(scalar($repository->matching(qr{/commits/})), 1, 'one backup, committed once');
wait_for_archived($node);
my $expected = table_checksums($node);
$node->stop;

# A restore, and the replay after it, through the same.
$proxy->set(
    { action => 'truncate', method => 'GET', path => '/data/', count => 1 },
    { action => 'status', method => 'GET', path => '/data/', count => 2 },
    { action => 'truncate', method => 'GET', path => '/wal/', count => 1 },
    { action => 'reset', method => 'GET', path => '/files/', count => 1 });
my $through = bless { %$repository, url => $url }, ref $repository;
my $copy = restored_node('faults_copy', $through);
start_copy($copy);
is_same_data($copy, $expected, 'restored through faults');
$copy->stop;

# A flipped bit is found, never restored: the object is fetched again or named in the error.
$proxy->set({ action => 'flip', method => 'GET', path => '/data/' });
my ($status, undef, $err) = restore($through, $node->basedir . '/flipped');
isnt($status, 0, 'a store that always flips a bit: refused');
like($err, qr{data/\Q$id\E/\d+}, 'the object is named');
ok(!-e $node->basedir . '/flipped/global/pg_control', 'and what is left cannot be started');

done_testing();
