# Beside pgBackRest: also_archive_command gives it every segment, and both can restore from what they have.
use strict;
use warnings;
use PgVigil;
use Cwd qw(abs_path);
use PostgreSQL::Test::Utils;
use Test::More;

my ($pgbackrest) = grep { -x } glob('/var/cache/pgvigil/pgbackrest-*/bin/pgbackrest'), '/usr/bin/pgbackrest';
$pgbackrest = $ENV{PGVIGIL_TEST_PGBACKREST} if $ENV{PGVIGIL_TEST_PGBACKREST};
plan skip_all => 'pgBackRest is not there (scripts/install-pgbackrest)' unless $pgbackrest;
plan skip_all => 'this pgBackRest does not know PostgreSQL ' . pg_major() if pg_major() >= 18 && qx($pgbackrest version) =~ / 2\.(?:[0-4]\d|5[0-4])/;

my $directory = scratch_directory();
my $repository = new_repository('beside', 'file');
my $node = new_node('beside', repository => $repository, start => 0);
my $configuration = "$directory/pgbackrest.conf";
append_to_file($configuration, "[global]\nrepo1-path=$directory/repo\nlog-path=$directory\nlock-path=$directory/lock\nspool-path=$directory/spool\n"
      . "log-level-console=warn\nlog-level-file=off\nstart-fast=y\ncompress-type=lz4\n\n"
      . "[main]\npg1-path=" . abs_path($node->data_dir) . "\npg1-port=" . $node->port . "\npg1-socket-path=" . $node->host . "\n");
my @command = ($pgbackrest, "--config=$configuration", '--stanza=main');
# Without the expanded command pgBackRest's check does not find itself.
$node->append_conf('postgresql.conf', "pgvigil.also_archive_command = '" . join(' ', @command) . " archive-push %p'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pgvigil');
fill_tables($node);

# The stanza does not exist yet: pgBackRest refuses, so the segment is not acknowledged although the repository has it.
my $position = log_position($node);
my $segment = switch_wal($node);
wait_for_log($node, qr/also_archive_command/, $position);
ok(!archived_through($node, $segment), 'both must succeed');
command_ok([ @command, 'stanza-create' ], 'stanza-create');
wait_for_archived($node, $segment);
ok($repository->has_segment($segment), 'pgvigil has the segment');
my ($pushed) = glob("$directory/repo/archive/main/*/*/$segment-*");
ok($pushed, 'pgBackRest has the segment');

# pgBackRest's check insists on seeing itself in archive_command. Version 15 allows that beside archive_library (and
# ignores it); from 16 on only one of them may be set, so there its look at the setting is switched off.
if (pg_major() == 15)
{
    set_and_reload($node, archive_command => "@command archive-push %p");
    command_ok([ @command, 'check' ], 'pgbackrest check');
}
else { command_ok([ @command, '--no-archive-check', 'check' ], 'pgbackrest check'); }
command_ok([ @command, '--no-archive-check', 'backup', '--type=full' ], 'pgbackrest backup');
my $id = backup_now($node);
$segment = wait_for_archived($node);
ok(scalar(glob("$directory/repo/archive/main/*/*/$segment-*")), 'later segments too');
my $expected = table_checksums($node);
$node->stop;

my $copy = restored_node('from_pgvigil', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'restored by pgvigil');
$copy->stop;

my $peer = PostgreSQL::Test::Cluster->new('from_pgbackrest');
command_ok([ @command, '--pg1-path=' . abs_path($peer->basedir) . '/pgdata', 'restore' ], 'pgbackrest restore');
mkdir $peer->backup_dir;
$peer->append_conf('postgresql.conf', 'port = ' . $peer->port . "\nunix_socket_directories = '" . $peer->host . "'\n");
start_copy($peer);
is_same_data($peer, $expected, 'restored by pgBackRest');

done_testing();
