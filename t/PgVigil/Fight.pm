# What the scenarios of one writer share: two copies of one cluster, each reaching the same repository, that fight for it in
# rounds; whose history is restored, and what the loser says of its own.
# PGVIGIL_FIGHT_ROUNDS sets how many rounds, PGVIGIL_FIGHT_SEED what happens in them.
package PgVigil::Fight;
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

# A writer that is superseded may acknowledge for a third of its term; the rest is for a busy machine, on which PostgreSQL
# makes a note of it later.
my $term = 3;
my $grace = $term / 3 + 0.3;

# new(REPOSITORY, ROUNDS, url => {a => URL, b => URL}, settings => {NAME => VALUE}): both servers run, and a is the writer.
sub new
{
    my ($class, $repository, $rounds, %options) = @_;
    my $seed = $ENV{PGVIGIL_FIGHT_SEED} // int(rand(1e9));
    srand($seed);
    diag("PGVIGIL_FIGHT_SEED=$seed");
    my $self = bless { repository => $repository, rounds => $ENV{PGVIGIL_FIGHT_ROUNDS} // $rounds, number => { a => 0, b => 0 } }, $class;
    my %url = $options{url} ? %{ $options{url} } : map { $_ => $repository->url } qw(a b);
    $self->{url} = \%url;
    my $settings = { 'pgvigil.writer_term' => "${term}s", wal_keep_size => '1GB', max_wal_size => '1GB', %{ $options{settings} // {} } };
    $self->{node}{a} = new_node('a', settings => { %$settings, 'pgvigil.repository' => $url{a} }, initdb => ['--wal-segsize=1']);
    $self->{node}{a}->safe_psql('postgres', 'CREATE TABLE history (server text, number int)');
    $self->_make_copy('b');
    return $self;
}

# Makes NAME a copy of the other server, which has a backup of what the copy begins with.
sub _make_copy
{
    my ($self, $name) = @_;
    my $other = $name =~ tr/ab/ba/r;
    my $original = $self->{node}{$other};
    backup_now($original);
    wait_for_archived($original);
    $original->stop;
    my $copy = copied_node($name . ++$self->{copies}, $original);
    $copy->append_conf('postgresql.conf', "pgvigil.repository = '$self->{url}{$name}'\n");
    $_->start for $original, $copy;
    $copy->safe_psql('postgres', 'SELECT pgv_accept_repository()') if $self->{url}{$name} ne $self->{url}{$other};
    $self->{node}{$name} = $copy;
    return;
}

# Now and then the loser becomes a copy of the writer once more: both would archive all since the first copy anew, and every
# restore replay it, in each of a hundred rounds.
sub end_of_round
{
    my ($self, $round, $loser) = @_;
    return if $round % 5 != 0 || $round == $self->{rounds};
    $self->{node}{$loser}->stop('immediate');
    $self->_make_copy($loser);
    return;
}

sub rounds { return $_[0]{rounds}; }
sub node { my ($self, $name) = @_; return $self->{node}{$name}; }

# Commits up to COUNT rows, and ends segments in between.
sub work
{
    my ($self, $name, $count) = @_;
    for (1 .. int(rand($count + 1)))
    {
        my $number = ++$self->{number}{$name};
        $self->{node}{$name}->safe_psql('postgres', "INSERT INTO history VALUES ('$name', $number)");
        $self->{node}{$name}->safe_psql('postgres', 'SELECT pg_switch_wal()') if rand() < 0.6;
    }
    return;
}

sub take_over
{
    my ($self, $name) = @_;
    $self->{node}{$name}->safe_psql('postgres', "SELECT pgv_take_over('$name')");
    return;
}

# Stops the postmaster and its children in the middle of whatever they do; go_on() lets them go on.
sub stand_still
{
    my ($self, $name) = @_;
    my ($postmaster) = slurp_file($self->{node}{$name}->data_dir . '/postmaster.pid') =~ /^(\d+)/;
    my @children = map { m{^/proc/(\d+)/} } grep { my $stat = eval { slurp_file($_) } // ''; $stat =~ /^\d+ \(.*\) \S $postmaster / } glob('/proc/[0-9]*/stat');
    $self->{stopped} = [ $postmaster, @children ];
    $self->{stands_still} = $name;
    kill 'STOP', @{ $self->{stopped} };
    return;
}

sub go_on
{
    my ($self) = @_;
    my $stopped = delete $self->{stopped} or return;
    # What it finds done when it goes on comes too late.
    my $name = $self->{stands_still};
    $self->{acknowledged}{$name} = $self->_acknowledged($name) if $self->{superseded} && time() > $self->{superseded} + $grace;
    kill 'CONT', @$stopped;
    return;
}

sub _acknowledged { my ($self, $name) = @_; return { map { m{([^/]+)\.done$} => 1 } glob($self->{node}{$name}->data_dir . '/pg_wal/archive_status/*.done') }; }

# The moment at which another server has taken over: a while later nothing of the loser's is acknowledged any more.
sub superseded { my ($self) = @_; $self->{superseded} = time(); $self->{acknowledged} = {}; return; }

# From here on nothing of the loser's may be acknowledged, let alone what it writes: its lease has ended whatever it knows.
sub mark
{
    my ($self, $loser) = @_;
    my $wait = $self->{superseded} + $grace - time();
    usleep(1e6 * $wait) if $wait > 0;
    $self->{acknowledged}{$loser} //= $self->_acknowledged($loser);
    $self->{mark} = $self->{node}{$loser}->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
    $self->{lost} = switch_wal($self->{node}{$loser});
    return;
}

sub _rows { return $_[0]->safe_psql('postgres', q(SELECT coalesce(string_agg(server || number, ',' ORDER BY ctid), '') FROM history)); }

# The writer is not stuck, and what is restored is its history alone.
sub is_history_of
{
    my ($self, $round, $winner) = @_;
    wait_for_archived($self->{node}{$winner}, undef, 60);
    wait_for_window($self->{node}{$winner}, undef, 60);
    my $expected = _rows($self->{node}{$winner});
    my $restored = restored_node("round$round", $self->{repository});
    start_copy($restored);
    is(_rows($restored), $expected, "round $round: what is restored is the history of $winner");
    $restored->stop('immediate');
    return;
}

# The loser has noticed, and has acknowledged nothing of what it wrote since mark().
sub acknowledges_nothing
{
    my ($self, $round, $loser) = @_;
    my $node = $self->{node}{$loser};
    wait_for(sub { $node->safe_psql('postgres', 'SELECT role FROM pgv_status') =~ /fenced|detached|stale/ }, "$loser to notice");
    switch_wal($node);
    usleep(500_000);
    ok(!archived_through($node, $self->{lost}), "round $round: $loser acknowledges nothing");
    my $before = $self->{acknowledged}{$loser};
    is(join(' ', grep { !$before->{$_} } sort keys %{ $self->_acknowledged($loser) }), '', "round $round: nor what was on its way");
    my $durable = $node->safe_psql('postgres', "SELECT durable_lsn FROM pgv_status WHERE durable_lsn > '$self->{mark}'");
    is($durable, '', "round $round: nor does it call durable what it wrote behind $self->{mark}");
    return;
}

sub finish
{
    my ($self) = @_;
    $_->stop for values %{ $self->{node} };
    return;
}

# A test that died must not leave processes that nothing but SIGKILL ends.
sub DESTROY { my ($self) = @_; local ($?, $!, $@) = ($?, $!, $@); $self->go_on; return; }

1;
