# A primary that dies before it has archived what its standby has received.
package PgVigil::LeftBehind;

use strict;
use warnings;
use Exporter 'import';
use PgVigil;

our @EXPORT = qw(leave_segments_behind);

# leave_segments_behind(PRIMARY, STANDBY, REPOSITORY): the store, a directory, takes nothing more of timeline 1; the
# primary ends six segments, each with a row, and dies. Returns a function that lets the store take everything again,
# and the names of the segments.
sub leave_segments_behind
{
    my ($primary, $standby, $repository) = @_;
    # Nor what lies in directories that are still to be made.
    my ($object) = $repository->matching(qr{/wal/00000001/[0-9A-F]{8}/[0-9A-F]{24}$});
    my $directory = $repository->directory . '/' . $object =~ s{/[^/]+$}{}r;
    my $timeline = $directory =~ s{/[^/]+$}{}r;
    chmod(0555, $directory, $timeline) == 2 or die "could not change the mode of \"$directory\": $!";
    my @left;
    for my $number (1 .. 6)
    {
        $primary->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
        push @left, switch_wal($primary);
    }
    $primary->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
    $primary->wait_for_catchup($standby, 'replay');
    $primary->stop('immediate');
    return (sub { chmod(0755, $directory, $timeline); }, @left);
}

1;
