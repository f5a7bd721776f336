# Synchronous mode: a commit returns when the store has it and not before; a timeout makes it asynchronous, visibly, and it
# comes back by itself; pg_hba.conf's missing line is named exactly; pgvigil's own work never waits for the commits that wait.
use strict;
use warnings;
use IPC::Run;
use PgVigil;
use PgVigil::FaultProxy;
use PgVigil::Stream;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

needs_s3();
my $repository = new_repository('sync', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
my $node = new_node('sync',
    settings => {
        'pgvigil.repository' => $repository->url_at($proxy->endpoint), 'pgvigil.synchronous' => 'on', synchronous_standby_names => 'pgvigil',
        # Alone it would make no commit durable while the test looks.
        'pgvigil.stream_interval' => '60s', 'pgvigil.retry_timeout' => '2s', autovacuum => 'off' });
pass('a new cluster: CREATE EXTENSION has returned');
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
is($node->safe_psql('postgres', q(SELECT application_name || ' ' || sync_state FROM pg_stat_replication)), 'pgvigil sync', 'pg_stat_replication shows who is waited for');

# Durable at the moment of the answer, and soon.
my ($durable, $begin) = (0, time());
for my $number (1 .. 10)
{
    $durable += $node->safe_psql('postgres', <<"S") eq 't';
BEGIN;
INSERT INTO words VALUES ('word $number');
SELECT pg_current_wal_insert_lsn() AS before_commit \\gset
COMMIT;
SELECT durable_lsn > :'before_commit' FROM pgv_status;
S
}
is($durable, 10, 'each commit is durable when it returns');
cmp_ok(time() - $begin, '<', 20, 'and does not wait for stream_interval');

my $commits = 0;

# A commit in another session; an IPC::Run handle.
sub start_commit
{
    my $word = 'commit ' . ++$commits;
    my @psql = ($node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-c', "INSERT INTO words VALUES ('$word')");
    my ($out, $err) = ('', '');
    return { word => $word, handle => IPC::Run::start(\@psql, '<', '/dev/null', '>', \$out, '2>', \$err), err => \$err };
}

sub waits
{
    my ($commit) = @_;
    return $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query ~ '$commit->{word}'''") > 0;
}

sub has_returned
{
    my ($commit) = @_;
    $commit->{handle}->pump_nb if $commit->{handle}->pumpable;
    return !$commit->{handle}->pumpable;
}

sub returns
{
    my ($commit, $what, $timeout) = @_;
    wait_for(sub { has_returned($commit) }, "$what: the commit to return", $timeout);
    ok($commit->{handle}->finish, "$what: the commit returns") or diag(${ $commit->{err} });
    return;
}

# The store is away.
$proxy->set({ action => 'refuse' });
my $commit = start_commit();
wait_for(sub { waits($commit) }, 'the commit to wait');
wait_for(sub { $node->safe_psql('postgres', 'SELECT NOT ok FROM pgv_status') eq 't' }, 'pgv_status to say so');
ok(waits($commit), 'a commit waits while the store is away');
my @others = map { start_commit() } 1 .. 5;
wait_for(sub { 5 == grep { waits($_) } @others }, 'more commits to wait');
$proxy->set();
returns($commit, 'the store is back', 60);
returns($_, 'one of many', 60) for @others;

# Many sessions share one object: far fewer of them than commits.
my $puts = () = $proxy->requests(qr{^PUT .*/tail/.* 200 });
my $load = IPC::Run::run([ 'pgbench', '-n', '-i', '-q', '-h', $node->host, '-p', $node->port, 'postgres' ], '>&', \my $output);
ok($load, 'pgbench -i in synchronous mode') or diag($output);
$puts = () = $proxy->requests(qr{^PUT .*/tail/.* 200 });
IPC::Run::run([ 'pgbench', '-n', '-N', '-c', 16, '-t', 30, '-h', $node->host, '-p', $node->port, 'postgres' ], '>&', \$output) or die $output;
my $shared = () = $proxy->requests(qr{^PUT .*/tail/.* 200 });
$shared -= $puts;
cmp_ok($shared, '<', 480 / 2, "480 commits of 16 sessions: $shared objects");

# pgvigil's own work while commits wait: only the tail cannot be written.
sub goes_on
{
    my ($what, $sql, $expected) = @_;
    $proxy->set({ action => 'refuse', method => 'PUT', path => '/tail/' });
    my $waiting = start_commit();
    wait_for(sub { waits($waiting) }, "$what: the commit to wait");
    my $answer = $node->safe_psql('postgres', $sql, timeout => 60);
    like($answer, $expected, "$what goes on while a commit waits");
    $proxy->set();
    returns($waiting, "after $what", 60);
    return;
}
goes_on('a backup', q(SELECT pgv_backup_now('full')), qr/^\d{8}T\d{6}F$/);
goes_on('an expiry', 'SELECT count(*) >= 0 FROM pgv_expire(dry_run => false)', qr/^t$/);
goes_on('pgv_check()', 'SELECT count(*) > 3 FROM pgv_check()', qr/^t$/);
goes_on('pgv_refresh()', 'SELECT pgv_refresh() IS NOT NULL', qr/^t$/);
goes_on('pgv_take_over()', q(SELECT pgv_take_over('a test') > 0), qr/^t$/);

# A timeout: asynchronous during an outage, and back by itself.
set_and_reload($node, 'pgvigil.synchronous_timeout' => '1s');
$commit = start_commit();
returns($commit, 'with a timeout and a store', 60);
my $position = log_position($node);
$proxy->set({ action => 'refuse' });
$commit = start_commit();
returns($commit, 'with a timeout and no store', 60);
like(wait_for_log($node, qr/pgvigil.*asynchronous/i, $position), qr/(?:WARNING|LOG): .*asynchronous/, 'a line of the log says that commits do not wait any more');
like($node->safe_psql('postgres', 'SELECT to_jsonb(s) FROM pgv_status s'), qr/asynchronous|degraded|downgraded/, 'pgv_status says so');
$begin = time();
returns(start_commit(), 'meanwhile', 60) for 1 .. 3;
cmp_ok(time() - $begin, '<', 10, 'meanwhile commits wait for nothing');
$position = log_position($node);
$proxy->set();
wait_for_log($node, qr/pgvigil is synchronous again/, $position);
pass('a line of the log says that commits wait again');
set_and_reload($node, 'pgvigil.synchronous_timeout' => '0');
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pgvigil' AND sync_state = 'sync')) == 1 }, 'the link');
$proxy->set({ action => 'refuse', method => 'PUT', path => '/tail/' });
$commit = start_commit();
wait_for(sub { waits($commit) }, 'a commit to wait again');
$proxy->set();
returns($commit, 'synchronous again', 60);

# pg_hba.conf does not let the replication connection in: pgv_check() names the line, and with it all is well.
my $hba = $node->data_dir . '/pg_hba.conf';
my $kept = join '', grep { !/^\s*\w+\s+replication\b/ } map { "$_\n" } split /\n/, slurp_file($hba);
unlink $hba;
append_to_file($hba, $kept);
$position = log_position($node);
$node->reload;
wait_for_log($node, qr/received SIGHUP/, $position);
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid) FROM pg_stat_replication');
my $detail = wait_for(
    sub { $node->safe_psql('postgres', q(SELECT detail FROM pgv_check() WHERE NOT ok AND detail ~ 'pg_hba')) }, 'pgv_check() to speak of pg_hba.conf', 60);
note($detail);
my ($line) = $detail =~ /((?:local|host)[ \t]+replication[ \t]+[^\n;"]*?(?:trust|peer|scram-sha-256|md5|cert|ident))/;
ok($line, 'the line to add stands in it') or $line = "local replication all trust";
$commit = start_commit();
wait_for(sub { waits($commit) }, 'a commit to wait without the link');
append_to_file($hba, "$line\n");
$node->reload;
returns($commit, 'with that line', 60);
is($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_check() WHERE NOT ok AND detail ~ 'pg_hba')), 0, 'pgv_check() is content');

# All that was ever acknowledged is there.
my $words = $node->safe_psql('postgres', 'SELECT count(*) FROM words');
lose_server($node);
my $copy = restored_node('sync_copy', $repository, '--no-sync');
start_copy($copy);
is($copy->safe_psql('postgres', 'SELECT count(*) FROM words'), $words, 'the store has every commit');
$copy->stop('immediate');

done_testing();
