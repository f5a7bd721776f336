# WAL reaches the repository: segments complete and byte for byte, several at a time, history and backup history files
# too, in a directory and in S3.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use PostgreSQL::Test::Utils;
use Test::More;

for my $kind (repository_kinds())
{
    my $repository = new_repository('archive', $kind);
    my $node = new_node("archive_$kind", repository => $repository, initdb => ['--wal-segsize=1']);
    fill_tables($node);
    my $segment = wait_for_archived($node);

    ok($repository->has_segment($segment), "$kind: the acknowledged segment is in the repository");
    is($repository->only(qr/\Q$segment\E$/),
        join('/', $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'),
            'wal', substr($segment, 0, 8), substr($segment, 8, 8), $segment),
        "$kind: under the name of the format");
    is($node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver'), 0, "$kind: nothing failed");

    # Byte for byte: the server keeps the segment until its next checkpoint but one.
    my $fetched = scratch_directory() . '/segment';
    my ($status) = pgvigil('wal-get', '--repository', $repository->url, $segment, $fetched);
    is($status, 0, "$kind: wal-get finds it");
    is(-s $fetched, 1024 * 1024, "$kind: wal-get returns a whole segment");
    my $in_server = $node->data_dir . "/pg_wal/$segment";
    SKIP:
    {
        skip 'the server has recycled it', 1 unless -e $in_server;
        ok(slurp_file($fetched) eq slurp_file($in_server), "$kind: with the server's bytes");
    }

    # A backlog that built up while archiving was impossible arrives completely.
    my @backlog = map { switch_wal($node) } 1 .. 12;
    wait_for_archived($node, $backlog[-1]);
    is(scalar(grep { $repository->has_segment($_) } @backlog), 12, "$kind: every segment of a backlog is there");

    # The repository shows the WAL as one range without gaps.
    is($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_wal_ranges WHERE state = 'stored')), 1, "$kind: one range of WAL");
    is($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_wal_ranges WHERE state = 'missing')), 0, "$kind: without gaps");
    $node->stop;
}

SKIP:
{
    skip 'look-ahead is measured at an S3 server', 3 unless PgVigil::Repository->s3_available;
    my $repository = new_repository('look_ahead', 's3');
    my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
    my $node = new_node('look_ahead',
        initdb => ['--wal-segsize=1'],
        settings => { 'pgvigil.repository' => $repository->url_at($proxy->endpoint), 'pgvigil.archive_look_ahead' => 4 });
    wait_for_archived($node);
    $proxy->set({ action => 'refuse' });
    my @backlog = map { switch_wal($node) } 1 .. 16;
    $proxy->set({ action => 'delay', seconds => 0.3, method => 'PUT', path => '/wal/' });
    $node->safe_psql('postgres', 'SELECT pg_reload_conf()');
    wait_for_archived($node, $backlog[-1]);
    my @under_way = sort { $a <=> $b } map { (split)[4] } $proxy->requests(qr{^PUT .*/wal/.* delay 200});
    cmp_ok($under_way[-1], '>=', 3, 'several segments are uploaded at the same time');
    cmp_ok($under_way[-1], '<=', 5, 'but no more than the setting allows');
    is(scalar(grep { $repository->has_segment($_) } @backlog), 16, 'and all arrive');
}

done_testing();
