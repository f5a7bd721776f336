# The differential test: a random history with backups in it, and after each backup the cluster that pgvigil restores
# must equal the primary. Native backups taken beside it are compared as well; where they differ it is said why.
package Differential;
use strict;
use warnings;
use Differential::Native;
use Differential::State;
use Differential::Workload;
use Exporter 'import';
use PgVigil;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(run_differential);

# run_differential(seed => N, rounds => N, operations => N, hashes => 0, native => [rounds], failover => [rounds])
sub run_differential
{
    my (%options) = @_;
    my $self = bless { %options, round => 0, name => "s$options{seed}" . ($options{hashes} ? 'h' : '') }, __PACKAGE__;
    $self->_start;
    for (1 .. $options{rounds})
    {
        $self->{round}++;
        $self->_round;
    }
    $self->{workload}->settle;
    $self->{node}->stop;
    return;
}

sub _start
{
    my ($self) = @_;
    $self->{repository} = new_repository("differential_$self->{name}", 'file');
    my %settings = (autovacuum => 'off', max_wal_size => '256MB', wal_keep_size => '32MB', 'pgvigil.compression' => 'lz4');
    $settings{summarize_wal} = 'off' if $self->{hashes} && pg_major() >= 17;
    my $node = new_node("primary_$self->{name}", repository => $self->{repository}, settings => \%settings, conf => "max_wal_senders = 10\n");
    $self->{node} = $node;
    $self->{spaces} = { one => scratch_directory(), two => scratch_directory() };
    $node->safe_psql('postgres', "CREATE TABLESPACE $_ LOCATION '$self->{spaces}{$_}'") for sort keys %{ $self->{spaces} };
    $self->{system} = $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
    $self->{workload} = Differential::Workload->new($node, $self->{seed}, spaces => [ sort keys %{ $self->{spaces} } ]);
    my $uses_native = @{ $self->{native} // [] } && Differential::Native->available && !$self->{hashes};
    $self->{native_chain} = Differential::Native->new($self->{repository}, spaces => $self->{spaces}) if $uses_native;
    return;
}

sub _has { my ($self, $what) = @_; return scalar grep { $_ == $self->{round} } @{ $self->{$what} // [] }; }

sub _round
{
    my ($self) = @_;
    my $workload = $self->{workload};
    my $what = "seed $self->{seed}, round $self->{round}";
    $workload->run($self->{operations});
    $self->_fail_over if $self->_has('failover');
    my $beside = $workload->start_background;
    my $id = $self->_backup;
    if ($self->{native_chain})
    {
        my $problem = $self->{native_chain}->take($self->{node});
        diag("$what: no native backup: $problem") if $problem;
        $self->{native_regrown} = { %{ $self->{native_regrown} // {} }, %{ $workload->take_regrown } };
    }
    $workload->finish($beside);
    $workload->forget_cuts;
    $workload->run(int($self->{operations} / 4));
    $workload->settle;

    my $expected = state_of($self->{node});
    wait_for_archived($self->{node});
    my $copy = restored_node("copy_$self->{name}_$self->{round}", $self->{repository}, '--backup', $id, '--no-sync', $self->_map);
    start_copy($copy);
    my @wrong = differences(state_of($copy, recovered => 1), $expected);
    is(join("\n", @wrong), '', "$what: backup $id restores to what the primary holds");
    is_sound($copy, $what);
    $copy->clean_node;
    $self->_compare_native($expected, $what) if $self->{native_chain} && $self->_has('native');
    return;
}

# The first backup is full, and now and then another.
sub _backup
{
    my ($self) = @_;
    my $kind = $self->{round} == 1 || $self->{workload}->below(8) == 0 ? 'full' : 'auto';
    my $position = log_position($self->{node});
    my $id = backup_now($self->{node}, $kind);
    note($_) for grep { /pgvigil/ } split /\n/, log_since($self->{node}, $position);
    return $id;
}

sub _map
{
    my ($self) = @_;
    my $base = scratch_directory();
    return map { ('--tablespace-map', "$self->{spaces}{$_}=$base/$_") } sort keys %{ $self->{spaces} };
}

sub _compare_native
{
    my ($self, $expected, $what) = @_;
    my $copy = $self->{native_chain}->combined_node("native_$self->{name}_$self->{round}", $self->{system});
    start_copy($copy);
    my @unexplained;
    for my $line (differences(state_of($copy, recovered => 1), $expected))
    {
        my ($database, $table) = $line =~ /^([^|]*)\|(?:\w+\.)?(\w+)/;
        my $known = $self->{native_regrown}{"$database|$table"};
        push @unexplained, $line unless $known;
        note("$what: the native chain differs in $line: the table was cut off and grew again") if $known;
    }
    is(join("\n", @unexplained), '', "$what: the native chain differs only where rows are known to come back");
    $copy->stop;
    $copy->clean_node;
    return;
}

# A standby takes over: from there on there is another server, another timeline and, at first, no WAL summaries.
sub _fail_over
{
    my ($self) = @_;
    $self->{workload}->settle;
    my $old = $self->{node};
    my $name = "primary_$self->{name}_$self->{round}";
    my $new = PostgreSQL::Test::Cluster->new($name);
    my $base = scratch_directory();
    my %spaces = map { $_ => "$base/$_" } keys %{ $self->{spaces} };
    system_or_bail('pg_basebackup', '-D', $new->data_dir, '-X', 'stream', '-c', 'fast', '--no-sync', '-R', '-h', $old->host, '-p', $old->port,
        map { ('-T', "$self->{spaces}{$_}=$spaces{$_}") } sort keys %spaces);
    mkdir $new->backup_dir;
    mkdir $new->archive_dir;
    $new->append_conf('postgresql.conf', "port = " . $new->port . "\nunix_socket_directories = '" . $new->host . "'\n");
    $new->start;
    $old->wait_for_catchup($new->name, 'replay', $old->lsn('insert')) if $old->safe_psql('postgres', "SELECT count(*) FROM pg_stat_replication WHERE application_name = '" . $new->name . "'");
    # Registered with the repository before it may take over by itself.
    wait_for(sub { $new->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
    $old->stop;
    $new->promote;
    wait_for(sub { $new->safe_psql('postgres', 'SELECT NOT pg_is_in_recovery()') eq 't' }, 'the promotion');
    wait_for_archived($new);
    $self->{node} = $new;
    $self->{spaces} = \%spaces;
    $self->{workload}->node($new);
    $self->{native_chain} = undef;
    return;
}

1;
