# What PostgreSQL's own incremental backup gets wrong: a table is cut off by vacuum and grows again by pages that are
# not in the WAL yet; the blocks between come back from the older backup, with rows that were deleted. pgvigil must not
# bring them back (rules A2).
use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../test/differential';
use Differential::Native;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('fault', 'file');
my $node = new_node('fault', repository => $repository, settings => { autovacuum => 'off' });
$node->safe_psql('postgres', q(CREATE TABLE victim (id int, filler text);
INSERT INTO victim SELECT g, repeat('o', 100) FROM generate_series(1, 20000) g));
# The first half stays as it is: natively a file with few unchanged blocks is stored whole.
$node->safe_psql('postgres', 'VACUUM (FREEZE) victim');
my $native = Differential::Native->available ? Differential::Native->new($repository) : undef;

my $full = backup_now($node, 'full');
is($native->take($node), undef, 'a native full backup') if $native;

# The new rows' pages are added many at a time, more than the rows need.
my $rows = scratch_directory() . '/rows';
append_to_file($rows, join('', map { (100000 + $_) . "\t" . ('n' x 100) . "\n" } 1 .. 1000));
$node->safe_psql('postgres', 'DELETE FROM victim WHERE id > 10000');
$node->safe_psql('postgres', 'VACUUM victim');
my $short = $node->safe_psql('postgres', q(SELECT pg_relation_size('victim') / 8192));
$node->safe_psql('postgres', "COPY victim FROM '$rows'");
my ($length, $used) = split /\|/, $node->safe_psql('postgres', q(SELECT pg_relation_size('victim') / 8192, max((ctid::text::point)[0])::int + 1 FROM victim));
note("the table had more than 300 blocks, was cut to $short and has $length now, of which $used hold rows");
cmp_ok($length, '>', $used, 'pages without rows at the end of the table') if pg_major() >= 17;

my $id = backup_now($node, 'incremental');
like($id, qr/I$/, 'an incremental backup by pgvigil');
is($native->take($node), undef, 'and a native one') if $native;
wait_for_archived($node);
my $query = 'SET enable_indexscan = off; SELECT count(*), sum(id), count(*) FILTER (WHERE id BETWEEN 10001 AND 20000) FROM victim';
my $expected = $node->safe_psql('postgres', $query);
like($expected, qr/^11000\|\d+\|0$/, 'the primary has no deleted row');

my $copy = restored_node('fault_copy', $repository, '--backup', $id);
start_copy($copy);
is($copy->safe_psql('postgres', $query), $expected, 'pgvigil restores what the primary holds');
$copy->stop;

if ($native)
{
    my $combined = $native->combined_node('fault_native', $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'));
    start_copy($combined);
    my $got = $combined->safe_psql('postgres', $query);
    my ($count, undef, $deleted) = split /\|/, $got;
    if ($deleted)
    {
        pass("PostgreSQL ${\ pg_major()}'s own incremental backup restores $count rows, $deleted of them deleted ones");
    }
    else
    {
        is($got, $expected, 'PostgreSQL ' . pg_major() . "'s own incremental backup has learned it");
        diag('this minor release of PostgreSQL ' . pg_major() . ' no longer brings deleted rows back');
    }
    $combined->stop;
}

done_testing();
