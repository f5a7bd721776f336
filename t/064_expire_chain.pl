# Chains are kept or expired whole: an incremental that stays holds all that it is built on; restores of what is left are
# right, to each backup and to moments between.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('expire_chain', 'file');
my $node = new_node('expire_chain', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.retention_window' => '0', 'pgvigil.retention_fulls' => '0' });
my (@backups, @contents);
my $restores = 0;

sub another
{
    my ($kind) = @_;
    fill_tables($node, 500);
    $node->safe_psql('postgres', 'UPDATE items SET word = reverse(word) WHERE id % 7 = 0; DELETE FROM items WHERE id % 11 = 0');
    push @contents, table_checksums($node);
    push @backups, backup_now($node, $kind);
    wait_for_archived($node);
    return;
}
another($_) for qw(full incremental incremental full incremental incremental);
is(join('', map { substr($_, -1) } @backups), 'FIIFII', 'two chains of three');

sub listed { return join(',', split(/\n/, $node->safe_psql('postgres', 'SELECT backup_id FROM pgv_backups ORDER BY 1'))); }

sub restores_to
{
    my ($number, @arguments) = @_;
    my $restored = restored_node('restored_' . ++$restores, $repository, '--backup', $backups[$number], @arguments);
    start_copy($restored);
    is_same_data($restored, @arguments ? $contents[$number] : $contents[-1], "backup $number " . (@arguments ? 'alone' : 'and all WAL'));
    $restored->stop('immediate');
    return;
}

# The middle of the first chain is kept: its full as well, its child not.
$node->safe_psql('postgres', "SELECT pgv_keep('$backups[1]')");
like($node->safe_psql('postgres', 'SELECT object, action, reason FROM pgv_expire()'),
    qr/^$backups[0]\|keep\|backup $backups[1] is built on it$/m, 'the full backup is held by its child');
$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false)');
is(listed(), join(',', @backups[ 0, 1, 3, 4, 5 ]), 'only the end of the first chain went');
restores_to(1, '--target-immediate');
restores_to(5);

# Released, the chain goes whole; the other is held by the newest.
$node->safe_psql('postgres', "SELECT pgv_release('$backups[1]')");
$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false, true)');
is(listed(), join(',', @backups[ 3 .. 5 ]), 'the other chain is whole');
restores_to(4, '--target-immediate');
restores_to(5);

# The next incremental goes on from there, and nothing of it is touched.
another('incremental');
$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false)');
is(listed(), join(',', @backups[ 3 .. 6 ]), 'a chain of four');
restores_to(6);

# A new chain lets the old one go, every pack of it.
another('full');
$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false, true)');
is(listed(), $backups[7], 'the new full is the only one');
is(join(' ', grep { !/\Q$backups[7]\E/ } $repository->matching(qr{/(?:data|files|commits|attempts)/})), '', 'nothing is left of the old chain');
restores_to(7);

done_testing();
