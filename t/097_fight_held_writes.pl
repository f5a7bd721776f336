# Two copies of one cluster fight for one repository in S3, and writes arrive late: a server has looked who the writer is,
# its claim, sign of life, run, tail or segment is on its way, and only then, when the other one has taken over, or has
# archived more as well, the store gets it. After every round a restore shows the history of the rightful writer and
# nothing of the other's, the rightful writer is never stuck, and the loser acknowledges nothing.
# (PGVIGIL_FIGHT_ROUNDS, PGVIGIL_FIGHT_SEED: PgVigil/Fight.pm.)
use strict;
use warnings;
use IPC::Run;
use List::Util qw(shuffle);
use PgVigil;
use PgVigil::FaultProxy;
use PgVigil::Fight;
use Time::HiRes qw(time usleep);
use Test::More;

needs_s3();
my $repository = new_repository('held', 's3');
my %proxy = map { $_ => PgVigil::FaultProxy->new($repository->{endpoint}) } qw(a b);
# What is held for longer than the request timeout is sent once more: the store gets both.
my $fight = PgVigil::Fight->new($repository, 3, url => { map { $_ => $repository->url_at($proxy{$_}->endpoint) } keys %proxy },
    settings => { 'pgvigil.request_timeout' => '2s', 'pgvigil.stream_interval' => '200ms' });

my %path = (epoch => '/epochs/', life => '/alive/', run => '/runs/', tail => '/tail/', segment => '/wal/', everything => '/');
my (@kinds, %held, %arrived);
my $writer = 'a';

# The session waits for as long as the write of the claim is held.
sub start_take_over
{
    my ($name) = @_;
    my $node = $fight->node($name);
    my @psql = ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', "SELECT pgv_take_over('$name')");
    my %claim = (name => $name, output => '');
    $claim{handle} = IPC::Run::start(\@psql, '<', \undef, '>&', \$claim{output});
    return \%claim;
}

sub is_over { my ($claim) = @_; $claim->{handle}->pump_nb; return !$claim->{handle}->pumpable; }
sub finish_take_over
{
    my ($claim) = @_;
    wait_for(sub { is_over($claim) }, "the take-over of $claim->{name}", 60);
    ok($claim->{handle}->finish, "$claim->{name} took over") or diag($claim->{output});
    return;
}

# Lets what is held go to the store.
sub release
{
    my ($name) = @_;
    $proxy{$name}->set();
    wait_for(sub { !$proxy{$name}->held }, 'the held writes to arrive', 30);
    return;
}

for my $round (1 .. $fight->rounds)
{
    # Each kind comes before one comes again.
    @kinds = shuffle(sort keys %path) if !@kinds;
    my $kind = shift @kinds;
    my $all = $kind eq 'everything' || rand() < 0.6;
    # Either the writer is overtaken, or the other one, whose claim is fresh.
    my $claims = $kind =~ /epoch|run/ || rand() < 0.4;
    my $loser = $claims ? $writer =~ tr/ab/ba/r : $writer;
    my $winner = $loser =~ tr/ab/ba/r;
    # An epoch that is held for as long as its rival believes to be the writer comes last, and holds.
    my $comes_last = $claims && $all && $kind =~ /epoch|everything/;
    note("round $round: the writer is $writer; $kind of $loser is held" . ($all ? '' : ' once') . ($claims ? ', which takes over first' : ''));

    $proxy{$loser}->set({ action => 'hold', method => 'PUT', path => $path{$kind}, ($all ? () : (count => 1)) });
    my $claim = $claims ? start_take_over($loser) : undef;
    if ($claim && !$comes_last) { finish_take_over($claim); undef $claim; }
    $fight->work($loser, 4);
    switch_wal($fight->node($loser)) if $kind eq 'segment' || rand() < 0.5;
    my $deadline = time() + 4;
    usleep(20_000) while !$proxy{$loser}->held && time() < $deadline;
    $held{$kind} += $proxy{$loser}->held;
    $fight->stand_still($loser) if rand() < 0.5;
    usleep(int(rand(400_000)));

    $fight->work($winner, 3);
    $fight->take_over($winner);
    $fight->superseded;
    $fight->work($winner, 2);
    wait_for_archived($fight->node($winner), undef, 60) if rand() < 0.5;
    usleep(int(rand(600_000)));
    my $marked = 0;
    if (rand() < 0.5)
    {
        # The loser goes on before what it wrote has arrived, and what it writes then is held as well.
        $fight->go_on;
        $fight->work($loser, 3);
        if (!$comes_last) { $fight->mark($loser); $marked = 1; }
        $fight->work($loser, 2);
    }
    release($loser);
    $fight->go_on;
    if ($comes_last)
    {
        finish_take_over($claim);
        $fight->superseded;
        ($winner, $loser) = ($loser, $winner);
    }
    $writer = $winner;
    $fight->work($loser, 4);
    $fight->work($winner, 2);
    $fight->is_history_of($round, $winner);
    $fight->mark($loser) if !$marked;
    $fight->acknowledges_nothing($round, $loser);
    $fight->end_of_round($round, $loser);
}
my @late = map { $_->requests(qr/^PUT .* hold [1-9]/) } values %proxy;
$arrived{$_}++ for map { (split ' ')[3] } @late;
cmp_ok(scalar @late, '>=', $fight->rounds / 2, 'writes arrived late: ' . join(', ', map { "$held{$_} $_" } sort keys %held) . '; the store answered '
      . join(', ', map { "$arrived{$_} x $_" } sort keys %arrived));
$fight->finish;
done_testing();
