# The loss harness: sessions commit numbered rows and keep a log of what was acknowledged; the machine is lost; what the
# store gives back is compared with that log.
#
# A round: pgbench commits rows, every process of the server is killed at a random moment and its data directory removed,
# the newest state is restored in its place with --take-over and started. The restored server is the next round's, so that
# timelines, epochs and runs of the tail pile up as they do in the life of a cluster. Held against each other are
#
#   acknowledged    pgbench's log: a line per committed transaction with its time, written by a process that survives
#   restored        the rows in the store, of each session without a hole from 1 on
#
# and any row that is acknowledged and not restored is lost. A session's rows are committed one after the other, so what is
# missing of it is its end. All rows of earlier rounds must be there as they were.
package Loss;
use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use lib dirname(__FILE__);
use Loss::Faults;
use Loss::Report;
use Loss::Sessions;
use PgVigil;
use PgVigil::FaultProxy;
use PgVigil::Stream;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(run_losses loss_rounds);

# How much older than stream_interval a lost row may be in asynchronous mode. Of it one PUT takes a few milliseconds to a
# local store; the rest is for a machine on which three scenarios, their servers and the store share two cores.
my $allowance = $ENV{PGVIGIL_LOSS_ALLOWANCE} // 1.5;

# So many rounds between two backups: the WAL to replay stays short.
my $rounds_per_backup = 8;

# loss_rounds(DEFAULT): how many rounds are asked for.
sub loss_rounds
{
    my ($default) = @_;
    return $ENV{PGVIGIL_LOSS_ROUNDS} || $default;
}

# run_losses(name => NAME, rounds => N, synchronous => 0, interval => MILLISECONDS, kind => 'file' | 's3', faults => 0,
#            segment_size => MB, clients => N, burst => 0, seed => N)
# faults: everything the server sends goes through the fault proxy, with a random plan per round.
# burst:  beside the sessions, asynchronous commits of long rows, so that segments end all the time.
sub run_losses
{
    my (%options) = @_;
    my $self = bless { clients => 4, interval => 200, segment_size => 16, kind => 'file', known => {}, %options }, __PACKAGE__;
    $self->{seed} //= $ENV{PGVIGIL_LOSS_SEED} // time() % 1_000_000;
    note("$self->{name}: seed $self->{seed}");
    srand($self->{seed});
    $self->{report} = Loss::Report->new($self);
    $self->_start;
    $self->_round($_) for 1 .. $self->{rounds};
    $self->{proxy}->set() if $self->{proxy};
    $self->{node}->stop;
    $self->{report}->finish;
    return;
}

sub _start
{
    my ($self) = @_;
    $self->{repository} = new_repository("loss_$self->{name}", $self->{kind});
    my $url = $self->{repository}->url;
    if ($self->{faults})
    {
        $self->{proxy} = PgVigil::FaultProxy->new($self->{repository}{endpoint});
        $url = $self->{repository}->url_at($self->{proxy}->endpoint);
    }
    my %settings = (
        autovacuum => 'off', 'pgvigil.repository' => $url, 'pgvigil.stream_interval' => "$self->{interval}ms",
        # Aged segments are recycled early: the tail has to be read in time.
        max_wal_size => ($self->{segment_size} * 8) . 'MB', min_wal_size => ($self->{segment_size} * 2) . 'MB');
    # Right after a restore the summarizer may miss a segment, and then sleeps for ten seconds, whatever the server is told.
    $settings{summarize_wal} = 'off' if pg_major() >= 17;
    if ($self->{synchronous})
    {
        $settings{'pgvigil.synchronous'} = 'on';
        $settings{synchronous_standby_names} = 'pgvigil';
    }
    my $node = new_node("loss_$self->{name}", settings => \%settings, initdb => ["--wal-segsize=$self->{segment_size}"]);
    $node->safe_psql('postgres', <<'S');
CREATE TABLE numbered (round int, session int, number int, body text, PRIMARY KEY (round, session, number));
CREATE TABLE burst (body text);
ALTER TABLE burst ALTER body SET STORAGE EXTERNAL;
S
    backup_now($node);
    $self->{node} = $node;
    return;
}

