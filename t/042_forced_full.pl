# When an incremental backup is not possible a full one is made instead, and the log says why; where WAL summaries are
# missing the changes are found by block hashes.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('forced', 'file');
my $node = new_node('forced', repository => $repository, settings => { autovacuum => 'off', 'pgvigil.block_hashes' => 'off' });
fill_tables($node, 20000);
my $step = 0;

# take(KIND OF BACKUP EXPECTED, WHAT THE LOG SAYS, WHAT)
sub take
{
    my ($kind, $reason, $what) = @_;
    $step++;
    $node->safe_psql('postgres', "UPDATE items SET word = 'step $step' WHERE id % 100 = $step");
    my $position = log_position($node);
    my $id = backup_now($node, 'incremental');
    like($id, $kind eq 'full' ? qr/F$/ : qr/I$/, "$what: $kind");
    like(log_since($node, $position), $reason, "$what: the log says why");
    return $id;
}

take('full', qr/There is no backup to build on/, 'no backup yet');

# Without block hashes there is nothing to compare with.
if (pg_major() >= 17)
{
    take('incremental', qr/WAL summaries tell/, 'with WAL summaries');
    set_and_reload($node, summarize_wal => 'off');
    take('full', qr/"summarize_wal" is off\. "pgvigil\.block_hashes" is off/, 'neither summaries nor hashes');
}
else
{
    take('full', qr/has no WAL summaries\. "pgvigil\.block_hashes" is off/, 'neither summaries nor hashes');
}
set_and_reload($node, 'pgvigil.block_hashes' => 'on');
take('full', qr/has no hashes/, 'hashes from now on');
take('incremental', qr/All blocks are compared with the hashes/, 'hashes');

if (pg_major() >= 17)
{
    # Summaries are made again, but those of the time in between are missing.
    set_and_reload($node, summarize_wal => 'on');
    my $summaries = $node->data_dir . '/pg_wal/summaries';
    wait_for(sub { $node->safe_psql('postgres', 'CHECKPOINT; SELECT count(*) FROM pg_available_wal_summaries()') > 0 }, 'WAL summaries');
    take('incremental', qr/compared with the hashes|WAL summaries tell/, 'summaries again');
    $node->safe_psql('postgres', 'CHECKPOINT');
    take('incremental', qr/WAL summaries tell/, 'and then they cover everything');
    my $summarize = sub {
        $node->safe_psql('postgres', 'UPDATE items SET word = $$lost$$ WHERE id % 3 = 0; CHECKPOINT');
        wait_for(sub { $node->safe_psql('postgres', q(SELECT summarized_lsn >= redo_lsn FROM pg_get_wal_summarizer_state(), pg_control_checkpoint())) eq 't' }, 'the summarizer');
        return glob("$summaries/*.summary");
    };

    # Found to be of no use once the backup has begun.
    append_to_file($_, 'damage') for $summarize->();
    take('incremental', qr/WAL summaries are of no use: .*All blocks are compared/, 'damaged summaries');
    set_and_reload($node, 'pgvigil.block_hashes' => 'off');
    append_to_file($_, 'damage') for $summarize->();
    take('full', qr/WAL summaries are of no use: .*"pgvigil\.block_hashes" is off/, 'damaged summaries and no hashes');
    set_and_reload($node, 'pgvigil.block_hashes' => 'on');
    backup_now($node, 'full');

    unlink $summarize->();
    take('incremental', qr/WAL summaries of timeline 1 are missing from \S+ on\. All blocks are compared/, 'summaries removed');
}

# The longest chain that is allowed.
set_and_reload($node, 'pgvigil.chain_max' => '1');
take('full', qr/incremental backups, and the limit is 1/, 'the chain is long enough');
set_and_reload($node, 'pgvigil.chain_max' => '50');
take('incremental', qr/tell what changed|compared/, 'a new chain');

# Offline every page gets a checksum, or loses it, and no WAL tells of it.
$node->stop;
system_or_bail('pg_checksums', '--disable', '-D', $node->data_dir);
$node->start;
take('full', qr/Page checksums were turned off since backup/, 'page checksums turned off');
$node->stop;
system_or_bail('pg_checksums', '--enable', '-D', $node->data_dir);
$node->start;
# The newest backup with checksums is one from before: no page it has was touched but by WAL and by the two switches.
my $id = take('incremental', qr/tell what changed|compared/, 'page checksums turned on again');
wait_for_archived($node);
my $expected = table_checksums($node);
my $copy = restored_node('forced_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, "backup $id");
$copy->stop;
command_ok([ 'pg_checksums', '--check', '-D', $copy->data_dir ], 'every page matches its checksum');

# WAL that was let go: the next backup is full whatever is asked for.
my $segment = current_segment($node);
my $directory = $repository->directory;
rename($directory, "$directory.away") or die;
set_and_reload($node, 'pgvigil.skip_wal_file' => $segment, 'pgvigil.auto_first_backup' => 'off');
my $position = log_position($node);
switch_wal($node);
wait_for_log($node, qr/lets WAL file \S*$segment\S* go|go without archiving/, $position);
rename("$directory.away", $directory) or die;
my $ids = $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups');
eval { backup_now($node, 'incremental') };
wait_for_log($node, qr{starts: full\n.*DETAIL:\s+(?:WAL file "\w+" was let go|A full backup was asked for)}, $position);
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups') > $ids }, 'a backup after the gap');
like($node->safe_psql('postgres', 'SELECT max(backup_id) FROM pgv_backups'), qr/F$/, 'after a gap: full');

done_testing();
