# A full backup while pgbench writes; the restored cluster starts, passes pg_verifybackup and has every row. In a
# directory and in S3.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

for my $kind (repository_kinds())
{
    my $repository = new_repository('full', $kind);
    my $node = new_node("full_$kind", repository => $repository);
    fill_tables($node);
    my $load = pgbench_load($node);
    my $id = backup_now($node);
    like($id, qr/F$/, "$kind: a full backup");
    $load->stop;

    is(scalar($repository->matching(qr{/commits/\Q$id\E\.json$})), 1, "$kind: committed");
    cmp_ok(scalar($repository->matching(qr{/data/\Q$id\E/\d{6}$})), '>=', 1, "$kind: with packs");
    my ($status, $out) = pgvigil('list', '--repository', $repository->url);
    is($status, 0, "$kind: list");
    like($out, qr/\Q$id\E/, "$kind: the program lists it");
    is($node->safe_psql('postgres', "SELECT count(*) FROM pgv_backups WHERE backup_id = '$id'"), 1, "$kind: so does the view");

    wait_for_archived($node);
    my $expected = table_checksums($node);
    my $copy = restored_node("full_copy_$kind", $repository);
    start_copy($copy);
    is_same_data($copy, $expected, $kind);
    is($copy->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_archiver WHERE archived_count > 0'), 0, "$kind: the copy archives nothing");
    $copy->stop;
    $node->stop;
}

done_testing();
