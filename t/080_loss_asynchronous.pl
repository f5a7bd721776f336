# The machine is lost while it streams: what was acknowledged and is not in the store is younger than stream_interval and one
# PUT. PGVIGIL_LOSS_ROUNDS rounds, 3 when not set; test/loss/run goes on for as long as one likes.
use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../test/loss';
use Loss;
use Test::More;

run_losses(name => 'asynchronous', rounds => loss_rounds(3), interval => 200);

done_testing();
