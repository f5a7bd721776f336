# A fenced server stays fenced when its store does not answer any more: pgv_status says so, nothing is streamed or archived, and
# no commit that waits in synchronous mode is let go, whatever pgvigil.synchronous_timeout says: its rows are not the cluster's.
use strict;
use warnings;
use IPC::Run;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my $repository = new_repository('fence', 'file');
my $node = new_node('first', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.writer_term' => '3s', 'pgvigil.stream_interval' => '50ms', 'pgvigil.retry_timeout' => '1s', autovacuum => 'off' });
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
backup_now($node);
wait_for_durable($node);
$node->stop;
my $other = copied_node('second', $node);
$node->start;
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('first')));
wait_for_durable($node);
$other->start;
$other->safe_psql('postgres', q(SELECT pgv_take_over('a test')));

sub status { my ($columns) = @_; return $node->safe_psql('postgres', "SELECT $columns FROM pgv_status"); }
sub away { my ($away) = @_; return chmod($away ? 0 : 0700, $repository->directory) || die; }

sub is_fenced
{
    my ($what) = @_;
    is(status('role, lease, stream_mode, ok'), 'fenced|lost|off|f', "$what: pgv_status");
    my $segment = switch_wal($node);
    sql_fails($node, q(SELECT pgv_backup_now('full')), qr/./, "$what: a backup");
    ok(!archived_through($node, $segment), "$what: nothing is archived");
    return;
}

# The store is not to be read, which shows at the next look, and a reload asks for one.
sub lose_store
{
    away(1);
    $node->reload;
    wait_for(sub { status('role_message') =~ /could not/ }, 'the store to be missed');
    return;
}

wait_for(sub { status('role, stream_mode') eq 'fenced|off' }, 'the first server to be fenced');
is_fenced('with its store');
lose_store();
is_fenced('without it');
away(0);
wait_for_durable($other);
$node->reload;
wait_for(sub { status('role_message') =~ /another server has taken over/ }, 'the store to be back');
is_fenced('with it again');

# Started anew it knows this from the store alone.
$node->restart;
wait_for(sub { status('role, stream_mode') eq 'fenced|off' }, 'the restarted server to be fenced');
set_and_reload($node, 'pgvigil.synchronous' => 'on', 'pgvigil.synchronous_timeout' => '1s', synchronous_standby_names => 'pgvigil');
lose_store();
is_fenced('after a restart');
my @psql = ($node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-c', q(INSERT INTO words VALUES ('waits')));
my $commit = IPC::Run::start(\@psql, '<', '/dev/null', '>&', \my $output);
my $waited = q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query ~ 'waits''' AND now() - query_start > interval '%s');
my $waits = sub { my ($time) = @_; return $node->safe_psql('postgres', sprintf($waited, $time)) > 0; };
wait_for(sub { $commit->pump_nb if $commit->pumpable; return $waits->('4 seconds') || !$commit->pumpable }, 'the commit to wait for several timeouts');
ok($waits->('4 seconds'), 'a commit of a fenced server is not let go');
away(0);
$node->reload;
wait_for(sub { status('role_message') =~ /another server has taken over/ }, 'the store to be back');
ok($waits->('0'), 'nor when the store is back');
$node->stop('immediate');
$commit->finish;

# The store has the second server's history.
my $expected = table_checksums($other);
wait_for_durable($other);
my $copy = restored_node('fence_copy', $repository, '--no-sync');
start_copy($copy);
is_same_data($copy, $expected, 'the store');
$_->stop('immediate') for $copy, $other;

done_testing();
