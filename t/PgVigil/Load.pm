# A pgbench that runs beside the test.
package PgVigil::Load;
use strict;
use warnings;

sub new
{
    my ($class, $handle) = @_;
    return bless { handle => $handle }, $class;
}

# Whether it still runs: a pgbench that met an error has ended.
sub running
{
    my ($self) = @_;
    return $self->{handle}->pumpable;
}

sub stop
{
    my ($self) = @_;
    my $handle = delete $self->{handle} or return;
    $handle->kill_kill(grace => 5);
    return;
}

sub DESTROY
{
    my ($self) = @_;
    $self->stop if $self->{handle};
    return;
}

1;
