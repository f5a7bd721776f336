# kill -9 of the backup worker at each stage of an incremental backup: the chain is as it was, and the next backup
# continues what the dead one has stored and says how much that saved. The same of a full backup.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use Test::More;

my $s3 = PgVigil::Repository->s3_available;
my $repository = new_repository('crashes', $s3 ? 's3' : 'file');
my $proxy = $s3 ? PgVigil::FaultProxy->new($repository->{endpoint}) : undef;
my $url = $s3 ? $repository->url_at($proxy->endpoint) : $repository->url;
my $node = new_node('crashes', settings => {
    'pgvigil.repository' => $url, autovacuum => 'off', 'pgvigil.compression' => 'none', 'pgvigil.backup_threads' => '1',
    checkpoint_timeout => '1h', checkpoint_completion_target => '0.9', max_wal_size => '1GB' });
fill_tables($node, 2000);
# Some packs' worth.
$node->safe_psql('postgres', q(CREATE TABLE bulk (id int, body text); ALTER TABLE bulk ALTER body SET STORAGE PLAIN;
INSERT INTO bulk SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 40000) g));
wait_for_archived($node);

# crash_at(KIND, OPTIONS, CONDITION): starts a backup, waits for the condition and kills the worker; returns the id.
sub crash_at
{
    my ($kind, $options, $condition) = @_;
    my $position = log_position($node);
    my $id = $node->safe_psql('postgres', "SELECT pgv_backup_now('$kind', wait => false$options)");
    wait_for($condition, 'the stage to be reached');
    kill 'KILL', process_of($node, qr/pgvigil backup/);
    wait_for_log($node, qr/all server processes terminated; reinitializing/, $position);
    # The postmaster starts the archiver again after ten seconds at the earliest, when something wakes it: a connection.
    wait_for(sub { answer_of($node, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'archiver')) }, 'the server to recover');
    ok(!-e $node->data_dir . '/backup_label', "$id: no backup_label is left");
    return $id;
}

sub in_phase { my ($phase) = @_; return sub { $node->safe_psql('postgres', 'SELECT phase FROM pgv_progress') =~ $phase }; }
sub has_pack { my ($id) = @_; return scalar $repository->matching(qr{/data/\Q$id\E/}); }
sub committed { return join ' ', map { m{commits/(.*)\.json} } $repository->matching(qr{/commits/}); }

# A full backup that dies with a pack stored.
set_and_reload($node, 'pgvigil.max_rate' => '40MB');
my $dead = crash_at('full', '', sub { scalar $repository->matching(qr{/data/}) });
set_and_reload($node, 'pgvigil.max_rate' => '0');
is(committed(), '', 'no backup is committed');
my $position = log_position($node);
my $full = backup_now($node, 'full');
my $log = log_since($node, $position);
like($log, qr/backup \Q$full\E continues \Q$dead\E/, 'the next full backup continues it');
like($log, qr/backup \Q$full\E took over [1-9]\d{7,} of \d+ bytes/, 'and says how much that saved');

# Incremental ones.
my @chain = ($full);
my $change = 0;
sub change
{
    $change++;
    $node->safe_psql('postgres', "UPDATE bulk SET body = repeat(md5((id + $change)::text), 60) WHERE id % 2 = 0; UPDATE items SET word = 'change $change' WHERE id % 5 = 0");
    return;
}

change();
crash_at('incremental', ', fast => false', in_phase(qr/checkpoint/));
is(committed(), $full, 'crashed in its checkpoint: the chain is as it was');

$node->safe_psql('postgres', 'CHECKPOINT');
set_and_reload($node, 'pgvigil.max_rate' => '20MB');
my $known = $repository->matching(qr{/data/});
$dead = crash_at('incremental', '', sub { $repository->matching(qr{/data/}) > $known });
set_and_reload($node, 'pgvigil.max_rate' => '0');
is(committed(), $full, 'crashed while it copied: the chain is as it was');
$position = log_position($node);
push @chain, backup_now($node, 'incremental');
$log = log_since($node, $position);
like($log, qr/backup \Q$chain[-1]\E continues .*\Q$dead\E/, 'the next incremental backup continues it');
like($log, qr/backup \Q$chain[-1]\E took over [1-9]\d{7,} of \d+ bytes/, 'and says how much that saved');

if ($s3)
{
    for my $stage ([ 'waiting for WAL', 'status', '/wal/' ], [ 'committing', 'hang', '/commits/' ])
    {
        my ($phase, $action, $path) = @$stage;
        change();
        wait_for_archived($node);
        my $before = committed();
        $proxy->set({ action => $action, method => 'PUT', path => $path });
        crash_at('incremental', '', in_phase(qr/$phase/));
        $proxy->set();
        is(committed(), $before, "crashed while $phase: the chain is as it was");
        wait_for_archived($node);
        push @chain, backup_now($node, 'incremental');
    }
}

is($node->safe_psql('postgres', "SELECT parents FROM pgv_backups WHERE backup_id = '$chain[-1]'"),
    '{' . join(',', reverse @chain[ 0 .. $#chain - 1 ]) . '}', 'one chain of those that are complete');
wait_for_archived($node);
my $expected = table_checksums($node);
for my $id ($full, $chain[-1])
{
    my $copy = restored_node("copy_$id", $repository, '--backup', $id, '--no-sync');
    start_copy($copy);
    is_same_data($copy, $expected, "backup $id");
    $copy->stop;
    $copy->clean_node;
}

done_testing();
