# The machine is lost in synchronous mode: every acknowledged commit is in the store, always.
# PGVIGIL_LOSS_ROUNDS rounds, 5 when not set; test/loss/run goes on for as long as one likes.
use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../test/loss';
use Loss;
use Test::More;

run_losses(name => 'synchronous', rounds => loss_rounds(5), synchronous => 1, clients => 8);

done_testing();
