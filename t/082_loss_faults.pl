# The machine is lost in synchronous mode while the store answers 503, resets connections and drops answers after it has
# stored, and while segments end many times a second: still every acknowledged commit is in the store.
# PGVIGIL_LOSS_ROUNDS rounds of each, 5 and 2 when not set.
use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../test/loss';
use Loss;
use PgVigil;
use Test::More;

needs_s3();
run_losses(name => 'faults', rounds => loss_rounds(5), synchronous => 1, clients => 6, kind => 's3', faults => 1);
run_losses(name => 'switches', rounds => loss_rounds(2), synchronous => 1, clients => 6, segment_size => 1, burst => 1, interval => 50);

done_testing();
