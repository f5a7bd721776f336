# What the scenarios share: clusters with pgvigil, repositories, waiting, backing up, restoring and comparing.
#
# Nothing here sleeps for a fixed time: everything polls with a deadline that is generous because test machines are
# slow. Data directories, repositories and logs lie below the directories of PostgreSQL::Test::Utils and go away with
# them.
package PgVigil;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use IPC::Run;
use Test::More;
use Time::HiRes qw(sleep time);

BEGIN
{
    # Outside of PGXS's and scripts/test's environment the installation in PATH is the one that is tested.
    if (!defined $ENV{PG_REGRESS})
    {
        my $pgxs = qx(pg_config --pgxs);
        chomp $pgxs;
        ($ENV{PG_REGRESS} = $pgxs) =~ s{/makefiles/pgxs\.mk$}{/test/regress/pg_regress};
    }
}
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PgVigil::Load;
use PgVigil::Repository;

our @EXPORT = qw(
  wait_for scratch_directory pg_major new_node new_standby promote new_repository needs_s3 repository_kinds
  fill_tables refresh pgbench_load current_segment switch_wal archived_through wait_for_archived backup_now wait_for_backup
  pgvigil restore restored_node copied_node start_copy start_copy_fails set_and_reload
  table_checksums is_same_data verify_backup log_position log_since wait_for_log answer_of sql_fails process_of
);

my $default_timeout = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180;

