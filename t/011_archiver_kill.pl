# kill -9 of the archiver during uploads: nothing acknowledged is missing, nothing is stored twice with other content,
# and archiving goes on.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use Test::More;

needs_s3();
my $repository = new_repository('archiver_kill', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
my $node = new_node('archiver_kill', initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.repository' => $repository->url_at($proxy->endpoint) });
fill_tables($node);
backup_now($node);

sub recovered
{
    my ($position) = @_;
    wait_for_log($node, qr/all server processes terminated; reinitializing/, $position);
    wait_for(sub { answer_of($node, 'SELECT 1') }, 'the server to recover');
    return;
}

# Once before the store has seen the objects, once after it has stored them and before anybody knows.
for my $case ([ 'before the store has them', 'hang' ], [ 'after the store has them', 'delay' ])
{
    my ($what, $action) = @$case;
    my $position = log_position($node);
    $proxy->set({ action => $action eq 'delay' ? 'lose-answer' : 'hang', method => 'PUT', path => '/wal/' });
    my @segments = map { fill_tables($node, 300); switch_wal($node) } 1 .. 6;
    wait_for(sub { $proxy->requests(qr{^PUT .*/wal/.* (?:hang|lose-answer)}) }, 'uploads under way');
    kill 'KILL', process_of($node, qr/archiver/);
    recovered($position);
    $proxy->set();
    wait_for_archived($node, $segments[-1]);
    is(scalar(grep { $repository->has_segment($_) } @segments), 6, "$what: every segment is there");
}

wait_for_archived($node);
my $expected = table_checksums($node);
my $copy = restored_node('archiver_kill_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'restored');

done_testing();
