# A repository that is not the one the server knows (an unmounted directory, a wrong prefix, somebody else's) stops
# archiving with an error until pgv_accept_repository(); it never silently starts over.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('accept', 'file');
my $node = new_node('accept', repository => $repository, settings => { 'pgvigil.retry_timeout' => '1s' });
fill_tables($node);
backup_now($node);
wait_for_archived($node);
my $directory = $repository->directory;

# Unmounted: the mount point is an empty directory.
rename($directory, "$directory.away") or die;
mkdir($directory, 0700) or die;
my $position = log_position($node);
my $segment = switch_wal($node);
wait_for_log($node, qr/pgv_accept_repository/, $position);
ok(!archived_through($node, $segment), 'an empty directory: nothing is acknowledged');
is(join(' ', $repository->objects), '', 'an empty directory: nothing is written');
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/pgv_accept_repository/, 'an empty directory: a backup');

# Mounted again: all is well by itself.
rmdir($directory) or die;
rename("$directory.away", $directory) or die;
wait_for_archived($node, $segment);
pass('archiving goes on once it is back');

# Missing altogether.
rename($directory, "$directory.away") or die;
$position = log_position($node);
$segment = switch_wal($node);
wait_for_log($node, qr/\Q$directory\E/, $position);
ok(!archived_through($node, $segment), 'a missing directory: nothing is acknowledged');
ok(!-e $directory, 'a missing directory is not created');
rename("$directory.away", $directory) or die;
wait_for_archived($node, $segment);

# Somebody else's repository.
my $other = new_repository('other', 'file');
my $other_node = new_node('other', repository => $other);
wait_for_archived($other_node);
$other_node->stop;
rename($directory, "$directory.away") or die;
rename($other->directory, $directory) or die;
$position = log_position($node);
$segment = switch_wal($node);
wait_for_log($node, qr/pgv_accept_repository/, $position);
ok(!archived_through($node, $segment), 'a foreign repository: nothing is acknowledged');
my $id = $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
is(scalar($repository->matching(qr/^\Q$id\E/)), 0, 'a foreign repository: nothing is written');

# The operator says that it is meant.
$node->safe_psql('postgres', 'SELECT pgv_accept_repository()');
wait_for_archived($node, $segment);
ok($repository->has_segment($segment), 'after pgv_accept_repository() archiving goes on there');
backup_now($node);

done_testing();
