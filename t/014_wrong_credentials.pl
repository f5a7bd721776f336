# Wrong credentials: a clear error with the store's own code, nothing lost, and everything goes on once they are right.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

needs_s3();
my $repository = new_repository('credentials', 's3');
my ($key, $secret) = @ENV{qw(AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY)};
delete @ENV{qw(AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY)};

my $file = scratch_directory() . '/credentials';

sub write_credentials
{
    my ($wanted_key, $wanted_secret) = @_;
    unlink $file;
    append_to_file($file, "[default]\naws_access_key_id = $wanted_key\naws_secret_access_key = $wanted_secret\n");
    chmod 0600, $file;
    return;
}

write_credentials($key, 'not-the-secret-of-anybody');
my $node = new_node('credentials', repository => $repository,
    settings => { 'pgvigil.credentials_file' => $file, 'pgvigil.retry_timeout' => '2s' });
my $segment = switch_wal($node);
my $log = wait_for_log($node, qr/SignatureDoesNotMatch/);
like($log, qr/SignatureDoesNotMatch.*/, 'the error carries the code of the store');
unlike($log, qr/not-the-secret/, 'but not the secret');
ok(!archived_through($node, $segment), 'nothing is acknowledged');
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/SignatureDoesNotMatch|access denied/i, 'a backup');
like($node->safe_psql('postgres', 'SELECT last_error FROM pgv_repositories'), qr/SignatureDoesNotMatch/, 'pgv_repositories shows it');

# The program says the same.
{
    local $ENV{AWS_SHARED_CREDENTIALS_FILE} = $file;
    my ($status, $out, $err) = pgvigil('list', '--repository', $repository->url);
    isnt($status, 0, 'the program fails');
    like($err, qr/SignatureDoesNotMatch/, 'with the code of the store');
    unlike("$out$err", qr/not-the-secret/, 'without the secret');
}

# An unknown key, then the right ones: no restart, no reload.
write_credentials('UNKNOWNKEY', $secret);
wait_for_log($node, qr/InvalidAccessKeyId/);
pass('an unknown key is named by its code');
write_credentials($key, $secret);
wait_for_archived($node, $segment);
ok($repository->has_segment($segment), 'the segment that waited has arrived');
{
    local @ENV{qw(AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY)} = ($key, $secret);
    backup_now($node);
}
unlike(log_since($node, 0), qr/\Q$secret\E/, 'the secret is nowhere in the log');
for my $view (qw(pgv_status pgv_repositories pgv_archiver))
{
    unlike($node->safe_psql('postgres', "SELECT to_jsonb(v) FROM $view v"), qr/\Q$secret\E/, "nor in $view");
}

# A wrong bucket and an untrusted certificate have errors of their own.
{
    local @ENV{qw(AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY)} = ($key, $secret);
    my ($status, undef, $err) = pgvigil('list', '--repository', $repository->url =~ s{s3://[^/]+/}{s3://no-such-bucket-here/}r);
    isnt($status, 0, 'a bucket that does not exist');
    like($err, qr/NoSuchBucket|no-such-bucket-here/, 'is named');
    SKIP:
    {
        skip 'no certificate of our own', 2 unless $repository->url =~ /ca_file/;
        ($status, undef, $err) = pgvigil('list', '--repository', $repository->url =~ s/&ca_file=[^&]*//r);
        isnt($status, 0, 'an untrusted certificate');
        like($err, qr/certificate/i, 'is called by its name');
    }
}

done_testing();
