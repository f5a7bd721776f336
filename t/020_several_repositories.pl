# Several repositories: each gets everything; with required_repositories one may be away and is filled in later.
use strict;
use warnings;
use PgVigil;
use Test::More;

my ($one, $two) = (new_repository('one', 'file'), new_repository('two', 'file'));
my $node = new_node('several', repository => [ $one, $two ], initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.retry_timeout' => '1s' });
fill_tables($node);
my $segment = wait_for_archived($node);
ok($_->has_segment($segment), 'both have the segment') for $one, $two;
my $id = backup_now($node);
is(scalar($_->matching(qr{/commits/\Q$id\E})), 1, 'both have the backup') for $one, $two;
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_repositories'), 2, 'the view shows both');

# All are required: one that is away holds back the acknowledgement.
my $directory = $two->directory;
rename($directory, "$directory.away") or die;
$segment = switch_wal($node);
wait_for(sub { $node->safe_psql('postgres', 'SELECT failed_count > 0 FROM pg_stat_archiver') eq 't' }, 'the failure');
ok(!archived_through($node, $segment), 'required by default: not acknowledged');

# One is enough: archiving goes on, what the other lacks is recorded and shown.
set_and_reload($node, 'pgvigil.required_repositories' => '1');
my @segments = map { switch_wal($node) } 1 .. 3;
wait_for_archived($node, $segments[-1]);
pass('required_repositories = 1: acknowledged');
wait_for(sub { $node->safe_psql('postgres', 'SELECT owed_files > 0 FROM pgv_archiver') eq 't' }, 'pgv_archiver to show what is owed');
my $backup = backup_now($node);
is(scalar($one->matching(qr{/commits/\Q$backup\E})), 1, 'a backup in the one that is there');

# It is back: filled in.
rename("$directory.away", $directory) or die;
wait_for(sub { my $missing = grep { !$two->has_segment($_) } $segment, @segments; $missing == 0 }, 'the segments to be filled in');
pass('the repository that was away is filled in');

set_and_reload($node, 'pgvigil.required_repositories' => 'all');
wait_for_archived($node);
my $expected = table_checksums($node);
for my $repository ($one, $two)
{
    my $copy = restored_node('from_' . ($repository == $one ? 'one' : 'two'), $repository);
    start_copy($copy);
    is_same_data($copy, $expected, 'either restores everything');
    $copy->stop;
}

# A list with more required than there are says so.
set_and_reload($node, 'pgvigil.required_repositories' => '3');
$segment = switch_wal($node);
wait_for_log($node, qr/required_repositories/);
pass('more required than listed is said');

done_testing();
