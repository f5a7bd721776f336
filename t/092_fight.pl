# Two copies of one cluster fight for one repository: in turn, and sometimes at the same moment, each takes over, while
# the other is stopped in the middle of whatever it does and goes on later. After every round a restore shows the history
# of the rightful writer and nothing of the other's, and the rightful writer is never stuck. (t/097 does so where writes
# arrive late.)
use strict;
use warnings;
use PgVigil;
use PgVigil::Fight;
use Time::HiRes qw(usleep);
use Test::More;

my $fight = PgVigil::Fight->new(new_repository('fight', 'file'), 4);
for my $round (1 .. $fight->rounds)
{
    my ($winner, $loser) = rand() < 0.5 ? ('a', 'b') : ('b', 'a');
    $fight->work($loser, 3);
    if (rand() < 0.7)
    {
        $fight->stand_still($loser);
        usleep(int(rand(400_000)));
    }
    elsif (rand() < 0.5)
    {
        # Both at once: whoever comes last is the writer.
        $fight->take_over($loser);
    }
    $fight->work($winner, 3);
    $fight->take_over($winner);
    $fight->superseded;
    $fight->work($winner, 2);
    usleep(int(rand(600_000)));
    $fight->go_on;
    $fight->work($loser, 4);
    $fight->is_history_of($round, $winner);
    $fight->mark($loser);
    $fight->acknowledges_nothing($round, $loser);
    $fight->end_of_round($round, $loser);
}
$fight->finish;
done_testing();
