# Scheduled jobs: a run that was missed is made up once, a full one serves for an incremental one, every backup
# stands in the history, a reload changes the schedule, and a scheduled expiry deletes what it may without a word.
use strict;
use warnings;
use PgVigil;
use PgVigil::Jobs;
use Test::More;

my $repository = new_repository('schedule', 'file');
# The spread checkpoint of a scheduled backup takes as long as it may.
my $node = new_node('schedule', repository => $repository, first_backup => 1, settings => {
    checkpoint_completion_target => '0',
    'pgvigil.full_schedule' => '0 2 * * *',
    'pgvigil.incremental_schedule' => '0 2 * * 1-6',
    'pgvigil.schedule_time_zone' => 'Europe/Berlin' });
fill_tables($node);
my $first = wait_for_run($node, q(trigger = 'first backup'));
is($node->safe_psql('postgres', 'SELECT string_agg(DISTINCT backup_id, $$ $$) FROM pgv_backups'), $first, 'the first backup is in the history');
is($node->safe_psql('postgres', q(SELECT schedule || ' ' || time_zone FROM pgv_jobs WHERE job = 'full')), '0 2 * * * Europe/Berlin', 'the schedule is shown');
is($node->safe_psql('postgres', q(SELECT next_run > now() AND next_run <= now() + '25 hours' AND extract(hour FROM next_run AT TIME ZONE 'Europe/Berlin') = 2 FROM pgv_jobs WHERE job = 'full')), 't', 'the next run');
is($node->safe_psql('postgres', q(SELECT schedule IS NULL AND next_run IS NULL FROM pgv_jobs WHERE job = 'verify')), 't', 'no schedule, no next run');
# What lies before the first start was not missed.
is(history($node), 'full|first backup|succeeded', 'nothing else ran');

# Forty days of both schedules are missed: one backup makes up for all of them, and it is a full one.
$node->stop;
miss_slots($node, $repository, 'full', 'incremental');
$node->start;
my $id = wait_for_run($node, q(trigger = 'schedule' AND outcome = 'succeeded'));
like($id, qr/F$/, 'the missed run is made up by a full backup');
is($node->safe_psql('postgres', "SELECT scheduled_for = (SELECT max(t) FROM generate_series(date_trunc('day', now() AT TIME ZONE 'Europe/Berlin') - interval '2 days' + interval '2 hours', now() AT TIME ZONE 'Europe/Berlin', interval '1 day') t) AT TIME ZONE 'Europe/Berlin' FROM pgv_job_history WHERE backup_id = '$id'"), 't', 'for the newest slot');
is($node->safe_psql('postgres', "SELECT bytes > 0 AND node IS NOT NULL AND ended_at >= started_at FROM pgv_job_history WHERE backup_id = '$id'"), 't', 'with its facts');
is($node->safe_psql('postgres', "SELECT annotations ->> 'pgvigil.reason' FROM pgv_backups WHERE backup_id = '$id'"), 'schedule', 'the backup says why it was made');
my @claims = $repository->matching(qr{/jobs/full/});
is(scalar(@claims), 2, 'claimed and ended in the repository');

# Not again, after a restart nor after a reload.
$node->restart;
wait_for(sub { $node->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'writer' }, 'the role');
schedule_known($node, 'full', '5 2 * * *');
is(history($node, q(trigger = 'schedule')), 'full|schedule|succeeded', 'it was made up once');
is($node->safe_psql('postgres', q(SELECT due_since IS NULL AND NOT running AND extract(minute FROM next_run) = 5 AND last_outcome = 'succeeded' AND failures = 0 FROM pgv_jobs WHERE job = 'full')), 't', 'the new schedule looks forward only');

# A backup by hand is in the history as well; one that is cancelled too.
my $manual = backup_now($node);
wait_for_run($node, "backup_id = '$manual' AND trigger = 'manual' AND outcome = 'succeeded'");
pass('a backup by hand is in the history');
# A setting that came by the file system is not refused before it is read.
$node->append_conf('postgresql.auto.conf', "pgvigil.full_schedule = '0 25 * * *'\n");
$node->reload;
wait_for(sub { log_since($node, 0) =~ /invalid value for parameter "pgvigil.full_schedule".*\n.*Field 2 \(hour\): 25 is not between 0 and 23/ }, 'the log to say what is wrong');
is($node->safe_psql('postgres', q(SELECT schedule FROM pgv_jobs WHERE job = 'full')), '5 2 * * *', 'a schedule that makes no sense changes nothing');

# Expiry by schedule: nobody is there to confirm that over half of the backups go.
sub expire_with
{
    my (%settings) = @_;
    set_and_reload($node, 'pgvigil.retention_window' => '0', %settings);
    schedule_known($node, 'expire', '0 3 * * *');
    $node->stop;
    miss_slots($node, $repository, 'expire');
    $node->start;
    wait_for_run($node, q(job = 'expire' AND started_at >= pg_postmaster_start_time()));
    return $node->safe_psql('postgres', q(SELECT trigger || '|' || outcome || '|' || (bytes > 0) || '|' || (scheduled_for IS NOT NULL) || '|' || coalesce(message, '') FROM pgv_job_history WHERE job = 'expire' ORDER BY ended_at DESC LIMIT 1));
}
sub stored { return join ' ', sort map { m{/commits/(.*)\.json$} } $repository->objects; }
is(stored(), "$first $id $manual", 'three backups');
like(expire_with('pgvigil.retention_fulls' => '1'), qr/^schedule\|failed\|false\|true\|.*would delete 2 of the 3 backups/, 'a scheduled expiry of over half of the backups refuses');
is(stored(), "$first $id $manual", 'and has deleted nothing');
like(expire_with('pgvigil.retention_fulls' => '2'), qr/^schedule\|succeeded\|true\|true\|[1-9]\d* objects were deleted/, 'a scheduled expiry of less');
is(stored(), "$id $manual", 'deletes what is not kept');
is(scalar($repository->matching(qr{/(?:data|files|attempts)/\Q$first\E})), 0, 'and leaves nothing of it');
wait_for(sub { $node->safe_psql('postgres', q(SELECT string_agg(DISTINCT backup_id, ' ' ORDER BY backup_id) FROM pgv_backups)) eq "$id $manual" }, 'the views to know');

# The file belongs to this server alone.
is(scalar(grep { m{pgvigil\.jobs} } map { $_ } qx(ls @{[$node->data_dir]})), 1, 'the history stands in a file');
my $copy = restored_node('schedule_copy', $repository);
ok(!-e $copy->data_dir . '/pgvigil.jobs', 'which is no part of a backup');

done_testing();
