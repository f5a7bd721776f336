# pgv_check() and pgv_status tell what is wrong: a repository that cannot be written to or is away, and a module that is
# not preloaded.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('check', 'file');
my $node = new_node('check', repository => $repository, settings => { 'pgvigil.retry_timeout' => '1s' });
wait_for_archived($node);
backup_now($node);

sub failed_checks { return $node->safe_psql('postgres', 'SELECT "check", detail FROM pgv_check() WHERE NOT ok'); }

is(failed_checks(), '', 'all is well');
wait_for(sub { $node->safe_psql('postgres', 'SELECT ok FROM pgv_status') eq 't' }, 'pgv_status to say so');
my $before = $repository->fingerprint;
failed_checks();
my %known = map { $_ => 1 } map { (split)[0] } split /\n/, $before;
is(join(' ', grep { !$known{$_} && !m{/(?:wal|tail|alive)/} } $repository->objects), '', 'the round trip leaves nothing behind but WAL');

SKIP:
{
    skip 'root writes everywhere', 2 if $> == 0;
    my @directories = ($repository->directory, map { $repository->directory . "/$_" } split /\n/, qx(cd '${\ $repository->directory}' && find . -mindepth 1 -type d));
    chmod 0500, $_ for @directories;
    like(failed_checks(), qr/Permission denied/, 'a repository that cannot be written to');
    my $segment = switch_wal($node);
    wait_for(sub { $node->safe_psql('postgres', 'SELECT NOT ok FROM pgv_status') eq 't' }, 'pgv_status to say so');
    like($node->safe_psql('postgres', 'SELECT last_error FROM pgv_archiver'), qr/Permission denied/, 'pgv_archiver shows the error');
    chmod 0700, $_ for @directories;
    wait_for_archived($node, $segment);
}
wait_for(sub { $node->safe_psql('postgres', 'SELECT ok FROM pgv_status') eq 't' }, 'pgv_status to be well again');

my $directory = $repository->directory;
rename($directory, "$directory.away") or die;
like(failed_checks(), qr/\Q$directory\E/, 'a repository that is away is named');
rename("$directory.away", $directory) or die;

# Nothing was ever lost meanwhile.
wait_for_archived($node);

# Only the archive library, without shared_preload_libraries: WAL is kept safe all the same; what needs more says so.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
my $segment = wait_for_archived($node);
ok($repository->has_segment($segment), 'not preloaded: WAL is archived');
sql_fails($node, 'SELECT * FROM pgv_status', qr/shared_preload_libraries/, 'not preloaded: the views');
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/shared_preload_libraries/, 'not preloaded: a backup');

done_testing();
