# The webhook hears how every job ended. Its own failure is shown and harms nothing; its URL stays a secret.
use strict;
use warnings;
use PgVigil;
use PgVigil::Jobs;
use Test::More;

my $hook = listen_for_webhook();
my $repository = new_repository('webhook', 'file');
my $file = scratch_directory() . '/webhook';

sub write_hook
{
    my ($url, $mode) = @_;
    unlink $file;
    open(my $out, '>', $file) or die "$file: $!";
    print $out "$url\n";
    close($out);
    chmod($mode // 0600, $file);
    return;
}

write_hook($hook->url);
my $node = new_node('webhook', repository => $repository, settings => {
    'pgvigil.webhook_url_file' => $file });
fill_tables($node);
my $id = backup_now($node);
wait_for(sub { $hook->bodies == 1 }, 'the webhook to hear of it');
my ($body) = $hook->bodies;
is($body->{job}, 'full', 'the job');
is($body->{outcome}, 'succeeded', 'its outcome');
is($body->{trigger}, 'manual', 'who asked for it');
is($body->{backup_id}, $id, 'the backup');
is($body->{cluster}, 'webhook', 'the cluster');
is($body->{system_identifier}, $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'), 'its identifier');
ok($body->{bytes} > 0 && $body->{bytes_read} > $body->{bytes} && $body->{duration_seconds} >= 0, 'sizes and duration');
is($body->{error}, undef, 'no error');
like($body->{text}, qr/^pgvigil on webhook \(.+\): full backup $id succeeded, .* stored after /, 'a line for people');

# A failure.
my ($data) = glob($repository->directory . '/*/data');
set_and_reload($node, 'pgvigil.retry_timeout' => '0');
chmod 0500, $data;
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/Permission denied/, 'a backup without a place');
chmod 0700, $data;
wait_for(sub { $hook->bodies == 2 }, 'the webhook to hear of the failure');
$body = ($hook->bodies)[1];
is($body->{outcome}, 'failed', 'the failure');
like($body->{error}, qr/Permission denied/, 'and why');
like($body->{text}, qr/full backup failed.*: could not/, 'in words');

# Whoever asked for it; a dry run is no job.
$node->safe_psql('postgres', 'SELECT FROM pgv_expire()');
$node->safe_psql('postgres', 'SELECT FROM pgv_expire(dry_run => false)');
wait_for(sub { $hook->bodies == 3 }, 'the webhook to hear of an expiry by hand');
$body = ($hook->bodies)[2];
is("$body->{job} $body->{trigger} $body->{outcome}", 'expire manual succeeded', 'an expiry by hand');
is(history($node, q(job = 'expire')), 'expire|manual|succeeded', 'which stands in the history');

# Nobody listens any more: backups go on.
my $port = $hook->url =~ /:(\d+)/ ? $1 : die;
$hook->stop;
my $position = log_position($node);
backup_now($node) for 1 .. 2;
wait_for(sub { $node->safe_psql('postgres', 'SELECT DISTINCT webhook_error FROM pgv_jobs') =~ /could not connect/ }, 'the failure to be shown', 60);
is(history($node, q(job = 'full' AND outcome = 'succeeded')), join("\n", ('full|manual|succeeded') x 3), 'backups succeed whoever listens');
is($node->safe_psql('postgres', q(SELECT ok FROM pgv_check() WHERE "check" = 'pgvigil.webhook_url_file')), 'f', 'pgv_check() says so');
is(scalar(() = log_since($node, $position) =~ /could not tell the webhook/g), 1, 'logged once');

# Another one answers: what it says is not read, that it is content is enough.
my $heartbeat = listen_for_webhook(204);
write_hook($heartbeat->url);
backup_now($node);
wait_for(sub { $heartbeat->bodies > 0 }, 'the new webhook', 60);
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(webhook_error) FROM pgv_jobs') == 0 }, 'the failure to be over', 60);
is($node->safe_psql('postgres', q(SELECT ok FROM pgv_check() WHERE "check" = 'pgvigil.webhook_url_file')), 't', 'pgv_check() is content');

# Everybody could read the secret.
write_hook($heartbeat->url, 0644);
backup_now($node);
wait_for(sub { $node->safe_psql('postgres', 'SELECT DISTINCT webhook_error FROM pgv_jobs') =~ /may be read by others/ }, 'the file to be refused');
is($node->safe_psql('postgres', q(SELECT ok FROM pgv_check() WHERE "check" = 'pgvigil.webhook_url_file')), 'f', 'pgv_check() says so');
unlike(log_since($node, 0), qr/secret-token/, 'the URL is never logged');
unlike($node->safe_psql('postgres', 'SELECT string_agg(j::text, $$ $$) FROM pgv_jobs j'), qr/secret-token/, 'nor shown');

done_testing();
