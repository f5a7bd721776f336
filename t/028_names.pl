# Names that are long or odd: databases, relations, files that users left in the data directory, tablespaces with
# characters that tablespace_map escapes, annotations.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('names', 'file');
my $node = new_node('names', repository => $repository);
my $long = 'x' x 63;
my $odd = q(a "quoted" ünï'code ) . "\x{20AC}";
utf8::encode($odd);
my $quoted = '"' . ($odd =~ s/"/""/gr) . '"';
$node->safe_psql('postgres', "CREATE DATABASE $long");
$node->safe_psql('postgres', "CREATE DATABASE $quoted");
$node->safe_psql('postgres', "CREATE TABLE \"$long\" (id int); INSERT INTO \"$long\" VALUES (1); CREATE TABLE $quoted (id int); INSERT INTO $quoted VALUES (2)");

my $data = $node->data_dir;
my @files = ('file with spaces', "new\nline", "tab\there", "not-utf8-\xff\xfe", 'y' x 200, 'quote"and\\backslash', '-leading-dash', "\xc3\xa9t\xc3\xa9", 'empty');
for my $name (@files) { append_to_file("$data/$name", $name eq 'empty' ? '' : "content of $name"); }
mkdir "$data/a directory" or die;
append_to_file("$data/a directory/inside", 'inside');
mkdir "$data/an empty directory" or die;
symlink('/etc/hostname', "$data/a link") or die;

my $place = scratch_directory() . "/back\\slash and\nnew line";
my $has_odd_tablespace = mkdir($place) && $node->psql('postgres', "CREATE TABLESPACE odd LOCATION E'" . ($place =~ s/\\/\\\\/gr =~ s/\n/\\n/gr) . "'") == 0;
$node->safe_psql('postgres', 'CREATE TABLE in_odd TABLESPACE odd AS SELECT generate_series(1, 100) AS id') if $has_odd_tablespace;

my $id = $node->safe_psql('postgres', q(SELECT pgv_backup_now('full', annotations => '{"why": "a \"test\" with ünïcode", "n": 5, "nested": {"a": [1, 2]}}')));
is($node->safe_psql('postgres', "SELECT annotations->>'why' FROM pgv_backups WHERE backup_id = '$id'"), "a \"test\" with \xc3\xbcn\xc3\xafcode", 'annotations come back as they were');
is($node->safe_psql('postgres', "SELECT annotations->'nested'->'a'->>1 FROM pgv_backups WHERE backup_id = '$id'"), '2', 'nested ones too');
wait_for_archived($node);
my $expected = table_checksums($node);
$node->stop;
rename($place, "$place.old") if $has_odd_tablespace;

my $copy = restored_node('names_copy', $repository);
for my $name (@files)
{
    my $shown = $name =~ s/[^ -~]/?/gr;
    is(-e $copy->data_dir . "/$name" ? slurp_file($copy->data_dir . "/$name") : undef, $name eq 'empty' ? '' : "content of $name", "file \"$shown\"");
}
is(slurp_file($copy->data_dir . '/a directory/inside'), 'inside', 'a file in a directory of its own');
ok(-d $copy->data_dir . '/an empty directory', 'an empty directory');
ok(!-l $copy->data_dir . '/a link', 'a symbolic link outside of pg_tblspc is left out');
start_copy($copy);
is_same_data($copy, $expected, 'all databases and tables');

done_testing();
