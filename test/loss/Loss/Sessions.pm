# The client side of a round: pgbench, whose log says which row of which session was acknowledged when. It is another
# process than the server, so its log outlives the server whatever happens to that.
package Loss::Sessions;
use strict;
use warnings;
use IPC::Run;
use PgVigil;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

# start(NODE, ROUND, clients => N, burst => 0, rate => 0): returns once the first commits were acknowledged. rate: in all sessions together,
# per second; 0 as fast as they can.
sub start
{
    my ($class, $node, $round, %options) = @_;
    my $directory = PostgreSQL::Test::Utils::tempdir('sessions');
    my $self = bless { node => $node, directory => $directory, handles => [], outputs => {} }, $class;
    append_to_file("$directory/numbered.sql", <<'S');
\set number :number + 1
INSERT INTO numbered VALUES (:round, :client_id, :number, repeat('x', :width));
S
    # No session waits for anything here, in either mode.
    append_to_file("$directory/burst.sql", <<'S');
SET synchronous_commit = off;
INSERT INTO burst SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 1200);
S
    $self->_pgbench('burst', '-c', 1) if $options{burst};
    # A large row now and then crosses pages; short ones show the group commit.
    $self->_pgbench('numbered', '-c', $options{clients}, ($options{rate} ? ('-R', $options{rate}) : ()), '-l', "--log-prefix=$directory/log", '-D', "round=$round", '-D', 'number=0',
        '-D', 'width=' . (20, 300, 3000)[ rand 3 ]);
    wait_for(
        sub { ($node->safe_psql('postgres', "SELECT count(*) > 0 FROM numbered WHERE round = $round") eq 't') || !$self->_running },
        'the first rows', 60);
    die "the sessions ended early: $self->{outputs}{numbered}" unless $self->_running;
    return $self;
}

sub _pgbench
{
    my ($self, $script, @arguments) = @_;
    my $node = $self->{node};
    $self->{outputs}{$script} = '';
    my @command = ('pgbench', '-n', '-T', 600, '-M', 'prepared', '-f', "$self->{directory}/$script.sql", @arguments,
        '-h', $node->host, '-p', $node->port, 'postgres');
    push @{ $self->{handles} }, IPC::Run::start(\@command, '<', \undef, '>&', \$self->{outputs}{$script});
    return;
}

sub _running { my ($self) = @_; return $self->{handles}[-1]->pumpable; }

# acknowledged(): waits until pgbench has noticed that its server is gone; session => [time of the commit of row 1, 2, …].
sub acknowledged
{
    my ($self) = @_;
    for my $handle (splice @{ $self->{handles} })
    {
        wait_for(sub { $handle->pump_nb; !$handle->pumpable }, 'pgbench to end', 60);
        # It has lost its server: its exit status says so.
        eval { $handle->finish; };
    }
    my %acknowledged;
    for my $file (glob "$self->{directory}/log.*")
    {
        for my $line (split /\n/, slurp_file($file))
        {
            # Client, its transaction's number, latency, script, second, microsecond.
            my ($session, $number, $latency, undef, $second, $microsecond) = split ' ', $line;
            next unless $latency =~ /^\d+$/;
            die "$file: session $session: transaction $number after " . @{ $acknowledged{$session} // [] }
              if $number != 1 + @{ $acknowledged{$session} // [] };
            push @{ $acknowledged{$session} }, $second + $microsecond / 1e6;
        }
    }
    return \%acknowledged;
}

sub DESTROY
{
    my ($self) = @_;
    local ($?, $!, $@) = ($?, $!, $@);
    $_->kill_kill(grace => 1) for @{ $self->{handles} };
    return;
}

1;
