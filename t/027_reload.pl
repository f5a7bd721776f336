# Settings change by reload: another repository takes over without a restart, malformed values are refused with the
# value and what was expected, an unset repository says what to do and loses nothing.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $one = new_repository('one', 'file');
my $two = new_repository('two', 'file');
my $node = new_node('reload', repository => undef, initdb => ['--wal-segsize=1']);
my $segment = switch_wal($node);
wait_for_log($node, qr/pgvigil\.repository/);
ok(!archived_through($node, $segment), 'without a repository nothing is acknowledged');
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/pgvigil\.repository/, 'without a repository: a backup');
my $row = $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_status');
is($row, 1, 'pgv_status has its row all the same');

set_and_reload($node, 'pgvigil.repository' => $one->url);
wait_for_archived($node, $segment);
ok($one->has_segment($segment), 'set by reload: what waited arrives');
backup_now($node);

# Another one by reload has to be accepted: it might be a mistyped one.
my $position = log_position($node);
set_and_reload($node, 'pgvigil.repository' => $two->url);
my $held = switch_wal($node);
wait_for_log($node, qr/pgv_accept_repository/, $position);
ok(!archived_through($node, $held), 'another repository is not used before it is accepted');
is(join(' ', $two->objects), '', 'nor written to');
$node->safe_psql('postgres', 'SELECT pgv_accept_repository()');
wait_for_archived($node, $held);
my $next = wait_for_archived($node);
ok($two->has_segment($next), 'the new repository gets the WAL');
ok(!$one->has_segment($next), 'the old one does not');
my $id = backup_now($node);
is(scalar($two->matching(qr{/commits/\Q$id\E})), 1, 'and the backups');

# Compression by reload; the same segment in any of them is the same content.
for my $compression ('none', 'lz4', 'zstd:3')
{
    set_and_reload($node, 'pgvigil.compression' => $compression);
    my $with = wait_for_archived($node);
    my $file = $node->basedir . "/$compression";
    my ($status) = pgvigil('wal-get', '--repository', $two->url, $with, $file);
    is($status, 0, "$compression: readable");
    is(-s $file, 1024 * 1024, "$compression: whole");
}

# Malformed values.
for my $case (
    [ 'pgvigil.repository', 'ftp://x/y', qr/file:\/\/|s3:\/\// ], [ 'pgvigil.repository', 'file://relative', qr/relative|absolute/ ],
    [ 'pgvigil.repository', 's3://bucket/p?colour=blue', qr/colour/ ], [ 'pgvigil.repository', 's3://key:secret@bucket/p', qr/secret|credential/i ],
    [ 'pgvigil.compression', 'gzip', qr/gzip/ ], [ 'pgvigil.compression', 'zstd:99', qr/99/ ],
    [ 'pgvigil.archive_look_ahead', '0', qr/outside the valid range/ ], [ 'pgvigil.required_repositories', 'most', qr/most/ ],
    [ 'pgvigil.credentials_file', 'relative/path', qr/relative/ ], [ 'pgvigil.no_such_setting', '1', qr/no_such_setting/ ])
{
    my ($name, $value, $pattern) = @$case;
    sql_fails($node, "ALTER SYSTEM SET $name = '$value'", $pattern, "$name = $value");
}
my $last = wait_for_archived($node);
ok($two->has_segment($last), 'refused values change nothing');

# A repository inside the data directory would back itself up.
sql_fails($node, qq(ALTER SYSTEM SET pgvigil.repository = 'file://${\ $node->data_dir}/inside'; SELECT pg_reload_conf(); SELECT pg_sleep(1); SELECT pgv_backup_now('full')),
    qr/data directory/, 'a repository inside the data directory')
  if $node->data_dir =~ m{^/};

done_testing();
