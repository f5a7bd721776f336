# kill -9 of an expiry at each of its stages: what is listed then can be restored, and the next expiry completes.
use strict;
use warnings;
use IPC::Run;
use PgVigil;
use Test::More;
use Time::HiRes qw(time);

my $repository = new_repository('expire_crash', 'file');
my $node = new_node('expire_crash', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.retention_window' => '0', 'pgvigil.retention_fulls' => '1' });
my ($cluster) = map { m{^(\d+)/} } $repository->matching(qr{/epochs/});
my $root = $repository->directory . "/$cluster";
my @arguments = ('--repository', $repository->url, '--retention-window', '0', '--retention-fulls', '1');
fill_tables($node);
my $expected = table_checksums($node);

# The name of a doomed segment, the first that nothing needs.
sub first_doomed_wal
{
    my ($status, $out) = pgvigil('expire', @arguments, '--json');
    my ($segment) = $out =~ /"object": "([0-9A-F]{24})[^"]*",\s*"objects": \d+,\s*"reason": "no recovery window/ or return;
    return "wal/" . substr($segment, 0, 8) . '/' . substr($segment, 8, 8) . "/$segment";
}

# Runs an expiry and kills it as soon as CONDITION holds; returns whether it was still running.
sub kill_when
{
    my ($condition) = @_;
    my $pid = fork() // die "fork: $!";
    if (!$pid)
    {
        open(STDOUT, '>', '/dev/null');
        exec('pgvigil', 'expire', @arguments, '--yes', '--confirm') or die "exec: $!";
    }
    my $deadline = time() + 60;
    while (!$condition->())
    {
        last if time() > $deadline || waitpid($pid, 1) == $pid;
    }
    kill 'KILL', $pid;
    return waitpid($pid, 0) == $pid && ($? & 127) == 9;
}

my %stages = (
    tombstones => sub { my ($youngest) = @_; return sub { -e "$root/tombstones/$youngest" } },
    documents => sub { my ($youngest) = @_; return sub { !-e "$root/commits/$youngest.json" } },
    packs => sub { my (undef, $oldest) = @_; return sub { !-e "$root/data/$oldest/000000" } },
    WAL => sub { my (undef, undef, $segment) = @_; return sub { !-e "$root/$segment" } });
for my $stage (qw(tombstones documents packs WAL))
{
    my @doomed = map { my $id = backup_now($node); switch_wal($node) for 1 .. 25; $id } 1 .. 3;
    wait_for_archived($node);
    my $kept = backup_now($node);
    wait_for_archived($node);
    my $segment = first_doomed_wal();
    ok(defined $segment, "$stage: there is WAL that goes");
    ok(kill_when($stages{$stage}->($doomed[-1], $doomed[0], $segment)), "$stage: killed");

    my ($status, $out) = pgvigil('list', '--repository', $repository->url, '--json');
    is($status, 0, "$stage: the catalog can be read");
    my @listed = $out =~ /"id": "(\d{8}T\d{6}F)"/g;
    is((grep { $_ eq $kept } @listed), 1, "$stage: the newest is listed");
    unlike($out, qr/"restorable": false/, "$stage: what is listed can be restored");
    ($status, $out) = pgvigil('verify', '--repository', $repository->url);
    is($status, 0, "$stage: every stored byte of it is there") or diag($out);
    my $restored = restored_node("restored_$stage", $repository, '--backup', $listed[0], '--target-immediate');
    start_copy($restored);
    is_same_data($restored, $expected, "$stage: $listed[0]");
    $restored->stop('immediate');

    $node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false, true)');
    is($node->safe_psql('postgres', 'SELECT string_agg(backup_id, \',\') FROM pgv_backups'), $kept, "$stage: the next run completes");
    my @left = grep { !m{/(?:data|files|commits|attempts)/\Q$kept\E} } $repository->matching(qr{/(?:data|files|commits|attempts)/});
    is("@left", '', "$stage: nothing is left of what went");
    ok(!-e "$root/$segment", "$stage: nor of its WAL");
}

# The server itself, in the middle.
backup_now($node) for 1 .. 3;
wait_for_archived($node);
my $before = () = $repository->matching(qr{/tombstones/});
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/started/, "\\echo started\nSELECT * FROM pgv_expire(false, true);\n");
wait_for(sub { my $count = () = $repository->matching(qr{/tombstones/}); $count > $before }, 'the first tombstones', 30);
$node->stop('immediate');
eval { $session->quit };
$node->start;
$node->safe_psql('postgres', 'SELECT * FROM pgv_expire(false, true)');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 1, 'the next expiry completes');
wait_for_archived($node);
my $restored = restored_node('restored_last', $repository);
start_copy($restored);
is_same_data($restored, $expected, 'the last one');

done_testing();
