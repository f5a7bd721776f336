# A repository on a full file system: an error that says so, nothing half-written, everything goes on once there is room.
# Runs itself again in a mount namespace of its own, with a small tmpfs.
use strict;
use warnings;
use File::Basename qw(dirname);

BEGIN
{
    if (!$ENV{PGVIGIL_TEST_IN_NAMESPACE})
    {
        my @unshare = qw(unshare --user --map-current-user --keep-caps --mount);
        if (system(@unshare, 'sh', '-c', 'mount -t tmpfs tmpfs /mnt') != 0)
        {
            print "1..0 # SKIP no mount namespace without privileges here\n";
            exit 0;
        }
        $ENV{PGVIGIL_TEST_IN_NAMESPACE} = 1;
        exec(@unshare, $^X, (map { "-I$_" } @INC), $0) or die "could not run unshare: $!";
    }
}
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('disk_full', 'file');
my $directory = $repository->directory;
system_or_bail('mount', '-t', 'tmpfs', '-o', 'size=24m,mode=700', 'tmpfs', $directory);
my $node = new_node('disk_full', repository => $repository, initdb => ['--wal-segsize=1'], settings => { 'pgvigil.retry_timeout' => '1s' });
fill_tables($node);
wait_for_archived($node);

# Nearly full: a backup does not fit.
append_to_file("$directory/ballast", 'x' x (18 * 1024 * 1024));
$node->safe_psql('postgres', q(CREATE TABLE noise AS SELECT g, (SELECT string_agg(md5(random()::text || g || n), '') FROM generate_series(1, 60) n) AS t FROM generate_series(1, 10000) g));
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/No space left on device|disk.full/i, 'a backup on a full disk');
is(scalar($repository->matching(qr{/commits/})), 0, 'no backup is committed');

# Full: WAL waits. (The module's own warning is not repeated every second, the server's is.)
my $position = log_position($node);
my @segments;
while (@segments < 100 && log_since($node, $position) !~ /failed too many times/)
{
    $node->safe_psql('postgres', 'UPDATE noise SET g = g WHERE g <= 500');
    push @segments, switch_wal($node);
}
wait_for_log($node, qr/failed too many times/, $position);
like($node->safe_psql('postgres', 'SELECT last_error FROM pgv_archiver'), qr/No space left on device/, 'the view says why WAL waits');
ok(!archived_through($node, $segments[-1]), 'WAL waits while the disk is full');
is(scalar(grep { -s "$directory/$_" == 0 } $repository->matching(qr{/wal/})), 0, 'no object is empty');

# Room again.
unlink "$directory/ballast" or die;
system_or_bail('mount', '-o', 'remount,size=256m', $directory);
push @segments, switch_wal($node);
wait_for_archived($node, $segments[-1]);
is(scalar(grep { !$repository->has_segment($_) } @segments), 0, 'every segment arrives once there is room');
backup_now($node);
wait_for_archived($node);
my $expected = table_checksums($node);
my $copy = restored_node('disk_full_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'restored');
$copy->stop;

# A restore into a full file system: an error, and what is left cannot be started.
my $small = scratch_directory() . '/small';
mkdir $small or die;
system_or_bail('mount', '-t', 'tmpfs', '-o', 'size=8m,mode=700', 'tmpfs', $small);
my ($status, undef, $err) = restore($repository, $small);
isnt($status, 0, 'a restore into a full file system fails');
like($err, qr/No space left on device/, 'and says why');
ok(!-e "$small/global/pg_control", 'what is left cannot be started');

done_testing();
