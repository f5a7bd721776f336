# Several nodes of one cluster: one of them takes the scheduled backup, the one that is preferred where there is a
# choice, and a copy of the cluster never does.
use strict;
use warnings;
use PgVigil;
use PgVigil::Jobs;
use Test::More;

my $repository = new_repository('nodes', 'file');
my $primary = new_node('nodes_primary', repository => $repository, settings => {
    checkpoint_completion_target => '0',
    'pgvigil.full_schedule' => '0 2 * * *',
    'pgvigil.backup_from' => 'any' });
fill_tables($primary);
backup_now($primary);
wait_for_run($primary, q(trigger = 'manual'));
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('nodes_standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
ok(-e $standby->data_dir . '/pgvigil.jobs', "pg_basebackup has copied the primary's file");
$standby->start;
$primary->wait_for_catchup($standby, 'replay');
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
wait_for(sub { $standby->safe_psql('postgres', q(SELECT next_run IS NOT NULL FROM pgv_jobs WHERE job = 'full')) eq 't' }, "the standby's scheduler");
is(history($standby), '', "but the primary's history is not the standby's");

sub commits { return scalar(grep { m{/commits/.*\.json$} } $repository->objects); }

# Both have missed the same slot, and both want to make it up.
sub both_miss
{
    $_->stop for $standby, $primary;
    miss_slots($_, $repository, 'full') for $standby, $primary;
    $_->start for $primary, $standby;
    return;
}

# A backup from a standby needs WAL that an idle primary would not archive for a while.
sub wait_for_both
{
    my ($condition) = @_;
    for my $node ($primary, $standby)
    {
        wait_for(sub {
                switch_wal($primary);
                return $node->safe_psql('postgres', "SELECT count(*) FROM pgv_job_history WHERE trigger = 'schedule' AND $condition") > 0;
            }, $node->name . ' to know', 90);
    }
    return map { wait_for_run($_, "trigger = 'schedule' AND $condition") } $primary, $standby;
}

my $before = commits();
both_miss();
my ($id, $same) = wait_for_both(q(outcome = 'succeeded'));
is($same, $id, 'both know of the same backup');
for my $node ($primary, $standby)
{
    is($node->safe_psql('postgres', q(SELECT due_since IS NULL AND NOT running FROM pgv_jobs WHERE job = 'full')), 't', $node->name . ' has nothing left to do');
}
is(commits(), $before + 1, 'one backup for the slot');
my %slots = map { m{/jobs/full/([^~]+)~} ? ($1 => 1) : () } $repository->objects;
is(scalar(keys %slots), 1, 'one slot was claimed');

# A standby is preferred. While it shows that it lives nobody takes its job away; when it dies in the middle of it, the
# primary follows.
sub running { return $_[0]->safe_psql('postgres', q(SELECT running FROM pgv_jobs WHERE job = 'full')); }
set_and_reload($primary, 'pgvigil.backup_from' => 'standby', 'pgvigil.job_takeover_timeout' => '4s');
$standby->append_conf('postgresql.conf', "pgvigil.backup_from = standby\npgvigil.job_takeover_timeout = 4s\npgvigil.max_rate = 64kB\n");
$before = commits();
both_miss();
wait_for(sub { running($standby) eq 't' }, 'the standby to begin');
wait_for(sub { $primary->safe_psql('postgres', q(SELECT note FROM pgv_jobs WHERE job = 'full')) =~ /^runs on / }, 'the primary to leave it alone');
set_and_reload($primary, 'pgvigil.backup_from' => 'any');
wait_for(sub { $repository->matching(qr{/jobs/full/}) >= 7 }, 'signs of life for more than a term');
is(running($primary) . running($standby), 'ft', 'the standby runs it, and keeps it');
$standby->stop('immediate');
my $second = wait_for_run($primary, qq(trigger = 'schedule' AND outcome = 'succeeded' AND backup_id <> '$id'));
is($primary->safe_psql('postgres', qq(SELECT from_standby FROM pgv_backups WHERE backup_id = '$second')), 'f', 'the primary has taken it over');
%slots = map { m{/jobs/full/([^~]+)~} ? ($1 => 1) : () } $repository->objects;
is(scalar(keys %slots), 1, 'the same slot');
$standby->append_conf('postgresql.conf', "pgvigil.max_rate = 0\n");
$standby->start;
wait_for_run($standby, qq(trigger = 'schedule' AND backup_id = '$second'));
is(history($standby, q(outcome = 'interrupted')), 'full|schedule|interrupted', 'the standby knows what it began and who has ended it');
is(commits(), $before + 1, 'one backup for the slot');

# A copy of the cluster has the same schedule and missed the same slot.
my $copy = restored_node('nodes_copy', $repository);
$copy->start;
wait_for(sub { $copy->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'detached' }, 'the copy to be detached', 60);
$copy->stop;
miss_slots($copy, $repository, 'full');
$before = commits();
$copy->start;
wait_for(sub { $copy->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'detached' }, 'the copy to be detached', 60);
schedule_known($copy, 'verify', '0 0 1 1 *');
is(history($copy), '', 'a copy runs nothing');
is(commits(), $before, 'and makes no backup');

done_testing();
