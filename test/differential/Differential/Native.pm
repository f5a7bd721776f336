# A chain of PostgreSQL's own backups beside pgvigil's: pg_basebackup --incremental, put together by pg_combinebackup and
# replayed from pgvigil's archive.
package Differential::Native;
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# new(REPOSITORY, spaces => {name => directory})
sub new
{
    my ($class, $repository, %options) = @_;
    return bless { repository => $repository, spaces => $options{spaces} // {}, chain => [], base => scratch_directory() }, $class;
}

# Whether there is a native chain at all.
sub available { return pg_major() >= 17; }

sub _mappings
{
    my ($self, $option, $from, $to) = @_;
    return map { ($option, "$from->{$_}=$to/$_") } sort keys %{ $self->{spaces} };
}

# Takes the next backup of NODE: the first one, and one after forget(), is full.
sub take
{
    my ($self, $node) = @_;
    my $number = @{ $self->{chain} };
    my $directory = "$self->{base}/" . ($self->{generation} // 0) . "_$number";
    my @command = ('pg_basebackup', '-D', $directory, '-X', 'none', '-c', 'fast', '--no-sync', '-h', $node->host, '-p', $node->port);
    push @command, $self->_mappings('-T', $self->{spaces}, "$directory.spaces");
    push @command, '--incremental', "$self->{chain}[-1]/backup_manifest" if $number;
    my ($out, $err) = ('', '');
    IPC::Run::run(\@command, '>', \$out, '2>', \$err) or return $err;
    push @{ $self->{chain} }, $directory;
    return;
}

sub forget { my ($self) = @_; $self->{chain} = []; $self->{generation}++; return; }

# A stopped node with the chain put together, that will replay everything and archive nothing.
sub combined_node
{
    my ($self, $name, $system_identifier) = @_;
    my $node = PostgreSQL::Test::Cluster->new($name);
    my $directory = $node->data_dir;
    my $final = "$self->{base}/$name.spaces";
    if (@{ $self->{chain} } > 1)
    {
        my $last = $self->{chain}[-1];
        my %from = map { $_ => "$last.spaces/$_" } keys %{ $self->{spaces} };
        system_or_bail('pg_combinebackup', '--no-sync', '-o', $directory, $self->_mappings('-T', \%from, $final), @{ $self->{chain} });
    }
    else
    {
        system_or_bail('cp', '-a', $self->{chain}[0], $directory);
    }
    append_to_file("$directory/recovery.signal", '');
    mkdir $node->backup_dir;
    mkdir $node->archive_dir;
    my $url = $self->{repository}->url;
    $node->append_conf('postgresql.conf', <<"C");
port = ${\ $node->port}
unix_socket_directories = '${\ $node->host}'
shared_preload_libraries = ''
archive_mode = off
summarize_wal = off
restore_command = 'pgvigil wal-get --repository $url --system-identifier $system_identifier "%f" "%p"'
C
    chmod 0700, $directory;
    return $node;
}

1;