# wait_for(CONDITION, WHAT, [SECONDS]): polls until the condition returns true and returns what it returned.
sub wait_for
{
    my ($condition, $what, $timeout) = @_;
    my $deadline = time() + ($timeout // $default_timeout);
    my $pause = 0.02;
    while (1)
    {
        my $value = $condition->();
        return $value if $value;
        die "timed out waiting for $what" if time() > $deadline;
        sleep($pause);
        $pause = $pause < 0.2 ? $pause * 1.3 : 0.2;
    }
}

# An empty directory that goes away with the test.
sub scratch_directory
{
    return abs_path(PostgreSQL::Test::Utils::tempdir());
}

sub pg_major
{
    my ($version) = qx(pg_config --version) =~ /(\d+)/;
    return $version;
}

# new_repository(NAME, [KIND]): an empty repository. Without a kind it is a directory, or S3 when PGVIGIL_TEST_STORE
# says so.
sub new_repository
{
    my ($name, $kind) = @_;
    return PgVigil::Repository->new($name, $kind // $ENV{PGVIGIL_TEST_STORE} // 'file');
}

# The kinds of repository that can be tested here.
sub repository_kinds
{
    return PgVigil::Repository->s3_available ? ('file', 's3') : ('file');
}

# Skips the whole file when there is no S3 server.
sub needs_s3
{
    plan skip_all => 'needs an S3 server: PGVIGIL_TEST_S3_ENDPOINT (scripts/rados-gateway start DIR)'
      unless PgVigil::Repository->s3_available;
    return;
}

# new_node(NAME, repository => R | [R…] | undef, settings => {NAME => VALUE}, initdb => […], conf => TEXT, start => 1,
# extension => 1, first_backup => 0): an initialised, running cluster that archives into the repositories. Page checksums are on.
sub new_node
{
    my ($name, %options) = @_;
    my $node = PostgreSQL::Test::Cluster->new($name);
    $node->init(allows_streaming => 1, extra => [ '-k', @{ $options{initdb} // [] } ]);
    my @repositories = ref($options{repository}) eq 'ARRAY' ? @{ $options{repository} } : ($options{repository} // ());
    my %settings = (
        'pgvigil.repository' => join(', ', map { $_->url } @repositories),
        'pgvigil.auto_first_backup' => $options{first_backup} ? 'on' : 'off',
        # Whatever the hour at which the tests run.
        (map { ("pgvigil.${_}_schedule" => '') } qw(full incremental expire verify)),
        %{ $options{settings} // {} });
    my $conf = <<"C";
shared_preload_libraries = 'pgvigil'
archive_mode = on
archive_library = 'pgvigil'
restart_after_crash = on
shared_buffers = 16MB
max_connections = 30
log_statement = none
C
    $conf .= "summarize_wal = on\n" if pg_major() >= 17;
    $conf .= "$_ = '" . ($settings{$_} =~ s/'/''/gr) . "'\n" for sort keys %settings;
    $node->append_conf('postgresql.conf', $conf . ($options{conf} // ''));
    if ($options{start} // 1)
    {
        $node->start;
        $node->safe_psql('postgres', 'CREATE EXTENSION pgvigil') if $options{extension} // 1;
    }
    return $node;
}

# new_standby(PRIMARY): a running standby that streams from PRIMARY and has replayed what is there.
sub new_standby
{
    my ($primary) = @_;
    $primary->backup('base');
    my $standby = PostgreSQL::Test::Cluster->new('standby');
    $standby->init_from_backup($primary, 'base', has_streaming => 1);
    $standby->start;
    $primary->wait_for_catchup($standby, 'replay');
    return $standby;
}

# promote(STANDBY): returns once its recovery has ended.
sub promote
{
    my ($standby) = @_;
    $standby->promote;
    wait_for(sub { $standby->safe_psql('postgres', 'SELECT NOT pg_is_in_recovery()') eq 't' }, 'the promotion');
    return;
}

# set_and_reload(NODE, NAME => VALUE, …): through ALTER SYSTEM; returns once every value is in force.
sub set_and_reload
{
    my ($node, %settings) = @_;
    my $sql = '';
    $sql .= "ALTER SYSTEM SET $_ = '" . ($settings{$_} =~ s/'/''/gr) . "';\n" for sort keys %settings;
    $node->safe_psql('postgres', $sql);
    my $position = log_position($node);
    $node->reload;
    wait_for(sub { log_since($node, $position) =~ /received SIGHUP/ }, 'the reload');
    return;
}

# Tables of several kinds with reproducible contents, in database DB.
sub fill_tables
{
    my ($node, $rows, $db) = @_;
    $rows //= 2000;
    $node->safe_psql($db // 'postgres', <<"S");
CREATE TABLE IF NOT EXISTS items (id bigint PRIMARY KEY, word text, made timestamptz DEFAULT now());
INSERT INTO items SELECT g, md5(g::text) FROM generate_series((SELECT coalesce(max(id), 0) + 1 FROM items),
    (SELECT coalesce(max(id), 0) + $rows FROM items)) g;
CREATE TABLE IF NOT EXISTS long_values (id int, body text);
ALTER TABLE long_values ALTER body SET STORAGE EXTERNAL;
INSERT INTO long_values SELECT g, repeat(md5(g::text), 300) FROM generate_series(1, 50) g;
CREATE INDEX IF NOT EXISTS items_word ON items (word);
S
    return;
}

# Starts pgbench in the background on database bench (made and filled on first use); returns a handle with ->running
# and ->stop.
sub pgbench_load
{
    my ($node, %options) = @_;
    my $exists = $node->safe_psql('postgres', q(SELECT count(*) FROM pg_database WHERE datname = 'bench'));
    if (!$exists)
    {
        $node->safe_psql('postgres', 'CREATE DATABASE bench');
        system_or_bail('pgbench', '-q', '-i', '-s', $options{scale} // 2, '-h', $node->host, '-p', $node->port, 'bench');
    }
    my ($out, $err) = ('', '');
    my @command = ('pgbench', '-n', '-c', $options{clients} // 2, '-T', $options{seconds} // 600, '-h', $node->host, '-p', $node->port);
    push @command, '-R', $options{rate} if $options{rate};
    my $handle = IPC::Run::start([ @command, 'bench' ], '<', \undef, '>', \$out, '2>', \$err);
    my $begin = $node->safe_psql('bench', 'SELECT count(*) FROM pgbench_history');
    wait_for(sub { $node->safe_psql('bench', 'SELECT count(*) FROM pgbench_history') > $begin }, 'pgbench to write');
    return PgVigil::Load->new($handle);
}

# The segment that the server writes to now. (Right after a switch the position alone would name the one before.)
sub current_segment
{
    my ($node) = @_;
    return $node->safe_psql('postgres', <<'S');
SELECT pg_logical_emit_message(false, 'pgvigil test', 'x') \g /dev/null
SELECT pg_walfile_name(pg_current_wal_insert_lsn());
S
}

# Ends the current segment, which then holds at least one record, and returns its name.
sub switch_wal
{
    my ($node) = @_;
    return $node->safe_psql('postgres', <<'S');
SELECT pg_logical_emit_message(false, 'pgvigil test', 'x') \g /dev/null
SELECT pg_walfile_name(pg_switch_wal());
S
}

# Whether the complete segment NAME is archived. What was archived last does not always tell: an older file can be handed
# over after it, as on a promoted standby.
sub archived_through
{
    my ($node, $segment) = @_;
    return 1 if -e $node->data_dir . "/pg_wal/archive_status/$segment.done";
    return $node->safe_psql('postgres',
        "SELECT coalesce(last_archived_wal ~ '^[0-9A-F]{24}' AND left(last_archived_wal, 24) >= '$segment', false) FROM pg_stat_archiver") eq 't';
}

# wait_for_archived(NODE, [SEGMENT]): waits until the segment is archived; without one, ends the current one first.
sub wait_for_archived
{
    my ($node, $segment, $timeout) = @_;
    $segment //= switch_wal($node);
    wait_for(sub { archived_through($node, $segment) }, "segment $segment to be archived", $timeout);
    return $segment;
}

# Has the views of NODE show what others did to the repository.
sub refresh
{
    my ($node) = @_;
    $node->safe_psql('postgres', 'SELECT pgv_refresh()');
    return;
}

# Makes a full backup and returns its id.
sub backup_now
{
    my ($node, $kind) = @_;
    my $id = $node->safe_psql('postgres', "SELECT pgv_backup_now('" . ($kind // 'full') . "')");
    die "pgv_backup_now returned \"$id\"" unless $id =~ /^\d{8}T\d{6}[FI]$/;
    return $id;
}

# Waits until the repository has a backup (COUNT of them) and returns the newest one's id.
sub wait_for_backup
{
    my ($node, $count, $timeout) = @_;
    $count //= 1;
    return wait_for(
        sub {
            my $ids = $node->safe_psql('postgres', 'SELECT DISTINCT backup_id FROM pgv_backups ORDER BY 1');
            my @ids = split /\n/, $ids;
            return @ids >= $count ? $ids[-1] : undef;
        },
        "backup number $count", $timeout);
}

# pgvigil(ARGUMENTS…): runs the program; returns (exit status, standard output, standard error). A status above 128
# is 128 + signal.
sub pgvigil
{
    my @arguments = @_;
    my ($out, $err) = ('', '');
    note('running pgvigil ' . join(' ', map { /[^\w.\/:=-]/ ? "'$_'" : $_ } @arguments));
    IPC::Run::run([ 'pgvigil', @arguments ], '<', \undef, '>', \$out, '2>', \$err);
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    note("exit status $status; standard error: $err") if $status || $err;
    return ($status, $out, $err);
}

# restore(REPOSITORY, DIRECTORY, ARGUMENTS…): pgvigil restore; returns as pgvigil().
sub restore
{
    my ($repository, $directory, @arguments) = @_;
    return pgvigil('restore', '--repository', $repository->url, '-D', $directory, @arguments);
}

# restored_node(NAME, REPOSITORY, ARGUMENTS…): restores into a new node's data directory, checks the result with
# pg_verifybackup and returns the node, configured for its own port and not started.
sub restored_node
{
    my ($name, $repository, @arguments) = @_;
    my $node = PostgreSQL::Test::Cluster->new($name);
    # The server's default is to pause at a target.
    push @arguments, '--target-action', 'promote' if grep { /^--target-(?:time|lsn|xid|name|immediate)$/ } @arguments;
    my ($status, undef, $err) = restore($repository, $node->data_dir, @arguments);
    is($status, 0, "$name: restored") or die "the restore failed: $err";
    verify_backup($node->data_dir, "$name: pg_verifybackup");
    _own_address($node);
    return $node;
}

# copied_node(NAME, NODE): a new node whose data directory is a copy of the stopped NODE's, with its own port.
sub copied_node
{
    my ($name, $original) = @_;
    my $node = PostgreSQL::Test::Cluster->new($name);
    system_or_bail('cp', '-a', $original->data_dir, $node->data_dir);
    _own_address($node);
    return $node;
}

sub _own_address
{
    my ($node) = @_;
    mkdir $node->backup_dir;
    mkdir $node->archive_dir;
    $node->append_conf('postgresql.conf', 'port = ' . $node->port . "\nunix_socket_directories = '" . $node->host . "'\n");
    return;
}

# Starts a restored node and waits until recovery is over.
sub start_copy
{
    my ($node) = @_;
    $node->start(fail_ok => 1) or die 'the restored server did not start: ' . slurp_file($node->logfile);
    wait_for(sub { $node->safe_psql('postgres', 'SELECT NOT pg_is_in_recovery()') eq 't' }, 'the end of recovery');
    return;
}

# Starts a node that is expected to end its recovery with an error; returns the server log.
sub start_copy_fails
{
    my ($node) = @_;
    system_log('pg_ctl', '-w', '-t', '60', '-D', $node->data_dir, '-l', $node->logfile, 'start');
    wait_for(sub { !-e $node->data_dir . '/postmaster.pid' }, 'the server to give up');
    return slurp_file($node->logfile);
}

# One line per table of every database: name, rows, order-independent digest of the contents.
sub table_checksums
{
    my ($node) = @_;
    my @lines;
    my $databases = $node->safe_psql('postgres', 'SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1');
    for my $database (split /\n/, $databases)
    {
        my $sql = $node->safe_psql($database, <<'S');
SELECT string_agg(format('SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM %s t', c.oid::regclass::text, c.oid::regclass),
    ' UNION ALL ' ORDER BY c.oid::regclass::text)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
S
        next if $sql eq '';
        push @lines, map { "$database|$_" } split /\n/, $node->safe_psql($database, "$sql ORDER BY 1");
    }
    return join("\n", @lines);
}

# Compares two nodes (or checksums taken earlier).
sub is_same_data
{
    my ($got, $expected, $what) = @_;
    $_ = ref($_) ? table_checksums($_) : $_ for $got, $expected;
    ok($expected ne '', "$what: there is data to compare");
    is($got, $expected, "$what: the same rows");
    return;
}

sub verify_backup
{
    my ($directory, $what) = @_;
    my ($out, $err) = ('', '');
    my $good = IPC::Run::run([ 'pg_verifybackup', '-q', $directory ], '>', \$out, '2>', \$err);
    ok($good, $what) or diag("$out$err");
    return $good;
}

sub log_position
{
    my ($node) = @_;
    return -s $node->logfile // 0;
}

sub log_since
{
    my ($node, $position) = @_;
    open(my $file, '<', $node->logfile) or return '';
    seek($file, $position // 0, 0);
    local $/;
    my $text = <$file> // '';
    close($file);
    return $text;
}

# wait_for_log(NODE, PATTERN, [POSITION], [SECONDS]): returns the text since the position.
sub wait_for_log
{
    my ($node, $pattern, $position, $timeout) = @_;
    my $text = eval {
        wait_for(sub { my $log = log_since($node, $position); $log =~ $pattern ? $log : undef }, "the log to match $pattern", $timeout);
    };
    die "$@; the log since then:\n" . log_since($node, $position) unless defined $text;
    return $text;
}

# What SQL gives, or undef while the server lets nobody in. The statement is an argument: a psql that is refused may be
# gone before one could be written to it.
sub answer_of
{
    my ($node, $sql) = @_;
    my @psql = ($node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql);
    my $ok = IPC::Run::run(\@psql, '<', '/dev/null', '>', \my $out, '2>', \my $err);
    return unless $ok;
    chomp $out;
    return $out;
}

# sql_fails(NODE, SQL, PATTERN, WHAT, [ROLE]): the statement fails and what psql prints (with detail and hint) matches.
sub sql_fails
{
    my ($node, $sql, $pattern, $what, $role) = @_;
    my %options = (on_error_stop => 1);
    $options{extra_params} = [ '-U', $role ] if $role;
    my ($status, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", %options);
    isnt($status, 0, "$what: fails");
    like($err, $pattern, "$what: error");
    return $err;
}

# The pid of the server process of NODE whose title matches, waiting until there is one.
sub process_of
{
    my ($node, $pattern, $timeout) = @_;
    my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
    return wait_for(
        sub {
            my @lines = grep { my ($pid, $parent) = split; $parent && $parent == $postmaster && $_ =~ $pattern } qx(ps -eo pid=,ppid=,args=);
            return unless @lines;
            my ($pid) = $lines[0] =~ /^\s*(\d+)/;
            return $pid;
        },
        "a process like $pattern", $timeout);
}

1;
