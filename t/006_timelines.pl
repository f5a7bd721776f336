# Recovery along timelines: a promoted copy that takes over continues the repository on a new timeline; the old one can
# still be restored by name, and replay never runs past the planned path.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('timelines', 'file');
my $node = new_node('timelines', repository => $repository);
$node->safe_psql('postgres', 'CREATE TABLE history (entry text)');
backup_now($node);
$node->safe_psql('postgres', q(INSERT INTO history VALUES ('common')));
my $fork_time = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
# The next rows of timeline 1 lie in a segment wholly behind the fork.
wait_for_archived($node);
$node->safe_psql('postgres', q(INSERT INTO history VALUES ('timeline 1')));
wait_for_archived($node);
wait_for_archived($node);
$node->stop;

# The segment behind the fork, on the timeline that the copy leaves.
my $left_behind = (sort map { m{/(00000001[0-9A-F]{16})$} } $repository->matching(qr{/wal/00000001/}))[-1];

my $copy = restored_node('second', $repository, '--target-time', $fork_time, '--take-over', 'the original is gone');
start_copy($copy);
is($copy->safe_psql('postgres', q(SELECT string_agg(entry, ',' ORDER BY entry) FROM history)), 'common', 'restored to before the fork');
$copy->safe_psql('postgres', q(INSERT INTO history VALUES ('timeline 2')));
my $segment = wait_for_archived($copy);
like($segment, qr/^00000002/, 'the copy archives on timeline 2 after --take-over');
is(scalar($repository->matching(qr/00000002\.history$/)), 1, 'with its history file');
cmp_ok($copy->safe_psql('postgres', q(SELECT count(*) FROM pgv_wal_ranges WHERE timeline = 2 AND state = 'stored')), '==', 1, 'the new timeline is in pgv_wal_ranges');
backup_now($copy);
$copy->safe_psql('postgres', q(INSERT INTO history VALUES ('after the second backup')));
wait_for_archived($copy);
$copy->stop;

# The restore_command of a restore to timeline 2 hands out nothing of timeline 1 behind the switch.
my $planned = restored_node('planned', $repository, '--target-timeline', '2');
my ($command) = slurp_file($planned->data_dir . '/postgresql.auto.conf') =~ /^restore_command = '(.*)'$/m;
$command =~ s/''/'/g;
my $target = $planned->data_dir . '/fetched';
my %commands = map { my ($name, $text) = ($_, $command); $text =~ s/%f/$name/; $text =~ s/%p/$target/; ($name => $text) } $left_behind, $segment;
my $status = system('cd "' . $planned->data_dir . "\" && $commands{$segment}");
is($status, 0, 'the planned restore_command fetches from its own path');
unlink $target;
$status = system('cd "' . $planned->data_dir . "\" && $commands{$left_behind}");
isnt($status, 0, 'and nothing that lies past the planned path');
ok(!-e $target, 'not even the file');

sub entries
{
    my ($name, @arguments) = @_;
    my $restored = restored_node($name, $repository, @arguments);
    start_copy($restored);
    my $entries = $restored->safe_psql('postgres', q(SELECT string_agg(entry, ',' ORDER BY entry) FROM history));
    $restored->stop('immediate');
    return $entries;
}
is(entries('latest'), 'after the second backup,common,timeline 2', 'latest follows the newest timeline');
is(entries('old', '--target-timeline', '1'), 'common,timeline 1', 'timeline 1 can still be restored');
my $first_backup = (sort map { m{commits/(.*)\.json} } $repository->matching(qr{/commits/}))[0];
is(entries('across', '--backup', $first_backup), 'after the second backup,common,timeline 2',
    'from the first backup across the switch');

done_testing();
