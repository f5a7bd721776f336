# Two copies of one cluster take over from each other, back and forth on one timeline: each begins behind the newest
# segment both sides share, archives anew from there, and what is restored is the history of the last one alone. So it is
# where a writer was overtaken and has taken over again before it noticed.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my $repository = new_repository('back', 'file');
my $a = new_node('a', repository => $repository, initdb => ['--wal-segsize=1'], settings => { 'pgvigil.writer_term' => '3s' });
$a->safe_psql('postgres', 'CREATE TABLE history (server text, number int)');
backup_now($a);
sub work
{
    my ($server, $name, $rows) = @_;
    for my $number (1 .. $rows)
    {
        $server->safe_psql('postgres', "INSERT INTO history VALUES ('$name', $number); SELECT pg_switch_wal()");
    }
    return;
}
sub take_over { my ($server) = @_; return $server->safe_psql('postgres', q(SELECT pgv_take_over('test'))); }
sub rows { my ($server) = @_; return $server->safe_psql('postgres', q(SELECT string_agg(server || number, ',' ORDER BY ctid) FROM history)); }

work($a, 'common', 3);
wait_for_archived($a);
$a->stop;
my $b = copied_node('b', $a);
$a->start;
work($a, 'a', 4);
wait_for_archived($a);

# B is behind what A stored meanwhile: its own history begins at the copy.
$b->start;
is(take_over($b), 2, 'the copy takes over');
work($b, 'b', 3);
wait_for_archived($b);
my $second = (sort $repository->matching(qr{/epochs/}))[-1];
sub restored_rows
{
    my ($name) = @_;
    my $restored = restored_node($name, $repository);
    start_copy($restored);
    my $found = rows($restored);
    $restored->stop('immediate');
    return $found;
}
is(restored_rows('after_b'), rows($b), 'what is restored is the history of B');
unlike(rows($b), qr/\ba\d/, 'which has nothing of A');

# And back: A goes on with what it had when it was fenced. What it archived then is stored once more, as A's own.
wait_for(sub { $a->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'fenced' }, 'A to be fenced');
work($a, 'late', 2);
is(take_over($a), 3, 'A takes over again');
wait_for_archived($a);
# From here on the archiver alone has to store everything.
set_and_reload($a, 'pgvigil.stream_interval' => '0');
work($a, 'again', 2);
wait_for_archived($a);
wait_for_window($a, undef, 60);
is(restored_rows('after_a'), rows($a), 'what is restored is the history of A');
unlike(rows($a), qr/\bb\d/, 'which has nothing of B');

# B for a moment only: A has not noticed when it is the writer again, in an epoch in which it has archived nothing.
my $keeper = process_of($a, qr/pgvigil keeper/);
kill 'STOP', $keeper;
is(take_over($b), 4, 'B takes over');
is(take_over($a), 5, 'and A at once');
kill 'CONT', $keeper;
work($a, 'more', 1);
wait_for_archived($a);
ok(eval { wait_for_window($a, undef, 60) }, 'A archives once more what it has archived before') or diag($@);
is(restored_rows('at_once'), rows($a), 'what is restored is the history of A');
backup_now($a, 'full');
wait_for_archived($a);
is(restored_rows('after_backup'), rows($a), 'also from a new backup');
my $other = switch_wal($b);
sleep 1;
ok(!archived_through($b, $other), 'B acknowledges nothing');
$a->stop;
$b->stop;
done_testing();
