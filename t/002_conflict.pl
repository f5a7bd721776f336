# Nothing is overwritten: the same content again succeeds without a write, other content under the same name fails with
# an error that names both, and a file that is not this cluster's WAL is refused before anything is written.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('conflict', 'file');
my $node = new_node('conflict', repository => $repository, initdb => ['--wal-segsize=1']);
my $first = wait_for_archived($node);
my $status_directory = $node->data_dir . '/pg_wal/archive_status';

# Marks a file of pg_wal as not archived, and wakes the archiver.
sub mark_ready
{
    my ($name) = @_;
    unlink "$status_directory/$name.done";
    append_to_file("$status_directory/$name.ready", '');
    switch_wal($node);
    return;
}

# The same segment once more: the object stays as it is.
my $object = $repository->directory . '/' . $repository->only(qr/\Q$first\E$/);
my $inode = join ' ', (stat $object)[1, 9];
mark_ready($first);
wait_for(sub { -e "$status_directory/$first.done" || !-e "$status_directory/$first.ready" }, 'the second acknowledgement');
is(join(' ', (stat $object)[1, 9]), $inode, 'identical content is acknowledged again and not written again');
is($node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver'), 0, 'without a failure');

# Another segment's object stands under the name that comes next.
my $next = current_segment($node);
my $next_key = $repository->only(qr/\Q$first\E$/) =~ s/\Q$first\E$/$next/r;
my $foreign = $repository->read_object($repository->only(qr/\Q$first\E$/));
$repository->write_object($next_key, $foreign);
my $position = log_position($node);
is(switch_wal($node), $next, 'the segment with the occupied name is complete');
my $log = wait_for_log($node, qr/\Q$next\E.*/, $position);
$log = wait_for_log($node, qr/(?:WARNING|ERROR|LOG):.*\Q$next\E/, $position);
like($log, qr/(?:differ|other content|conflict|exists)/, 'the error says that the content differs');
like($log, qr/(?:DETAIL|detail):.*(?:[0-9a-f]{16}).*(?:[0-9a-f]{16})/s, 'and names both sides by their digest');
ok(!archived_through($node, $next), 'the segment is not acknowledged');
ok($repository->read_object($next_key) eq $foreign, 'what was there is untouched');
$repository->delete_object($next_key);
wait_for_archived($node, $next);
pass('archiving goes on once the foreign object is gone');

# A file with a segment's name that is no WAL of this cluster.
my $other = new_node('other', initdb => ['--wal-segsize=1'], settings => { 'archive_library' => '', 'archive_command' => 'true' });
my $other_segment = switch_wal($other);
my $other_bytes = slurp_file($other->data_dir . "/pg_wal/$other_segment");
$other->stop('immediate');
my $bad_name = '000000010000000000000000';
append_to_file($node->data_dir . "/pg_wal/$bad_name", $other_bytes);
$position = log_position($node);
mark_ready($bad_name);
$log = wait_for_log($node, qr/\Q$bad_name\E/, $position);
like($log, qr/(?:system identifier|another cluster|page address|does not belong)/i, 'a foreign segment is refused with the reason');
is(scalar($repository->matching(qr/\Q$bad_name\E/)), 0, 'and nothing is written');
unlink $node->data_dir . "/pg_wal/$bad_name", "$status_directory/$bad_name.ready";
wait_for_archived($node);
pass('archiving goes on once the foreign file is gone');

# The operator's way out of a segment that is refused for ever: let it go by name; the gap is shown.
$next = current_segment($node);
$repository->write_object($next_key =~ s/[0-9A-F]{24}$/$next/r, $foreign);
$position = log_position($node);
switch_wal($node);
my @behind = map { switch_wal($node) } 1 .. 2;
wait_for_log($node, qr/(?:WARNING|ERROR|LOG):.*\Q$next\E/, $position);
set_and_reload($node, 'pgvigil.skip_wal_file' => $next);
wait_for_archived($node, $behind[-1]);
ok($repository->has_segment($behind[-1]), 'with skip_wal_file archiving goes on behind the refused segment');

done_testing();
