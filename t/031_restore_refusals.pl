# What a restore refuses, and what an interrupted one leaves.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('refusals', 'file');
my $node = new_node('refusals', repository => $repository, initdb => ['--allow-group-access']);
fill_tables($node, 30000);
backup_now($node);
wait_for_archived($node);
my $directory = scratch_directory();

# A directory that is in use.
my ($status, undef, $err) = restore($repository, $node->data_dir);
isnt($status, 0, 'the data directory of a running server is refused');
like($err, qr/running|not empty/, 'and says so');
is($node->safe_psql('postgres', 'SELECT count(*) FROM items'), 30000, 'the server is unharmed');

# Not empty.
mkdir "$directory/used";
append_to_file("$directory/used/precious", 'x');
($status, undef, $err) = restore($repository, "$directory/used");
isnt($status, 0, 'a directory that is not empty is refused');
like($err, qr{\Q$directory\E/used}, 'and named');
is(join(' ', glob("$directory/used/*")), "$directory/used/precious", 'and left alone');

# A file, a place that does not exist, a place that must not be written to.
append_to_file("$directory/file", 'x');
($status, undef, $err) = restore($repository, "$directory/file");
isnt($status, 0, 'a file as the target');
($status, undef, $err) = restore($repository, "$directory/no/such/parent/target");
isnt($status, 0, 'a target below a directory that does not exist') if !-e "$directory/no/such/parent/target/PG_VERSION";
mkdir "$directory/closed";
chmod 0500, "$directory/closed";
SKIP:
{
    skip 'root writes everywhere', 2 if $> == 0;
    ($status, undef, $err) = restore($repository, "$directory/closed/target");
    isnt($status, 0, 'a target that cannot be created');
    like($err, qr/Permission denied/, 'says why');
}
chmod 0700, "$directory/closed";

# No repository, an empty one, one without this cluster.
($status, undef, $err) = pgvigil('restore', '--repository', "file://$directory/nothing", '-D', "$directory/target");
isnt($status, 0, 'a repository that is not there');
like($err, qr{\Q$directory\E/nothing}, 'is named');
mkdir("$directory/hollow", 0700);
($status, undef, $err) = pgvigil('restore', '--repository', "file://$directory/hollow", '-D', "$directory/target");
isnt($status, 0, 'an empty repository');
like($err, qr/hollow/, 'is named');
($status, undef, $err) = pgvigil('restore', '-D', "$directory/target");
isnt($status, 0, 'no repository at all');
like($err, qr/repository|PGVIGIL_REPOSITORY/i, 'says how to give one');
{
    local $ENV{PGVIGIL_REPOSITORY} = $repository->url;
    my ($code) = pgvigil('list');
    is($code, 0, 'PGVIGIL_REPOSITORY stands in for --repository');
}

# Two clusters in one repository: which one must be said.
my $second = new_node('second', repository => $repository);
backup_now($second);
wait_for_archived($second);
my $identifier = $node->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
($status, undef, $err) = restore($repository, "$directory/which");
isnt($status, 0, 'two clusters in one repository: refused without saying which');
like($err, qr/\Q$identifier\E/, 'and both are named');
my $copy = restored_node('chosen', $repository, '--system-identifier', $identifier);
is((stat $copy->data_dir)[2] & 0777, 0750, 'group access comes back: directory');
is((stat $copy->data_dir . '/PG_VERSION')[2] & 0777, 0640, 'group access comes back: file');
start_copy($copy);
is($copy->safe_psql('postgres', 'SELECT count(*) FROM items'), 30000, 'the chosen cluster is restored');
$copy->stop;

# Killed in the middle: cannot be started, and is not mistaken for an empty directory.
SKIP:
{
    my $target = "$directory/killed";
    my ($out, $errors) = ('', '');
    my $handle = IPC::Run::start(
        [ 'pgvigil', 'restore', '--repository', $repository->url, '--system-identifier', $identifier, '-D', $target ],
        '<', \undef, '>', \$out, '2>', \$errors);
    my $began = eval { wait_for(sub { glob("$target/base/*/*") || !$handle->pumpable }, 'the restore to write', 30) };
    $handle->signal('KILL');
    eval { $handle->finish };
    skip 'the restore was over before it could be killed', 2 if -e "$target/recovery.signal" && -e "$target/global/pg_control";
    ok(!-e "$target/global/pg_control", 'killed in the middle: no pg_control');
    ($status) = restore($repository, $target, '--system-identifier', $identifier);
    isnt($status, 0, 'and the half is not taken for an empty directory');
}

# A hostile repository cannot write outside: paths are checked when they are read. (Made up with the product's own
# format they are tested at the unit; here, that symbolic links in the way are not followed.)
mkdir "$directory/trap";
mkdir "$directory/elsewhere";
symlink("$directory/elsewhere", "$directory/trap/base") or die;
($status) = restore($repository, "$directory/trap", '--system-identifier', $identifier);
isnt($status, 0, 'a target directory with a symbolic link in it is refused');
is(join(' ', glob("$directory/elsewhere/*")), '', 'and not followed');

done_testing();
