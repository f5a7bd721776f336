# Random histories with backups in them: what pgvigil restores equals the primary. Fixed seeds; test/differential/run
# goes on for as long as one likes.
use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../test/differential';
use Differential;
use PgVigil;
use Test::More;

if (my $wanted = $ENV{PGVIGIL_DIFFERENTIAL})
{
    my ($seed, $rounds, $operations, $hashes, $failover) = split ' ', $wanted;
    my @every = (1 .. $rounds);
    run_differential(
        seed => $seed, rounds => $rounds, operations => $operations, hashes => $hashes, native => \@every,
        failover => [ $failover ? grep { $_ > 1 && $_ % $failover == 0 } @every : () ]);
}
else
{
    run_differential(seed => 1, rounds => 3, operations => 20, native => [3], failover => [2]);
    run_differential(seed => 2, rounds => 2, operations => 16, hashes => 1) if pg_major() >= 17;
}

done_testing();
