# kill -9 of the server in the middle of an expiry: what is listed then can be restored, and the next expiry completes.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('expire_crash', 'file');
my $node = new_node('expire_crash', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.retention_window' => '0', 'pgvigil.retention_fulls' => '1' });
fill_tables($node);
backup_now($node) for 1 .. 8;
wait_for_archived($node);
my $expected = table_checksums($node);

my $rounds = 0;
for my $wanted (qr{/tombstones/}, qr{/tombstones/})
{
    backup_now($node) if $rounds++;
    my $before = () = $repository->matching($wanted);
    my $session = $node->background_psql('postgres', on_error_stop => 0);
    $session->query_until(qr/started/, "\\echo started\nSELECT * FROM pgv_expire(false, true);\n");
    # Tombstones are there, and some of the deletions have been done, or none.
    wait_for(sub { my $count = () = $repository->matching($wanted); $count > $before }, 'the first tombstones', 30);
    $node->stop('immediate');
    eval { $session->quit };
    my ($status, $out) = pgvigil('list', '--repository', $repository->url, '--json');
    is($status, 0, "round $rounds: the catalog can be read");
    my @listed = $out =~ /"id": "(\d{8}T\d{6}F)"/g;
    cmp_ok(scalar(@listed), '>=', 1, "round $rounds: backups are listed");
    for my $id ($listed[0], $listed[-1])
    {
        my $restored = restored_node("restored_${rounds}_$id" . ($id eq $listed[-1] ? '_last' : ''), $repository, '--backup', $id, '--target-immediate');
        start_copy($restored);
        is_same_data($restored, $expected, "round $rounds: $id");
        $restored->stop('immediate');
        last if @listed == 1;
    }
    $node->start;
}

$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false, true)');
my ($last) = $node->safe_psql('postgres', 'SELECT backup_id FROM pgv_backups');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 1, 'the next expiry completes');
my @left = grep { !m{/(?:data|files|commits|attempts)/\Q$last\E} } $repository->matching(qr{/(?:data|files|commits|attempts)/});
is("@left", '', 'nothing is left of what went');
wait_for_archived($node);
my $restored = restored_node('restored_last', $repository);
start_copy($restored);
is_same_data($restored, $expected, 'the last one');

done_testing();
