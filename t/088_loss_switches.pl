# The machine is lost in synchronous mode while segments of 1 MB end many times a second: every acknowledged commit is in the
# store, whether its segment was complete there, only its tail, or in the middle of the change from one to the other.
# PGVIGIL_LOSS_ROUNDS rounds, 3 when not set; test/loss/run goes on for as long as one likes.
use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../test/loss';
use Loss;
use Test::More;

run_losses(name => 'switches', rounds => loss_rounds(3), synchronous => 1, clients => 6, segment_size => 1, burst => 1, interval => 50);

done_testing();
