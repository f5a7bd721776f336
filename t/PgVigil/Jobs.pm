# Helpers for scheduled jobs: slots that were missed, the history, and somebody who listens to the webhook.
package PgVigil::Jobs;
use strict;
use warnings;
use Exporter 'import';
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Utils;
use POSIX ();

our @EXPORT = qw(miss_slots set_handled history wait_for_run schedule_known listen_for_webhook);

# miss_slots(NODE, REPOSITORY, JOB, …): makes the stopped NODE believe that it has been down for 40 days, and the repository
# that nobody has run anything, as far as these jobs are concerned.
sub miss_slots
{
    my ($node, $repository, @jobs) = @_;
    unlink map { $repository->directory . "/$_" } $repository->matching(qr{/jobs/});
    set_handled($node, @jobs);
    return;
}

# set_handled(NODE, JOB, …): makes NODE, whose scheduler is away, believe that it has done none of these jobs for 40 days.
sub set_handled
{
    my ($node, @jobs) = @_;
    my $file = $node->data_dir . '/pgvigil.jobs';
    my $content = decode_json(slurp_file($file));
    my $then = POSIX::strftime('%Y-%m-%dT%H:%M:%S.000Z', gmtime(time() - 40 * 86400));
    for my $job (@jobs)
    {
        die "no schedule of \"$job\" in $file" unless $content->{jobs}{$job}{schedule};
        $content->{jobs}{$job}{handled_until} = $then;
    }
    open(my $out, '>', $file) or die "$file: $!";
    print $out encode_json($content);
    close($out);
    return;
}

# history(NODE, CONDITION): rows as "job|trigger|outcome", oldest first.
sub history
{
    my ($node, $condition) = @_;
    $condition //= 'true';
    return $node->safe_psql('postgres',
        "SELECT job || '|' || trigger || '|' || outcome FROM pgv_job_history WHERE $condition ORDER BY ended_at, started_at");
}

# Waits for a row of the history that satisfies CONDITION and returns its backup's id.
sub wait_for_run
{
    my ($node, $condition, $timeout) = @_;
    PgVigil::wait_for(
        sub { $node->safe_psql('postgres', "SELECT count(*) FROM pgv_job_history WHERE $condition") > 0 },
        "a job with $condition", $timeout);
    return $node->safe_psql('postgres', "SELECT backup_id FROM pgv_job_history WHERE $condition ORDER BY ended_at DESC LIMIT 1");
}

# Sets a new expression for JOB that does not fire now, and waits until the scheduler has looked at what is due with it:
# whatever else was due has been begun by then.
sub schedule_known
{
    my ($node, $job, $expression) = @_;
    PgVigil::set_and_reload($node, "pgvigil.${job}_schedule" => $expression);
    PgVigil::wait_for(
        sub { $node->safe_psql('postgres', "SELECT schedule = '$expression' FROM pgv_jobs WHERE job = '$job'") eq 't' },
        'the scheduler to know its new schedule');
    return;
}

# listen_for_webhook([STATUS]): an HTTP server on the loopback interface; an object with ->url, ->bodies and ->stop.
sub listen_for_webhook
{
    my ($status) = @_;
    $status //= 200;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10, ReuseAddr => 1) or die "listen: $!";
    my $file = PostgreSQL::Test::Utils::tempdir() . '/requests';
    open(my $touch, '>', $file) or die "$file: $!";
    close($touch);
    my $pid = fork() // die "fork: $!";
    if ($pid == 0)
    {
        while (my $client = $listener->accept)
        {
            my $length = 0;
            while (my $line = <$client>)
            {
                $length = $1 if $line =~ /^content-length:\s*(\d+)/i;
                last if $line =~ /^\r?\n$/;
            }
            read($client, my $body, $length);
            print $client "HTTP/1.1 $status X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            close($client);
            open(my $out, '>>', $file) or POSIX::_exit(1);
            print $out "$body\n";
            close($out);
        }
        POSIX::_exit(0);
    }
    my $port = $listener->sockport;
    close($listener);
    return bless { pid => $pid, owner => $$, file => $file, url => "http://127.0.0.1:$port/hook/secret-token" }, __PACKAGE__;
}

sub url { return $_[0]{url}; }

sub bodies
{
    my ($self) = @_;
    return map { decode_json($_) } grep { /\S/ } split /\n/, slurp_file($self->{file});
}

sub stop
{
    my ($self) = @_;
    return unless $self->{pid} && $self->{owner} == $$;
    kill 'KILL', $self->{pid};
    waitpid($self->{pid}, 0);
    delete $self->{pid};
    return;
}

sub DESTROY
{
    my ($self) = @_;
    local ($?, $!) = ($?, $!);
    $self->stop;
    return;
}

1;
