# WAL that archive_queue_max lets go under commits that wait for it in synchronous mode: both the archiver and the streamer say
# so aloud, with the range, the commits return once what follows is stored, and streaming goes on behind the gap.
use strict;
use warnings;
use IPC::Run;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my $repository = new_repository('let_go', 'file');
my $node = new_node('let_go', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => {
        'pgvigil.synchronous' => 'on', synchronous_standby_names => 'pgvigil', 'pgvigil.retry_timeout' => '1s', autovacuum => 'off' });
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
backup_now($node);
wait_for_archived($node);
my $before = wait_for_durable($node);

# The store is away, and a commit waits for it.
my $directory = $repository->directory;
rename($directory, "$directory.away") or die;
my @psql = ($node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-c', q(INSERT INTO words VALUES ('waits')));
my $commit = IPC::Run::start(\@psql, '<', '/dev/null', '>&', \my $output);
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query ~ 'waits''')) > 0 }, 'the commit to wait');
my $durable = $node->safe_psql('postgres', 'SELECT durable_lsn FROM pgv_status');
my @left = map { switch_wal($node) } 1 .. 6;
my $position = log_position($node);
set_and_reload($node, 'pgvigil.archive_queue_max' => '2MB');
wait_for_log($node, qr/WARNING:.*lets WAL file "$left[0]" go without archiving it/, $position);
pass('the archiver says what it lets go');
wait_for(sub { my @ready = glob($node->data_dir . '/pg_wal/archive_status/0*.ready'); @ready <= 3 }, 'the queue to be below the limit');
$commit->pump_nb;
ok($commit->pumpable, 'the commit still waits');

# It is back: what follows is stored, and what was waited for will never be.
rename("$directory.away", $directory) or die;
my $log = wait_for_log($node, qr/WAL from \S+ to \S+ was let go/, $position);
my ($level, $from, $to) = $log =~ m{(\w+):  WAL from (\S+) to (\S+) was let go: commits in it are not in the repositories};
is($level, 'WARNING', 'the streamer warns of it');
is($from, $durable, 'from where the store had everything');
is($node->safe_psql('postgres', "SELECT '$to'::pg_lsn > '$from'::pg_lsn AND '$to'::pg_lsn <= pg_current_wal_flush_lsn()"), 't', 'to where it begins anew');
like($log, qr/HINT:.*full backup/, 'and tells what to do');
wait_for(sub { $commit->pump_nb if $commit->pumpable; return !$commit->pumpable }, 'the commit to return');
ok($commit->finish, 'the commit that waited returns') or diag($output);

# On with it.
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('behind')));
cmp_ok($node->safe_psql('postgres', 'SELECT durable_lsn FROM pgv_status'), 'ne', $durable, 'what is written behind the gap is durable');
is($node->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status'), 'synchronous', 'and commits wait for it');
backup_now($node);
my $expected = table_checksums($node);
wait_for_durable($node);
is(scalar(() = log_since($node, $position) =~ /was let go: commits/g), 1, 'it is said once');
lose_server($node);
my $copy = restored_node('let_go_copy', $repository, '--no-sync');
start_copy($copy);
is_same_data($copy, $expected, 'from the new full backup');
$copy->stop('immediate');

done_testing();
