# The wake-up by which the postmaster ends the archiver arrives while a file is being archived: it is not lost, and the
# server is down at once.
use strict;
use warnings;
use PgVigil;
use Test::More;
use Time::HiRes qw(time);

my $repository = new_repository('wakeup');
my $node = new_node('wakeup', repository => $repository, initdb => ['--wal-segsize=1'], start => 0, extension => 0,
    settings => { 'pgvigil.archive_look_ahead' => '1' });
my $library = $node->basedir . '/late_wakeup.so';
system('cc', '-shared', '-fPIC', '-O1', '-o', $library, 'test/fault/late_wakeup.c', '-ldl') == 0
    or die('could not compile test/fault/late_wakeup.c');

my $slowest = 0;
for my $round (1 .. 3)
{
    # The clients of the test keep their pace.
    local $ENV{LD_PRELOAD} = $library;
    $node->start;
    delete $ENV{LD_PRELOAD};
    $node->safe_psql('postgres', "CREATE TABLE t$round AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 60000) g");
    my $begin = time;
    # Longer than the archiver sleeps that has lost its wake-up.
    local $ENV{PGCTLTIMEOUT} = 100;
    $node->stop('fast');
    my $seconds = time - $begin;
    $slowest = $seconds if $seconds > $slowest;
}
cmp_ok($slowest, '<', 30, sprintf('no wake-up is lost: the slowest of the shutdowns took %.1f s', $slowest));

done_testing();
