# kill -9 of the backup worker at each stage: the server recovers and is not left in backup mode, readers see no backup,
# and the next one works.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use Test::More;

my $s3 = PgVigil::Repository->s3_available;
my $repository = new_repository('crash', $s3 ? 's3' : 'file');
my $proxy;
my $url = $repository->url;
if ($s3)
{
    $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
    $url = $repository->url_at($proxy->endpoint);
}
my $node = new_node('crash',
    settings => { 'pgvigil.repository' => $url, checkpoint_timeout => '1h', checkpoint_completion_target => '0.9' });
fill_tables($node, 60000);
wait_for_archived($node);

my $data_before = table_checksums($node);
my $next_row = 100000;

# crash_at(PHASE, SQL, BEFORE): starts a backup with SQL, waits for the phase and kills the worker.
sub crash_at
{
    my ($phase, $call) = @_;
    my $start = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
    my $position = log_position($node);
    # In a session of its own: without waiting the call still returns only when the backup has its id.
    my $session = $node->background_psql('postgres', on_error_stop => 0);
    $session->query_until(qr/started/, "\\echo started\nSELECT $call;\n");
    wait_for(sub { $node->safe_psql('postgres', 'SELECT phase FROM pgv_progress') =~ $phase }, "phase $phase");
    my $pid = process_of($node, qr/pgvigil backup/);
    kill 'KILL', $pid;
    wait_for_log($node, qr/all server processes terminated; reinitializing/, $position);
    wait_for(sub { answer_of($node, 'SELECT 1') }, 'the server to recover');
    eval { $session->quit };
    return;
}

sub clean_after
{
    my ($what) = @_;
    is(scalar($repository->matching(qr{/commits/})), 0, "$what: no backup is committed");
    is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 0, "$what: the view shows none");
    my ($status, $out) = pgvigil('list', '--repository', $repository->url);
    unlike($out, qr/\d{8}T\d{6}F/, "$what: the program lists none");
    ok(!-e $node->data_dir . '/backup_label', "$what: no backup_label");
    is_same_data($node, $data_before, $what);
    return;
}

# While the spread checkpoint runs: dirty buffers make it take its time.
$node->safe_psql('postgres', 'UPDATE items SET word = word');
$data_before = table_checksums($node);
crash_at(qr/checkpoint/, q(pgv_backup_now('full', wait => false, fast => false)));
clean_after('checkpoint');

# While it copies, throttled.
set_and_reload($node, 'pgvigil.max_rate' => '512kB');
crash_at(qr/copying/, q(pgv_backup_now('full', wait => false)));
set_and_reload($node, 'pgvigil.max_rate' => '0');
clean_after('copy');

if ($s3)
{
    # While it waits for its WAL, which does not get through.
    $proxy->set({ action => 'status', method => 'PUT', path => '/wal/' });
    crash_at(qr/waiting for WAL/, q(pgv_backup_now('full', wait => false)));
    $proxy->set();
    clean_after('wait for WAL');

    # While the commit document is on its way.
    $proxy->set({ action => 'hang', method => 'PUT', path => '/commits/' });
    crash_at(qr/committing/, q(pgv_backup_now('full', wait => false)));
    $proxy->set();
    clean_after('commit');
}

# The next backup is none the worse for it.
wait_for_archived($node);
my $id = backup_now($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 1, 'the next backup works');
wait_for_archived($node);
my $expected = table_checksums($node);
my $copy = restored_node('crash_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'restored');

done_testing();
