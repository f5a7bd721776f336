# Kept backups: what pgv_keep() and pgvigil keep hold stays with just the WAL that it needs, and can be restored, until it is
# released.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('keep', 'file');
my $node = new_node('keep', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.retention_window' => '0', 'pgvigil.retention_fulls' => '0' });
my (@backups, @contents);
for my $round (0 .. 3)
{
    fill_tables($node);
    push @contents, table_checksums($node);
    push @backups, backup_now($node);
    # Segments that only a recovery window would need.
    wait_for_archived($node) for 1 .. 2;
}
my @urls = ('--repository', $repository->url);

# The program changes the repository beside the server.
sub listed
{
    refresh($node);
    return [ split /\n/, $node->safe_psql('postgres', 'SELECT backup_id FROM pgv_backups ORDER BY 1') ];
}

sql_fails($node, q(SELECT pgv_keep('20200101T000000F')), qr/42704.*there is no backup/s, 'keep an unknown backup');
sql_fails($node, q(SELECT pgv_keep('nonsense')), qr/22023.*invalid backup id/s, 'keep nonsense');
sql_fails($node, qq(SELECT pgv_keep('$backups[0]', now() - interval '1 day')), qr/22023.*has passed/s, 'keep until yesterday');
$node->safe_psql('postgres', "SELECT pgv_keep('$backups[0]')");
$node->safe_psql('postgres', "SELECT pgv_keep('$backups[1]', now() + interval '1 day')");
my ($status, $out) = pgvigil('keep', $backups[2], @urls, '--json');
is($status, 0, 'pgvigil keep');
like($out, qr/"backup": "$backups[2]"/, 'says what it kept');
like($node->safe_psql('postgres', 'SELECT object, reason FROM pgv_expire()'), qr/^$backups[1]\|kept by pgv_keep for a time/m, 'the reason is shown');

$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false)');
is_deeply(listed(), \@backups, 'all are kept');
cmp_ok($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_wal_ranges WHERE state = 'missing')), '>=', 2, 'the WAL between them is gone');

# An old kept backup is consistent by the WAL it has.
my $old = restored_node('old', $repository, '--backup', $backups[0], '--target-immediate');
start_copy($old);
is_same_data($old, $contents[0], 'an old kept backup');
$old->stop('immediate');

($status, $out) = pgvigil('keep', $backups[2], '--release', @urls);
is($status, 0, 'pgvigil keep --release');
$node->safe_psql('postgres', "SELECT pgv_release('$backups[0]')");
($status, $out) = pgvigil('expire', @urls, '--retention-window', '0', '--retention-fulls', '0', '--json');
is($status, 0, 'pgvigil expire, a dry run');
like($out, qr/"dry_run": true/, 'says so');
is_deeply(listed(), \@backups, 'and deletes nothing');
($status) = pgvigil('expire', @urls, '--yes', '--retention-fulls', '0');
is($status, 2, '--yes without --retention-window is a mistake');
($status) = pgvigil('expire', @urls, '--retention-window', 'soon');
is($status, 2, 'a window that is no time as well');
($status, $out) = pgvigil('expire', @urls, '--retention-window', '0', '--retention-fulls', '0', '--yes');
is($status, 0, 'pgvigil expire --yes');
like($out, qr/objects of .* were deleted/, 'says how much');
is_deeply(listed(), [ @backups[ 1, 3 ] ], 'what was released is gone, what is kept is not');
($status) = pgvigil('keep', $backups[0], @urls);
is($status, 3, 'what is gone cannot be kept');

my $newest = restored_node('newest', $repository);
start_copy($newest);
is_same_data($newest, $contents[3], 'the newest');
$newest->stop('immediate');

# A keep for a time ends with it. More than half, by the program.
$node->safe_psql('postgres', "SELECT pgv_keep('$backups[1]', now() + interval '1 second')");
sleep 2;
backup_now($node);
wait_for_archived($node);
($status) = pgvigil('expire', @urls, '--retention-window', '0', '--retention-fulls', '0', '--yes');
is($status, 18, 'over half of the backups needs --confirm');
($status) = pgvigil('expire', @urls, '--retention-window', '0', '--retention-fulls', '0', '--yes', '--confirm');
is($status, 0, 'with --confirm it is done');
is(scalar(@{ listed() }), 1, 'one is left');
is(join(' ', $repository->matching(qr{$backups[1]})), ($repository->matching(qr{/tombstones/$backups[1]}))[0], 'of what was kept for a time only the tombstone is left');

done_testing();
