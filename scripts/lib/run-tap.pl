#!/usr/bin/env perl
# Runs TAP test files in parallel and says how many assertions passed and failed. A file that dies, times out or breaks
# its plan counts as one more failure.
#
# usage: run-tap.pl JOBS RESULT-FILE LIBRARY-DIRECTORIES(:) FILE...
use strict;
use warnings;
use TAP::Harness;

my ($jobs, $result_file, $libraries, @files) = @ARGV;
my $harness = TAP::Harness->new({
    jobs      => $jobs,
    lib       => [split /:/, $libraries],
    timer     => 1,
    verbosity => 0,
    merge     => 0,
    # A hanging file must not hang the run; INT lets the file stop its servers.
    exec      => ['timeout', '-s', 'INT', '-k', '20', $ENV{PGVIGIL_TAP_TIMEOUT} || '900', $^X, map { "-I$_" } split /:/, $libraries],
});
my $aggregate = $harness->runtests(@files);

my $passed = $aggregate->passed;
my $failed = $aggregate->failed;
for my $parser ($aggregate->parsers) {
    # `failed` lists numbered assertions only; an exit status or a broken plan without one is a failure as well.
    $failed++ if $parser->has_problems && !$parser->failed;
    # A file that is skipped as a whole tested nothing: it counts for neither side.
}
open(my $out, '>', $result_file) or die "could not write \"$result_file\": $!";
print $out "$passed $failed\n";
close($out) or die "could not write \"$result_file\": $!";
exit($failed ? 1 : 0);
