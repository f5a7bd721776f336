# A second archive command fails for long: PostgreSQL archives nothing, and the WAL is streamed all the same.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my $repository = new_repository('stuck', 'file');
my $node = new_node('stuck', repository => $repository,
    settings => { 'pgvigil.stream_interval' => '100ms', 'pgvigil.also_archive_command' => 'false', autovacuum => 'off', 'pgvigil.archive_look_ahead' => 1 });
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
my @segments;
for my $number (1 .. 8)
{
    $node->safe_psql('postgres', "INSERT INTO words VALUES ('$number')");
    push @segments, switch_wal($node);
    wait_for_durable($node) if $number % 3 == 0;
}
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('last')));
my $lsn = wait_for_durable($node, undef, 120);
pass('everything is durable');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_archiver WHERE archived_count > 0'), 0, 'though PostgreSQL has archived nothing');
my %streamed = map { $_->{segment} => 1 } pieces($repository);
ok($streamed{ $segments[-1] } || $repository->has_segment($segments[-1]), 'the newest complete segment is there, complete or as a tail');
my $size = 16 * 1024 * 1024;
ok((grep { $_->{to} == $size } pieces($repository)), 'complete segments are finished as tails');
is($node->safe_psql('postgres', 'SELECT failing_since IS NOT NULL FROM pgv_status'), 't', 'pgv_status says that archiving fails');

# The command works again: the archiver goes through what waits, and the stream goes on.
set_and_reload($node, 'pgvigil.also_archive_command' => 'true');
wait_for_archived($node, $segments[-1], 120);
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('more')));
wait_for_durable($node);
pass('with the archiver back');
is($node->safe_psql('postgres', 'SELECT stream_failing_since IS NULL FROM pgv_status'), 't', 'streaming never failed');

done_testing();
