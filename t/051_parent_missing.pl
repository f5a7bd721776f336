# What an ancestor lacks is named, with nothing left that could start; backups of other chains are unaffected.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('parent');
my $node = new_node('parent', repository => $repository);
fill_tables($node, 20000);
my $full = backup_now($node);
$node->safe_psql('postgres', 'UPDATE items SET word = word || 1 WHERE id % 50 = 0');
my $first = backup_now($node, 'incremental');
$node->safe_psql('postgres', 'UPDATE items SET word = word || 2 WHERE id % 70 = 0');
my $second = backup_now($node, 'incremental');
my $other = backup_now($node);
wait_for_archived($node);
my $expected = table_checksums($node);

for my $pattern (qr{/data/\Q$full\E/000000$}, qr{/files/\Q$first\E/000000$}, qr{/commits/\Q$full\E\.json$})
{
    my $key = $repository->only($pattern);
    my $object = $repository->read_object($key);
    # Every few bytes: not all of a pack is needed.
    my $damage = substr(("\0" x 499 . "\1") x (1 + length($object) / 500), 0, length($object));
    for my $case ([ 'missing', undef ], [ 'damaged', $object ^ $damage ])
    {
        my ($what, $bytes) = @$case;
        $repository->delete_object($key) unless defined $bytes;
        $repository->write_object($key, $bytes) if defined $bytes;
        my $directory = scratch_directory() . '/restored';
        my ($status, undef, $err) = restore($repository, $directory, '--backup', $second);
        is($status, 9, "$what $key: refused as corrupt");
        like($err, qr/\Q$key\E|needs backup "\Q$full\E"/, "$what $key: named");
        ok(!-e "$directory/global/pg_control", "$what $key: nothing that starts");
        ($status) = restore($repository, scratch_directory() . '/other', '--backup', $other, '--no-sync');
        is($status, 0, "$what $key: another chain is restored");
    }
    $repository->delete_object($key);
    $repository->write_object($key, $object);
}

my $copy = restored_node('whole_again', $repository, '--backup', $second);
start_copy($copy);
is_same_data($copy, $expected, 'with everything in its place');

done_testing();
