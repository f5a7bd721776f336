# The machine is lost in synchronous mode while the store answers 503, resets connections and drops answers after it has
# stored: still every acknowledged commit is in the store.
# PGVIGIL_LOSS_ROUNDS rounds, 5 when not set; test/loss/run goes on for as long as one likes.
use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../test/loss';
use Loss;
use PgVigil;
use Test::More;

needs_s3();
run_losses(name => 'faults', rounds => loss_rounds(5), synchronous => 1, clients => 6, kind => 's3', faults => 1);

done_testing();
