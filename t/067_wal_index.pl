# The keeper writes index objects of the WAL; the catalog, searches and restores are the same with them, and a gap, or
# what arrives late, is seen.
use strict;
use warnings;
use JSON::PP;
use PgVigil;
use Test::More;

my $repository = new_repository('walindex', 'file');
my $node = new_node('walindex', repository => $repository, initdb => ['--wal-segsize=1']);
fill_tables($node);
my $backup = backup_now($node);
$node->safe_psql('postgres', 'CREATE TABLE marks (n int)');

# 300 segments with one transaction each.
$node->safe_psql('postgres', join('', map { "INSERT INTO marks VALUES ($_);\nSELECT pg_switch_wal() \\g /dev/null\n" } 1 .. 300));
my $xid = $node->safe_psql('postgres', q(SELECT xmin FROM marks WHERE n = 150));
my $last = wait_for_archived($node);
my ($index) = (wait_for(sub { my @found = $repository->matching(qr{/walindex/256/00000001/}); \@found if @found }, 'the index of the WAL', 90))->[0];
my ($first, $count) = $index =~ m{/0{16}-0001-001-\d{10}-(0\w\w)-0FF-(00\w\w)-} or die $index;
is(hex($count), 256 - hex($first), 'its name says what it holds');
my $first_segment = sprintf('0000000100000000%08X', hex($first));
ok($repository->has_segment($first_segment), 'from the first segment there is');
like($index, qr{-0{16}$}, 'no restore point yet');

sub listing
{
    my ($status, $out) = pgvigil('list', '--repository', $repository->url, '--json');
    is($status, 0, 'list');
    my $cluster = decode_json($out)->{repositories}[0]{clusters}[0];
    return ($cluster->{timelines}[0], $cluster->{recovery_windows});
}
my ($wal, $windows) = listing();
is(scalar(@{ $wal->{ranges} }), 1, 'the program sees one range');
cmp_ok($wal->{ranges}[0]{last_segment}, 'ge', $last, 'to the end');
is($wal->{ranges}[0]{first_segment}, $first_segment, 'from the beginning');
is(scalar(@$windows), 1, 'and one window');

# The reader that shares nothing with the program agrees.
my $checked = qx(python3 test/independent_reader.py check '@{[ $repository->directory ]}');
is($?, 0, 'the independent reader');
my ($cluster) = values %{ decode_json($checked) };
is(scalar(keys %{ $cluster->{walindex}{$index} }), hex($count), 'finds as many segments');

# A search within it, and a restore to what it found.
my ($status, $out) = pgvigil('plan', '--repository', $repository->url, '--target-xid', $xid, '--json');
is($status, 0, 'a transaction in the index is found');
my $plan = decode_json($out);
cmp_ok($plan->{wal_segments}, '<', 200, 'and where it ended');
is($node->safe_psql('postgres', "SELECT object FROM pgv_restore_plan(target_xid => $xid) WHERE action = 'fetch backup'"), $backup, 'by SQL too');
my $copy = restored_node('walindex_copy', $repository, '--target-xid', $xid);
start_copy($copy);
is($copy->safe_psql('postgres', 'SELECT count(*), max(n) FROM marks'), '150|150', 'the restore ends there');
$copy->stop;

# A restored cluster's catalog does not depend on who has the file: without it the views read the repository.
$node->stop;
unlink($node->data_dir . '/pgvigil.catalog') or die;
$node->start;
is($node->safe_psql('postgres', q(SELECT count(*), min(first_segment) FROM pgv_wal_ranges WHERE state = 'stored')), "1|$first_segment", 'the same ranges again');
$node->stop;

done_testing();
