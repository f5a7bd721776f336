# kill -9 of a restore with --delta, at several moments: no server starts on what it leaves, and the next --delta makes
# it whole. The same for a restore into an empty directory that is continued with --delta.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $repository = new_repository('interrupted');
my $node = new_node('interrupted', repository => $repository);
fill_tables($node, 200000);
backup_now($node);
$node->safe_psql('postgres', 'UPDATE items SET word = word || 1 WHERE id % 3 = 0');
backup_now($node, 'incremental');
my $expected = table_checksums($node);
wait_for_archived($node);
$node->stop;

# Starts a restore, kills it as soon as CONDITION holds, and says whether that ended it.
sub interrupted
{
    my ($directory, $condition, @arguments) = @_;
    my ($out, $err) = ('', '');
    my $handle = IPC::Run::start([ 'pgvigil', 'restore', '--repository', $repository->url, '-D', $directory, '--threads', '1', @arguments ],
        '<', \undef, '>', \$out, '2>', \$err);
    sleep(0.002) until $condition->($directory) || !$handle->pumpable;
    eval { $handle->signal('KILL') };
    eval { $handle->finish };
    # It may have ended by itself a moment before.
    return ($handle->full_results)[0] == 9;
}

my $copy = PostgreSQL::Test::Cluster->new('copy');
my $directory = $copy->data_dir;
my %moments = (
    'as soon as pg_control is put away' => sub { !-e "$_[0]/global/pg_control" && -e "$_[0]/global/pg_control.pgvigil" },
    'with the first files' => sub { -e "$_[0]/base/1/PG_VERSION" && !-e "$_[0]/global/pg_control" },
    'with the WAL' => sub { my @wal = glob("$_[0]/pg_wal/0*"); @wal && !-e "$_[0]/global/pg_control" });

my $killed = interrupted($directory, $moments{'with the first files'});
ok($killed, 'a restore into an empty directory was killed');
ok(!-e "$directory/global/pg_control", 'it cannot start');
my ($status, undef, $err) = restore($repository, $directory);
is($status, 4, 'without --delta the directory is not empty');
($status) = restore($repository, $directory, '--delta');
is($status, 0, 'with --delta it is continued');
verify_backup($directory, 'continued: pg_verifybackup');

for my $moment (sort keys %moments)
{
    # Something to do: a large file is written over, another one is gone, one is new.
    my ($large) = sort { -s $b <=> -s $a } glob("$directory/base/*/*");
    open(my $file, '+<:raw', $large) or die $!;
    print $file 'x' x (1024 * 1024);
    close $file;
    my ($gone) = glob("$directory/base/1/1*");
    unlink $gone;
    append_to_file("$directory/base/1/999999", 'x');
    my $ran = interrupted($directory, $moments{$moment}, '--delta');
    note("$moment: " . ($ran ? 'killed' : 'it had ended'));
    if ($ran)
    {
        ok(!-e "$directory/global/pg_control", "$moment: nothing that starts");
        my ($out, $why) = ('', '');
        IPC::Run::run([ 'postgres', '-D', $directory, '-p', '1' ], '<', \undef, '>', \$out, '2>', \$why, IPC::Run::timeout(60));
        isnt($?, 0, "$moment: the server refuses it");
        $killed++;
    }
    ($status) = restore($repository, $directory, '--delta');
    is($status, 0, "$moment: --delta again");
    verify_backup($directory, "$moment: pg_verifybackup");
}
cmp_ok($killed, '>=', 3, 'restores with --delta were killed on their way');
PgVigil::_own_address($copy);
start_copy($copy);
is_same_data($copy, $expected, 'in the end');

done_testing();
