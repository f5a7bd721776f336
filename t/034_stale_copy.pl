# A data directory from the past (a disk snapshot that was rolled back) in the place of the original: same identity, but
# its WAL ends before what the repository has. It is refused, so that no second history is written under the first one's
# names.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('stale', 'file');
my $node = new_node('stale', repository => $repository, initdb => ['--wal-segsize=1']);
fill_tables($node);
backup_now($node);
wait_for_archived($node);
$node->stop;
my $snapshot = $node->basedir . '/snapshot';
system_or_bail('cp', '-a', $node->data_dir, $snapshot);

$node->start;
fill_tables($node, 500);
wait_for_archived($node) for 1 .. 3;
my $expected = table_checksums($node);
$node->stop;

# Rolled back.
rename($node->data_dir, $node->basedir . '/future') or die;
rename($snapshot, $node->data_dir) or die;
# A disk that is rolled back keeps its inodes; a copy of the identity file would be recognised by its own.
rename($node->basedir . '/future/pgvigil.identity', $node->data_dir . '/pgvigil.identity') or die;
my $before = $repository->fingerprint;
my $position = log_position($node);
$node->start;
$node->safe_psql('postgres', q(INSERT INTO items SELECT max(id) + 1, 'another history' FROM items));
my $segment = switch_wal($node);
wait_for_log($node, qr/(?:pgvigil|archiv).*(?:before|behind|stale|older|detached)/i, $position);
ok(!archived_through($node, $segment), 'a stale copy: its WAL is not acknowledged');
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/before|behind|stale|older|detached/i, 'a stale copy: a backup');
is($repository->fingerprint, $before, 'a stale copy writes nothing');
$node->stop;

# What the repository has is still the first history.
my $copy = restored_node('stale_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'the repository');

done_testing();
