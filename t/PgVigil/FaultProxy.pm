# The fault proxy (test/fault/proxy) as a child of a test.
package PgVigil::FaultProxy;
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use PgVigil;

my $program = abs_path(dirname(__FILE__) . '/../../test/fault/proxy');

# new(UPSTREAM URL): starts a proxy; its address is ->endpoint.
sub new
{
    my ($class, $upstream) = @_;
    my $directory = PostgreSQL::Test::Utils::tempdir('fault');
    my $self = bless { directory => $directory, output => '' }, $class;
    $self->{handle} = IPC::Run::start(
        [ $program, '--upstream', $upstream, '--control', "$directory/control", '--log', "$directory/log", '--port-file', "$directory/port" ],
        '<', \undef, '>&', \$self->{output});
    my $port = wait_for(sub { -e "$directory/port" && slurp_file("$directory/port") }, 'the fault proxy', 30);
    chomp $port;
    $self->{endpoint} = "http://127.0.0.1:$port";
    return $self;
}

sub endpoint { return $_[0]{endpoint}; }

# set(RULE…): the rules from now on, each a hash reference; none means no faults.
sub set
{
    my ($self, @rules) = @_;
    my $file = "$self->{directory}/control";
    append_to_file("$file.new", encode_json({ rules => \@rules }));
    rename("$file.new", $file) or die "could not rename \"$file.new\": $!";
    return;
}

# The requests so far: lines "METHOD PATH ACTION STATUS UNDER-WAY" that match.
sub requests
{
    my ($self, $pattern) = @_;
    return unless -e "$self->{directory}/log";
    return grep { !$pattern || $_ =~ $pattern } split /\n/, slurp_file("$self->{directory}/log");
}

# How many requests are held now.
sub held
{
    my ($self) = @_;
    my ($begun, $ended) = (0, 0);
    for ($self->requests(qr/ hold \d+ \d+$/)) { / hold 0 \d+$/ ? $begun++ : $ended++; }
    return $begun - $ended;
}

sub stop
{
    my ($self) = @_;
    my $handle = delete $self->{handle} or return;
    $handle->kill_kill(grace => 2);
    return;
}

# At the end of a test the child's exit status is not the test's.
sub DESTROY { my ($self) = @_; local ($?, $!, $@) = ($?, $!, $@); $self->stop; return; }

1;
