# wal_segment_size of 1 MB and of 64 MB, which is stored in parts: archived, shown, restored.
use strict;
use warnings;
use PgVigil;
use Test::More;

for my $megabytes (1, 64)
{
    my $repository = new_repository("size_$megabytes");
    my $node = new_node("size_$megabytes", repository => $repository, initdb => ["--wal-segsize=$megabytes"],
        conf => "max_wal_size = 512MB\nmin_wal_size = 128MB\n");
    fill_tables($node);
    backup_now($node);
    my $segment = wait_for_archived($node);
    # Incompressible rows, so that the parts of a large segment are real ones.
    $node->safe_psql('postgres', q(CREATE TABLE noise AS SELECT g, (SELECT string_agg(md5(random()::text || g || n), '') FROM generate_series(1, 60) n) AS t FROM generate_series(1, 20000) g));
    wait_for_archived($node);
    my @parts = $repository->matching(qr/\.part\d{3}-/);
    if ($megabytes == 1) { is(scalar(@parts), 0, '1 MB: one object per segment'); }
    else { cmp_ok(scalar(@parts), '>=', 1, '64 MB: segments are stored in parts'); }
    is($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_wal_ranges WHERE state = 'stored')), 1, "$megabytes MB: one range of WAL without gaps");

    my $file = $node->basedir . '/fetched';
    my ($status) = pgvigil('wal-get', '--repository', $repository->url, $segment, $file);
    is($status, 0, "$megabytes MB: wal-get");
    is(-s $file, $megabytes * 1024 * 1024, "$megabytes MB: a whole segment");

    my $expected = table_checksums($node);
    my $copy = restored_node("size_copy_$megabytes", $repository);
    start_copy($copy);
    is_same_data($copy, $expected, "$megabytes MB");
    $copy->stop;
    $node->stop;
}

done_testing();
