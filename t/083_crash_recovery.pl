# kill -9 of the server at random moments while it streams, crash recovery, and on: what recovery wrote anew supersedes what
# was streamed before, and the store gives what the survivor has. Commits are synchronous, local and asynchronous, records
# are longer than a segment and are cut off in the middle.
use strict;
use warnings;
use IPC::Run;
use PgVigil;
use PgVigil::Stream;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $crashes = $ENV{PGVIGIL_TEST_CRASHES} // 3;
my $seed = $ENV{PGVIGIL_TEST_SEED} // time() % 1_000_000;
note("seed $seed");
srand($seed);

my $repository = new_repository('crash', 'file');
# A record longer than wal_buffers is written, and may be streamed, before it is complete.
my $node = new_node('crash', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.stream_interval' => '20ms', wal_buffers => '128kB', autovacuum => 'off', max_wal_size => '32MB', min_wal_size => '2MB' });
$node->safe_psql('postgres', 'CREATE TABLE mixed (id bigserial, kind text, body text); ALTER TABLE mixed ALTER body SET STORAGE EXTERNAL');
backup_now($node);

my $scripts = scratch_directory();
my %writes = (
    on    => 'INSERT INTO mixed (kind, body) VALUES (:kind, md5(random()::text));',
    local => 'INSERT INTO mixed (kind, body) SELECT :kind, string_agg(md5(random()::text), :kind) FROM generate_series(1, 2000);',
    off   => 'UPDATE mixed SET body = md5(random()::text) WHERE id = (SELECT min(id) + random() * (max(id) - min(id)) FROM mixed);');
append_to_file("$scripts/$_.sql", "SET synchronous_commit = $_;\n" . ($writes{$_} =~ s/:kind/'$_'/gr) . "\n") for keys %writes;
# Three megabytes in one record: it begins in one segment and ends in the fourth.
append_to_file("$scripts/long.sql", "SELECT pg_logical_emit_message(true, 'long', repeat(md5(random()::text), 100000));\n\\sleep 60 ms\n");

sub load
{
    my @loads;
    for my $script (qw(on local off long))
    {
        my $output = '';
        my @command = ('pgbench', '-n', '-T', 600, '-c', $script eq 'long' ? 1 : 2, '-f', "$scripts/$script.sql", '-h', $node->host, '-p', $node->port, 'postgres');
        push @loads, PgVigil::Load->new(IPC::Run::start(\@command, '<', \undef, '>&', \$output));
    }
    my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM mixed');
    wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM mixed') > $rows + 20 }, 'the load to write');
    return @loads;
}

sub same_as_survivor
{
    my ($name, $what) = @_;
    my $expected = table_checksums($node);
    wait_for_durable($node);
    my $copy = restored_node($name, $repository, '--no-sync');
    start_copy($copy);
    is_same_data($copy, $expected, $what);
    $copy->stop('immediate');
    $copy->clean_node;
    return;
}

my %runs;
for my $crash (1 .. $crashes)
{
    my @loads = load();
    wait_for(sub { grep { !$runs{"$_->{epoch}-$_->{run}"} } pieces($repository) }, 'the tail of this life of the server');
    sleep(rand(1));
    kill_server($node);
    $_->stop for @loads;
    $runs{"$_->{epoch}-$_->{run}"} = 1 for pieces($repository);
    $node->start;
    same_as_survivor("crash_copy$crash", "after crash $crash") if $crash == 1 || $crash == $crashes;
}
cmp_ok(scalar(run_documents($repository)), '>=', $crashes, 'every life of the server has a run of its own');
my $cut = () = slurp_file($node->logfile) =~ /end of WAL|invalid record length|missing contrecord|there is no contrecord/g;
note("recovery ended in the middle of something $cut times");

# Once more without a crash: everything is shipped by the shutdown.
$_->stop for map { sleep(0.3); $_ } load();
my $expected = table_checksums($node);
$node->stop('fast');
my $copy = restored_node('crash_last', $repository, '--no-sync');
start_copy($copy);
is_same_data($copy, $expected, 'after the shutdown');
my $amcheck = IPC::Run::run([ 'pg_amcheck', '--heapallindexed', '--install-missing', '-h', $copy->host, '-p', $copy->port, 'postgres' ], '>&', \my $problems);
ok($amcheck, 'tables and indexes are sound') or diag($problems);
$copy->stop;

done_testing();
