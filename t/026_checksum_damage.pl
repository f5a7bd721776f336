# A page whose checksum is wrong is reported with its file and block, in the log and in pgv_backups; the backup is made.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('damage', 'file');
my $node = new_node('damage', repository => $repository);
fill_tables($node, 5000);
my $path = $node->safe_psql('postgres', q(SELECT pg_relation_filepath('items')));
backup_now($node);
is($node->safe_psql('postgres', 'SELECT coalesce(sum(bad_pages), 0) FROM pgv_backups'), 0, 'an undamaged cluster has no bad pages');

$node->stop;
open(my $file, '+<:raw', $node->data_dir . "/$path") or die;
for my $block (3, 7)
{
    seek($file, $block * 8192 + 5000, 0);
    print $file 'damage';
}
close($file);
$node->start;
my $position = log_position($node);
my $id = backup_now($node);
my $log = log_since($node, $position);
like($log, qr/WARNING:.*(?:checksum|page).*\Q$path\E/, 'the log names the file');
like($log, qr/\b3\b.*\b7\b/s, 'and the blocks');
is($node->safe_psql('postgres', "SELECT bad_pages FROM pgv_backups WHERE backup_id = '$id'"), 2, 'pgv_backups counts them');
my ($status, $out, $err) = pgvigil('list', '--repository', $repository->url, '--json');
is($status, 0, 'list');
like($out, qr/"damaged_files": 1\b/, 'the program tells of the damaged file as well');

# What was damaged is restored as it was, byte for byte.
my $copy = restored_node('damage_copy', $repository, '--backup', $id, '--target-immediate');
is(-s $copy->data_dir . "/$path", -s $node->data_dir . "/$path", 'the damaged file is restored too');

done_testing();
