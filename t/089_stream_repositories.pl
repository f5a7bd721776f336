# Streaming to two repositories: one that is lost holds up nothing where the other is enough, and one that is added again is
# not credited with what was stored while it was away.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my ($one, $two) = (new_repository('stream_one', 'file'), new_repository('stream_two', 'file'));
my $node = new_node('two', repository => [ $one, $two ], initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.retry_timeout' => '1s', 'pgvigil.stream_interval' => '100ms', 'pgvigil.required_repositories' => '1', autovacuum => 'off' });
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
wait_for_durable($node);
wait_for(sub { pieces($two) > 0 }, 'both to be streamed to');
my $runs = run_documents($one);

# The second one's file system is gone: it is not required.
my $directory = $two->directory;
my $position = log_position($node);
rename($directory, "$directory.away") or die;
for my $number (1 .. 5)
{
    $node->safe_psql('postgres', "INSERT INTO words VALUES ('$number')");
    wait_for_durable($node, undef, 10);
}
wait_for_log($node, qr/could not stream WAL to repository ".*stream_two/, $position);
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('after')));
wait_for_durable($node, undef, 10);
is(scalar(() = run_documents($one)), scalar(() = $runs), 'the session goes on');
is($node->safe_psql('postgres', 'SELECT stream_failing_since IS NULL FROM pgv_status'), 't', 'and does not fail');
rename("$directory.away", $directory) or die;

# Only the first one for a while: what is stored then the second one lacks.
my ($first) = $node->safe_psql('postgres', q(SHOW "pgvigil.repository")) =~ /^\s*([^,]*?)\s*(?:,|$)/;
my $both = $node->safe_psql('postgres', q(SHOW "pgvigil.repository"));
set_and_reload($node, 'pgvigil.repository' => $first, 'pgvigil.required_repositories' => 'all');
my @segments = map { switch_wal($node) } 1 .. 3;
wait_for_archived($node, $segments[-1]);
set_and_reload($node, 'pgvigil.repository' => $both);
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('both again')));
wait_for_durable($node);
my %whole = map { $_->{segment} => 1 } grep { $_->{to} == 1024 * 1024 } pieces($two);
my @lacking = grep { !$two->has_segment($_) && !$whole{$_} } @segments;
is("@lacking", '', 'durable with both: the second one has what was stored without it');

# The end of the WAL goes to the one that is left.
set_and_reload($node, 'pgvigil.required_repositories' => '1');
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('last')));
wait_for_durable($node);
rename($directory, "$directory.away") or die;
$position = log_position($node);
$node->stop('fast');
like(log_since($node, $position), qr/pgvigil has streamed all WAL/, 'a shutdown does not give up either');

done_testing();
