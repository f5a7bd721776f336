# A fast shutdown while the store is away, or does not answer, is bounded, and what waited arrives after the next start.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use Time::HiRes qw(time);
use Test::More;

needs_s3();
my $repository = new_repository('shutdown', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
my $node = new_node('shutdown', settings => { 'pgvigil.repository' => $repository->url_at($proxy->endpoint) });
fill_tables($node);
wait_for_archived($node);

for my $action ('refuse', 'hang')
{
    $proxy->set({ action => $action });
    my @segments = map { switch_wal($node) } 1 .. 3;
    wait_for(sub { $proxy->requests(qr/ $action /) }, 'a request that fails');
    my $begin = time();
    $node->stop('fast');
    my $took = time() - $begin;
    cmp_ok($took, '<', 30, sprintf('%s: fast shutdown in %.1f s', $action, $took));
    $proxy->set();
    $node->start;
    wait_for_archived($node, $segments[-1]);
    is(scalar(grep { $repository->has_segment($_) } @segments), 3, "$action: what waited arrives after the start");
}

# During a backup.
set_and_reload($node, 'pgvigil.max_rate' => '256kB');
$node->safe_psql('postgres', q(SELECT pgv_backup_now('full', wait => false)));
wait_for(sub { $node->safe_psql('postgres', 'SELECT phase FROM pgv_progress') =~ /copying/ }, 'the backup to copy');
my $begin = time();
$node->stop('fast');
cmp_ok(time() - $begin, '<', 30, 'fast shutdown during a backup');
$node->start;
is(scalar($repository->matching(qr{/commits/})), 0, 'no backup was committed');
set_and_reload($node, 'pgvigil.max_rate' => '0');
backup_now($node);
pass('the next backup works');

# A clean shutdown leaves nothing behind in the store's absence either: the last segments of a running server are there.
my $segment = switch_wal($node);
$node->stop('fast');
ok($repository->has_segment($segment), 'a fast shutdown archives what is complete');

done_testing();
