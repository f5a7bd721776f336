# A random plan of faults for the proxy between the server and its store: what a round meets.
package Loss::Faults;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(random_faults);

# Each of these may meet a request; the store has carried out the one whose answer is lost.
my @faults = (
    { action => 'status', status => 503 },
    { action => 'status', status => 500 },
    { action => 'reset' },
    { action => 'refuse' },
    { action => 'lose-answer' },
    { action => 'lose-answer' },
    { action => 'delay', seconds => 0.2 });

# Mostly what streaming writes; segments, signs of life and epochs, and what is read, now and then.
my @places = (
    ({ method => 'PUT', path => '/tail/' }) x 5,
    ({ method => 'PUT', path => '/wal/' }) x 2,
    { method => 'PUT', path => '/runs/' },
    { method => 'PUT', path => '/alive/' },
    { method => 'PUT', path => '/epochs/' },
    { method => 'GET' },
    { method => 'HEAD' });

sub random_faults
{
    return map { { %{ $faults[ rand @faults ] }, %{ $places[ rand @places ] }, skip => int(rand 25), count => 1 + int(rand 2) } } 1 .. 14;
}

1;
