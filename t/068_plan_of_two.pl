# Two repositories, each of which lacks something: a plan takes from each what the other lacks, and the restore does what
# the plan says.
use strict;
use warnings;
use JSON::PP;
use PgVigil;
use Test::More;

my ($one, $other) = (new_repository('one', 'file'), new_repository('other', 'file'));
my $node = new_node('two', repository => [ $one, $other ]);
fill_tables($node);
my $backup = backup_now($node);
my @segments;
for (1 .. 3)
{
    $node->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
    push @segments, switch_wal($node);
    wait_for_archived($node, $segments[-1]);
}
my $expected = table_checksums($node);
$node->stop;

# The backup is in the second alone; each has a segment that the other lacks.
$one->delete_object($one->only(qr{/commits/\Q$backup\E\.json$}));
$one->delete_object($one->only(qr{/\Q$segments[0]\E$}));
$other->delete_object($other->only(qr{/\Q$segments[2]\E$}));
my $both = $one->url . ',' . $other->url;

my ($status, $out) = pgvigil('plan', '--repository', $one->url, '--json');
isnt($status, 0, 'the first alone has no backup');
($status, $out) = pgvigil('plan', '--repository', $other->url, '--json');
is($status, 0, 'the second alone has a plan');
my $alone = decode_json($out);
($status, $out) = pgvigil('plan', '--repository', $both, '--json');
is($status, 0, 'so have both');
my $plan = decode_json($out);
is($plan->{backup}, $backup, 'with the backup');
cmp_ok($plan->{wal_segments}, '>', $alone->{wal_segments}, 'and more WAL than one of them has');

my $directory = scratch_directory() . '/both';
($status) = pgvigil('restore', '--repository', $both, '-D', $directory);
is($status, 0, 'the restore takes from both');
my $copy = PostgreSQL::Test::Cluster->new('two_copy');
rename($directory, $copy->data_dir) or die;
PgVigil::_own_address($copy);
start_copy($copy);
is_same_data($copy, $expected, 'everything is there');
$copy->stop;

done_testing();