sub _round
{
    my ($self, $round) = @_;
    my $node = $self->{node};
    backup_now($node, 'auto') if $round % $rounds_per_backup == 0;
    # A synchronous commit waits by itself until its WAL is shipped; the promise of the other mode holds while the server streams.
    wait_for_durable($node, undef, 60) unless $self->{synchronous};
    $self->{proxy}->set(random_faults()) if $self->{proxy};
    # Two rounds of three are so slow that no segment ends: what is restored then came from nowhere but the tail.
    my $rate = $self->{synchronous} || $round % 3 == 0 ? 0 : 400;
    my $sessions = Loss::Sessions->start($node, $round, clients => $self->{clients}, burst => $self->{burst}, rate => $rate);
    # Late enough that a server which does not stream would lose what is older than the bound.
    my $most = $self->{synchronous} ? 1.5 : 2;
    my $least = $self->{synchronous} ? 0.2 : $self->{interval} / 1000 + $allowance + 0.5;
    sleep($least + rand($most));
    my $moment = lose_server($node);
    my $acknowledged = $sessions->acknowledged;

    my $begin = time();
    my ($status, undef, $err) = restore($self->{repository}, $node->data_dir, '--no-sync', '--take-over', "round $round");
    is($status, 0, "$self->{name}, round $round: restored") or die "the restore failed: $err";
    start_copy($node);
    my $restored = $self->_restored;
    $self->_compare($round, $moment, $acknowledged, $restored, time() - $begin);
    return;
}

# round => session => how many; a hole in a session's numbers is an error of its own.
sub _restored
{
    my ($self) = @_;
    my %rounds;
    my $rows = $self->{node}->safe_psql('postgres',
        'SELECT round, session, count(*), min(number), max(number) FROM numbered GROUP BY 1, 2 ORDER BY 1, 2');
    for my $row (split /\n/, $rows)
    {
        my ($round, $session, $count, $first, $last) = split /\|/, $row;
        fail("$self->{name}: round $round, session $session has $count rows from $first to $last") if $first != 1 || $last != $count;
        $rounds{$round}{$session} = $count;
    }
    return \%rounds;
}

sub _compare
{
    my ($self, $round, $moment, $acknowledged, $restored, $seconds) = @_;
    my $what = "$self->{name}, round $round";
    my ($total, $lost, $oldest, @strange) = (0, 0, 0);
    for my $session (sort keys %$acknowledged)
    {
        my @times = @{ $acknowledged->{$session} };
        my $there = $restored->{$round}{$session} // 0;
        $total += @times;
        # One commit may have been on its way: durable, and its answer lost with the server.
        push @strange, "session $session: $there rows, acknowledged " . @times if $there > @times + 1;
        next if $there >= @times;
        $lost += @times - $there;
        my $age = $moment - $times[$there];
        $oldest = $age if $age > $oldest;
    }
    cmp_ok($total, '>', 0, "$what: there were commits");
    is("@strange", '', "$what: no row that was never written");
    my $said = sprintf('%d acknowledged, %d lost, the oldest %.0f ms before the end', $total, $lost, 1000 * $oldest);
    if ($self->{synchronous}) { is($lost, 0, "$what: $said"); }
    else { cmp_ok($oldest, '<=', $self->{interval} / 1000 + $allowance, "$what: $said"); }
    my $earlier = delete $restored->{$round};
    is(_text($restored), _text($self->{known}), "$what: all rows of the rounds before");
    $self->{known} = { %$restored, $round => $earlier // {} };
    $self->{report}->add($total, $lost, $oldest, $seconds);
    return;
}

sub _text
{
    my ($rounds) = @_;
    return join "\n", map { my $r = $_; "$r: " . join(' ', map { "$_=$rounds->{$r}{$_}" } sort { $a <=> $b } keys %{ $rounds->{$r} }) }
      grep { %{ $rounds->{$_} } } sort { $a <=> $b } keys %$rounds;
}

1;
