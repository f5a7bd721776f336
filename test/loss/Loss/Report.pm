# What a run of rounds found, in a few lines: noted in the test's log, and appended to the file PGVIGIL_LOSS_REPORT names.
package Loss::Report;
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;

sub new
{
    my ($class, $run) = @_;
    my $mode = $run->{synchronous} ? 'synchronous' : "asynchronous, stream_interval $run->{interval} ms";
    my $title = "$run->{name}: $mode, $run->{kind}" . ($run->{faults} ? ' with faults' : '') . ", segments of $run->{segment_size} MB"
      . ($run->{burst} ? ', bursts' : '') . ", seed $run->{seed}";
    return bless { title => $title, rounds => [] }, $class;
}

sub add
{
    my ($self, $acknowledged, $lost, $oldest, $seconds) = @_;
    push @{ $self->{rounds} }, { acknowledged => $acknowledged, lost => $lost, oldest => $oldest, seconds => $seconds };
    return;
}

sub _sorted { my ($self, $what) = @_; my @values = sort { $a <=> $b } map { $_->{$what} } @{ $self->{rounds} }; return @values; }

sub finish
{
    my ($self) = @_;
    my @oldest = $self->_sorted('oldest');
    my @seconds = $self->_sorted('seconds');
    my ($acknowledged, $lost) = (0, 0);
    $acknowledged += $_->{acknowledged}, $lost += $_->{lost} for @{ $self->{rounds} };
    my $text = sprintf("%s\n  %d rounds, %d acknowledged commits, %d lost; age of the oldest lost one: median %.0f ms, worst %.0f ms; restored in %.1f s (median)\n",
        $self->{title}, scalar @oldest, $acknowledged, $lost, 1000 * $oldest[ $#oldest / 2 ], 1000 * $oldest[-1], $seconds[ $#seconds / 2 ]);
    note($text);
    append_to_file($ENV{PGVIGIL_LOSS_REPORT}, $text) if $ENV{PGVIGIL_LOSS_REPORT};
    return;
}

1;
