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

# By schedule.
$node->stop;
miss_slots($node, $repository, 'verify');
$node->start;
wait_for_run($node, q(job = 'verify' AND outcome = 'succeeded'));
is($node->safe_psql('postgres', q(SELECT message FROM pgv_job_history WHERE job = 'verify')), '2 backups were read and checked', 'the job says what it did');

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
wait_for_run($node, q(job = 'verify' AND outcome = 'failed'));
like($node->safe_psql('postgres', q(SELECT last_error FROM pgv_jobs WHERE job = 'verify')), qr/1 object of a backup is missing or damaged.*\Q$pack\E/, 'the job fails and says where');
is($node->safe_psql('postgres', q(SELECT due_since IS NULL AND retry_at IS NULL FROM pgv_jobs WHERE job = 'verify')), 't', 'and is not tried again before its next time');

done_testing();
