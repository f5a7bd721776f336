# Verification: by SQL, by the program and by schedule. Whole backups pass, damage is named, and the job that finds it
# fails without being tried again.
use strict;
use warnings;
use JSON::PP;
use PgVigil;
use PgVigil::Jobs;
use Test::More;

my $repository = new_repository('verify', 'file');
my $node = new_node('verify', repository => $repository, settings => { 'pgvigil.verify_schedule' => '0 4 * * *' });
fill_tables($node);
my $full = backup_now($node);
$node->safe_psql('postgres', 'UPDATE items SET word = word WHERE id % 50 = 0');
my $increment = backup_now($node, 'incremental');
my @verify = ('verify', '--repository', $repository->url);

is($node->safe_psql('postgres', 'SELECT backup, ok, problem IS NULL FROM pgv_verify()'), "$increment|t|t\n$full|t|t", 'all backups, newest first');
is($node->safe_psql('postgres', "SELECT backup FROM pgv_verify('$full') WHERE objects > 3 AND bytes > 100000"), $full, 'one of them');
my ($status, $out) = pgvigil(@verify, '--json');
is($status, 0, 'the program agrees');
is(join(' ', map { "$_->{backup} $_->{ok}" } @{ decode_json($out)->{backups} }), "$increment 1 $full 1", 'and lists them');
($status, $out) = pgvigil(@verify, '--backup', $increment);
like($out, qr/^$increment  ok .*\n$full  ok /m, 'a backup and the one it is built on');
is((pgvigil(@verify, '--backup', '20200101T000000F'))[0], 3, 'a backup that is not there');
sql_fails($node, q(SELECT pgv_verify('20200101T000000F')), qr/there is no backup/, 'nor for SQL');
wait_for(sub { history($node, q(job = 'verify')) eq "verify|manual|succeeded\nverify|manual|succeeded\nverify|manual|failed" }, 'the history of what SQL asked for');
is($node->safe_psql('postgres', q(SELECT string_agg(backup_id, ' ' ORDER BY ended_at) FROM pgv_job_history WHERE outcome = 'succeeded' AND job = 'verify' AND bytes > 100000 AND backup_id <> '')), $full, 'with its facts');
# A session that dies leaves no job behind that seems to run.
my $session = $node->background_psql('postgres', on_error_stop => 0);
set_and_reload($node, 'pgvigil.max_rate' => '16kB');
$session->query_until(qr/started/, "\\echo started\nSELECT * FROM pgv_verify();\n");
wait_for(sub { $node->safe_psql('postgres', q(SELECT running FROM pgv_jobs WHERE job = 'verify')) eq 't' }, 'the verification to be shown');
$node->safe_psql('postgres', q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pgv_verify%' AND pid <> pg_backend_pid()));
wait_for(sub { $node->safe_psql('postgres', q(SELECT running FROM pgv_jobs WHERE job = 'verify')) eq 'f' }, 'its end');
is($node->safe_psql('postgres', q(SELECT outcome FROM pgv_job_history WHERE job = 'verify' ORDER BY ended_at DESC LIMIT 1)), 'failed', 'which is in the history');
eval { $session->quit };
set_and_reload($node, 'pgvigil.max_rate' => '0');

# By schedule.
$node->stop;
miss_slots($node, $repository, 'verify');
$node->start;
wait_for_run($node, q(job = 'verify' AND trigger = 'schedule' AND outcome = 'succeeded'));
is($node->safe_psql('postgres', q(SELECT message FROM pgv_job_history WHERE job = 'verify' AND trigger = 'schedule')), '2 backups were read and checked', 'the job says what it did');

# An expiry does not wait for a verification. It becomes due while only the scheduler is away.
set_and_reload($node, 'pgvigil.max_rate' => '16kB');
schedule_known($node, 'expire', '0 3 * * *');
$node->stop;
miss_slots($node, $repository, 'verify');
$node->start;
wait_for(sub { $node->safe_psql('postgres', q(SELECT running FROM pgv_jobs WHERE job = 'verify')) eq 't' }, 'a long verification');
my $scheduler = process_of($node, qr/pgvigil scheduler/);
kill 'TERM', $scheduler;
wait_for(sub { !kill(0, $scheduler) }, 'the scheduler to go');
set_handled($node, 'expire');
wait_for_run($node, q(job = 'expire' AND trigger = 'schedule' AND outcome = 'succeeded'));
is($node->safe_psql('postgres', q(SELECT running FROM pgv_jobs WHERE job = 'verify')), 't', 'the verification still runs when an expiry has ended');
set_and_reload($node, 'pgvigil.max_rate' => '0');

# One byte in the middle of a pack.
my ($pack) = $repository->matching(qr{/data/$full/});
my $path = $repository->directory . "/$pack";
chmod 0600, $path;
open(my $file, '+<:raw', $path) or die "$path: $!";
seek($file, (-s $path) / 2, 0);
read($file, my $byte, 1);
seek($file, (-s $path) / 2, 0);
print $file chr(ord($byte) ^ 1);
close($file);
($status, $out) = pgvigil(@verify);
is($status, 1, 'damage has an exit code of its own');
like($out, qr/^$increment  ok /m, 'the other backup is whole');
like($out, qr/^$full  DAMAGED .*\n  \Q$pack\E: its SHA-256/m, 'the object is named');
is($node->safe_psql('postgres', 'SELECT backup, object FROM pgv_verify() WHERE object IS NOT NULL'), "$full|$pack", 'SQL names it too');
$node->stop;
miss_slots($node, $repository, 'verify');
$node->start;
wait_for_run($node, q(job = 'verify' AND trigger = 'schedule' AND outcome = 'failed'));
# The history knows a moment before the view of the jobs, which may still show the run that the stop ended.
ok(wait_for(sub { $node->safe_psql('postgres', q(SELECT last_error FROM pgv_jobs WHERE job = 'verify')) =~ /1 object of a backup is missing or damaged.*\Q$pack\E/ },
        'the error of the verification'), 'the job fails and says where');
is($node->safe_psql('postgres', q(SELECT due_since IS NULL AND retry_at IS NULL FROM pgv_jobs WHERE job = 'verify')), 't', 'and is not tried again before its next time');

done_testing();
