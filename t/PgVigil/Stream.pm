# What the scenarios of streamed WAL share: the sudden end of a server, waiting for durability, a look at the tail's objects.
package PgVigil::Stream;
use strict;
use warnings;
use Exporter 'import';
use File::Path qw(remove_tree);
use IPC::SysV qw(IPC_RMID);
use PgVigil;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

our @EXPORT = qw(kill_server lose_server flushed_lsn wait_for_durable is_durable wait_for_window pieces run_documents segment_position end_of_replay checkpoint_of);

# process => parent of everything that runs, zombies left out.
sub _processes
{
    my %parent;
    for my $file (glob '/proc/[0-9]*/stat')
    {
        open(my $in, '<', $file) or next;
        my $line = <$in> // next;
        close($in);
        # The name in parentheses may hold anything.
        my ($pid) = $line =~ /^(\d+)/;
        my ($state, $ppid) = $line =~ /\) (\S) (\d+)[^)]*$/;
        $parent{$pid} = $ppid if defined $state && $state ne 'Z' && $state ne 'X';
    }
    return \%parent;
}

sub _descendants
{
    my ($ancestor) = @_;
    my $parent = _processes();
    my (@found, %seen);
    my @open = ($ancestor);
    while (defined(my $one = shift @open))
    {
        my @children = grep { $parent->{$_} == $one && !$seen{$_}++ } keys %$parent;
        push @found, @children;
        push @open, @children;
    }
    return @found;
}

# kill_server(NODE): SIGKILL to the postmaster and all that descends from it, as near to one moment as a list of processes allows.
# Returns the time just before the first signal. The data directory stays as it was at that moment.
sub kill_server
{
    my ($node) = @_;
    my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
    my @family = _descendants($postmaster);
    my $moment = time();
    # A postmaster that stands still starts nobody, and does not make its children leave in an orderly way.
    kill 'STOP', $postmaster;
    kill 'KILL', @family;
    wait_for(
        sub {
            my @left = _descendants($postmaster);
            kill 'KILL', @left if @left;
            return !@left;
        },
        'the processes of the server to be gone');
    kill 'KILL', $postmaster;
    # To the lock files of the next server a zombie is a server.
    wait_for(sub { !-e "/proc/$postmaster" }, 'the postmaster to be gone');
    $node->{_pid} = undef;
    return $moment;
}

# lose_server(NODE): kill_server(), and its data directory is gone as well.
sub lose_server
{
    my ($node) = @_;
    my @lines = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
    my $moment = kill_server($node);
    # Nobody would find the small System V segment again that marks the data directory as in use.
    if (my ($segment) = ($lines[6] // '') =~ /^\s*\d+\s+(\d+)/) { shmctl($segment, IPC_RMID, 0); }
    remove_tree($node->data_dir);
    die 'could not remove ' . $node->data_dir if -e $node->data_dir;
    return $moment;
}

# Up to where the server has flushed its WAL: everything that was committed before this was asked.
sub flushed_lsn
{
    my ($node) = @_;
    return $node->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
}

sub is_durable
{
    my ($node, $lsn) = @_;
    return $node->safe_psql('postgres', "SELECT coalesce(durable_lsn >= '$lsn', false) FROM pgv_status") eq 't';
}

# wait_for_durable(NODE, [LSN], [SECONDS]): waits until the store has everything below LSN, or what is flushed now; returns that LSN.
sub wait_for_durable
{
    my ($node, $lsn, $timeout) = @_;
    $lsn //= flushed_lsn($node);
    wait_for(sub { is_durable($node, $lsn) }, "the store to have the WAL below $lsn", $timeout);
    return $lsn;
}

# wait_for_window(NODE, [LSN], [SECONDS]): waits until everything below LSN, or what is flushed now, can be restored from a
# backup there is. What is archived last does not tell that: after a take-over older segments follow.
sub wait_for_window
{
    my ($node, $lsn, $timeout) = @_;
    $lsn //= flushed_lsn($node);
    wait_for(
        sub {
            refresh($node);
            return $node->safe_psql('postgres', "SELECT count(*) FROM pgv_recovery_windows WHERE to_lsn >= '$lsn'");
        },
        "a recovery window up to $lsn", $timeout);
    return $lsn;
}

# pieces(REPOSITORY): the tail's pieces, each a hash of key, timeline, segment, epoch, run, from, to; ordered by key.
sub pieces
{
    my ($repository) = @_;
    my @found;
    for my $key ($repository->objects)
    {
        my ($timeline, $segment, $epoch, $run, $from, $to) =
          $key =~ m{/tail/([0-9A-F]{8})/([0-9A-F]{24})/(\d{10})-(\d{6})-([0-9A-F]{8})-([0-9A-F]{8})$}
          or next;
        push @found,
          { key => $key, timeline => $timeline, segment => $segment, epoch => $epoch + 0, run => $run + 0, from => hex $from, to => hex $to };
    }
    return @found;
}

sub run_documents { my ($repository) = @_; return $repository->matching(qr{/tail/[0-9A-F]{8}/runs/\d{10}-\d{6}\.json$}); }

# (segment, offset) of an LSN on the node's timeline.
sub segment_position
{
    my ($node, $lsn) = @_;
    return split /\|/, $node->safe_psql('postgres', "SELECT file_name, file_offset FROM pg_walfile_name_offset('$lsn')");
}

# Where the last record begins that a restored server replayed.
sub end_of_replay
{
    my ($node) = @_;
    my @found = slurp_file($node->logfile) =~ m{redo done at ([0-9A-F]+/[0-9A-F]+)}g;
    return $found[-1];
}

# Where the last checkpoint of a stopped server is.
sub checkpoint_of
{
    my ($node) = @_;
    my ($out, $err) = run_command([ 'pg_controldata', $node->data_dir ]);
    my ($lsn) = $out =~ m{Latest checkpoint location:\s*(\S+)};
    return $lsn;
}

1;
