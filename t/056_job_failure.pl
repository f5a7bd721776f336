# A scheduled backup that fails is tried again, and says so; one that a crash interrupts is run again; one that an
# operator cancels is not.
use strict;
use warnings;
use PgVigil;
use PgVigil::Jobs;
use Test::More;

my $repository = new_repository('failure', 'file');
my $node = new_node('failure', repository => $repository, settings => {
    checkpoint_completion_target => '0',
    'pgvigil.full_schedule' => '0 2 * * *',
    'pgvigil.retry_timeout' => '0' });
fill_tables($node);
backup_now($node);
my ($data) = glob($repository->directory . '/*/data');
ok(-d $data, 'there are packs');
wait_for_run($node, q(trigger = 'manual'));
$node->stop;
miss_slots($node, $repository, 'full');
chmod 0500, $data;
$node->start;
wait_for_run($node, q(trigger = 'schedule' AND outcome = 'failed'));
like($node->safe_psql('postgres', q(SELECT last_error FROM pgv_jobs WHERE job = 'full')), qr/could not .*Permission denied/, 'the failure is shown');
is($node->safe_psql('postgres', q(SELECT failures > 0 AND last_outcome = 'failed' AND due_since IS NOT NULL AND retry_at > now() - interval '1 minute' FROM pgv_jobs WHERE job = 'full')), 't', 'and when it is tried again');
chmod 0700, $data;
wait_for_run($node, q(trigger = 'schedule' AND outcome = 'succeeded'));
is($node->safe_psql('postgres', q(SELECT failures = 0 AND last_error IS NULL AND due_since IS NULL AND retry_at IS NULL FROM pgv_jobs WHERE job = 'full')), 't', 'all is well again');
like(history($node, q(trigger = 'schedule')), qr/^(?:full\|schedule\|failed\n)+full\|schedule\|succeeded$/, 'both stand in the history');

# A crash in the middle of a scheduled backup.
$node->stop;
miss_slots($node, $repository, 'full');
$node->append_conf('postgresql.conf', "pgvigil.max_rate = 200kB\n");
$node->start;
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pgv_progress WHERE bytes_done > 0)) == 1 }, 'a scheduled backup to run');
is($node->safe_psql('postgres', q(SELECT running AND running_since IS NOT NULL FROM pgv_jobs WHERE job = 'full')), 't', 'it is shown as running');
# It is not started again while it runs, and nothing else is.
schedule_known($node, 'verify', '0 0 1 1 *');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_progress)), 1, 'one backup runs');
sql_fails($node, 'SELECT pgv_backup_now()', qr/a backup is already running/, 'one by hand has to wait');
$node->stop('immediate');
$node->append_conf('postgresql.conf', "pgvigil.max_rate = 0\n");
$node->start;
wait_for_run($node, q(trigger = 'schedule' AND outcome = 'interrupted'));
my $id = wait_for_run($node, q(trigger = 'schedule' AND outcome = 'succeeded' AND started_at > (SELECT max(started_at) FROM pgv_job_history WHERE outcome = 'interrupted')));
like($id, qr/F$/, 'what a crash interrupted is run again at once');

# What an operator cancels is done with.
$node->stop;
miss_slots($node, $repository, 'full');
$node->append_conf('postgresql.conf', "pgvigil.max_rate = 200kB\n");
$node->start;
wait_for(sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pgv_progress WHERE bytes_done > 0)) == 1 }, 'a scheduled backup to run');
is($node->safe_psql('postgres', 'SELECT pgv_cancel_backup()'), 't', 'cancelled');
wait_for_run($node, q(trigger = 'schedule' AND outcome = 'cancelled'));
is($node->safe_psql('postgres', q(SELECT due_since IS NULL FROM pgv_jobs WHERE job = 'full')), 't', 'it is not tried again');

done_testing();
