# Two copies of one cluster fight for one repository: in turn, and sometimes at the same moment, each takes over, while
# the other is stopped in the middle of whatever it does and goes on later. After every round a restore shows the history
# of the rightful writer and nothing of the other's, and the rightful writer is never stuck.
# PGVIGIL_FIGHT_ROUNDS sets how many rounds (4), PGVIGIL_FIGHT_SEED what happens in them.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);
use Test::More;

my $rounds = $ENV{PGVIGIL_FIGHT_ROUNDS} // 4;
my $seed = $ENV{PGVIGIL_FIGHT_SEED} // int(rand(1e9));
srand($seed);
diag("PGVIGIL_FIGHT_SEED=$seed");

my $repository = new_repository('fight', 'file');
my %node = (a => new_node('a', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.writer_term' => '3s', wal_keep_size => '1GB', max_wal_size => '1GB' }));
$node{a}->safe_psql('postgres', 'CREATE TABLE history (server text, number int)');
backup_now($node{a});
wait_for_archived($node{a});
$node{a}->stop;
$node{b} = copied_node('b', $node{a});
$_->start for values %node;

my %number = (a => 0, b => 0);
sub work
{
    my ($name, $count) = @_;
    for (1 .. $count)
    {
        my $number = ++$number{$name};
        $node{$name}->safe_psql('postgres', "INSERT INTO history VALUES ('$name', $number)");
        $node{$name}->safe_psql('postgres', 'SELECT pg_switch_wal()') if rand() < 0.6;
    }
    return;
}
sub rows { return $_[0]->safe_psql('postgres', q(SELECT coalesce(string_agg(server || number, ',' ORDER BY ctid), '') FROM history)); }

# The postmaster and its children.
sub processes
{
    my ($server) = @_;
    my ($postmaster) = slurp_file($server->data_dir . '/postmaster.pid') =~ /^(\d+)/;
    return ($postmaster, map { m{^/proc/(\d+)/} } grep { my $stat = eval { slurp_file($_) } // ''; $stat =~ /^\d+ \(.*\) \S $postmaster / } glob('/proc/[0-9]*/stat'));
}

for my $round (1 .. $rounds)
{
    my ($winner, $loser) = rand() < 0.5 ? ('a', 'b') : ('b', 'a');
    my @stopped;
    work($loser, int(rand(4)));
    if (rand() < 0.7)
    {
        @stopped = processes($node{$loser});
        kill 'STOP', @stopped;
        usleep(int(rand(400_000)));
    }
    elsif (rand() < 0.5)
    {
        # Both at once: whoever comes last is the writer.
        $node{$loser}->psql('postgres', q(SELECT pgv_take_over('me')));
    }
    work($winner, int(rand(4)));
    $node{$winner}->safe_psql('postgres', q(SELECT pgv_take_over('no, me')));
    work($winner, int(rand(3)));
    usleep(int(rand(600_000)));
    kill 'CONT', @stopped if @stopped;
    work($loser, int(rand(5)));
    wait_for_archived($node{$winner}, undef, 60);
    my $expected = rows($node{$winner});
    my $restored = restored_node("round$round", $repository);
    start_copy($restored);
    is(rows($restored), $expected, "round $round: what is restored is the history of $winner");
    $restored->stop('immediate');
    wait_for(sub { $node{$loser}->safe_psql('postgres', 'SELECT role FROM pgv_status') =~ /fenced|detached|stale/ }, "$loser to notice");
    my $lost = switch_wal($node{$loser});
    usleep(500_000);
    ok(!archived_through($node{$loser}, $lost), "round $round: $loser acknowledges nothing");
}
$_->stop for values %node;
done_testing();
