# The views of the catalog show what this server knows: they ask no store, are up to date at once after what this server
# did, and go on answering while the repository is away.
use strict;
use warnings;
use PgVigil;
use Test::More;
use Time::HiRes qw(time);

my $repository = new_repository('views', 'file');
my $node = new_node('views', repository => $repository);
fill_tables($node);
my $first = backup_now($node);
is($node->safe_psql('postgres', "SELECT kind, chain, parent IS NULL, restorable, reused_bytes, needed_by FROM pgv_backups"),
    "full|$first|t|t|0|{}", 'a backup is shown as soon as pgv_backup_now() returns');
cmp_ok($node->safe_psql('postgres', 'SELECT bytes_per_second FROM pgv_backups'), '>', 0, 'with its rate');
is($node->safe_psql('postgres', 'SELECT chain, backups, backup_ids, restorable, newest, missing FROM pgv_chains'),
    "$first|1|{$first}|t|$first|{}", 'and its chain');

# A second one, after a keep of the first.
$node->safe_psql('postgres', "SELECT pgv_keep('$first', now() + interval '1 day')");
is($node->safe_psql('postgres', "SELECT needed_by, keep_until BETWEEN now() AND now() + interval '1 day' FROM pgv_backups"),
    '{keep}|t', 'a keep is shown at once');
my $second = backup_now($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_chains'), 2, 'two chains');

# What is archived is shown without another look at the repository.
for (1 .. 3)
{
    $node->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
    my $segment = switch_wal($node);
    wait_for_archived($node, $segment);
    is($node->safe_psql('postgres', q(SELECT last_segment FROM pgv_wal_ranges WHERE state = 'stored' ORDER BY to_lsn DESC LIMIT 1)), $segment,
        'an archived segment is shown');
}
is($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_wal_ranges WHERE state = 'stored')), 1, 'in one range');
my $window = $node->safe_psql('postgres', 'SELECT to_time, to_lsn FROM pgv_recovery_windows ORDER BY to_lsn DESC LIMIT 1');
like($window, qr/^\d{4}-.*\|[0-9A-F]+\//, 'the window ends with the last transaction of it');

# The program sees the same in the repository.
my ($status, $out) = pgvigil('list', '--repository', $repository->url, '--json');
is($status, 0, 'list');
my ($to) = (split /\|/, $window)[1];
like($out, qr/"to_lsn": "\Q$to\E"/, 'the program finds the same window');
like($out, qr/"chain": "\Q$second\E"/, 'and the chains');
($status, $out) = pgvigil('list', '--repository', $repository->url, '--chains');
like($out, qr/^\s*\Q$second\E\s+1 /m, 'list --chains');

# The repository is away.
rename($repository->directory, $repository->directory . '.away') or die;
for my $view (qw(pgv_backups pgv_chains pgv_wal_ranges pgv_recovery_windows))
{
    my $begin = time();
    cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM $view"), '>=', 1, "$view answers without the repository");
    cmp_ok(time() - $begin, '<', 5, "$view at once");
}
rename($repository->directory . '.away', $repository->directory) or die;

# After a restart, before anything was read again, what was known is still there.
$node->restart;
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 2, 'after a restart');
ok(-e $node->data_dir . '/pgvigil.catalog', 'the catalog is kept in a file');
is((stat($node->data_dir . '/pgvigil.catalog'))[2] & 07777, 0600, 'which only the server reads');
my $copy = restored_node('views_copy', $repository);
ok(!-e $copy->data_dir . '/pgvigil.catalog', 'and which no backup holds');

# A backup that somebody else takes away is gone from the views with the next reading.
$repository->delete_object($repository->only(qr{/commits/\Q$second\E\.json$}));
$node->restart;
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups') == 1 }, 'the views to follow');
pass('what is gone is not shown');
$node->stop;

done_testing();
