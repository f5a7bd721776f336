# Tablespaces: restored to a mapped place with their symbolic links, refused where that would touch the living ones, and
# in-place tablespaces.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('tablespaces', 'file');
# PostgreSQL itself refuses to recover a cluster with in-place tablespaces without the setting.
my $node = new_node('tablespaces', repository => $repository, settings => { allow_in_place_tablespaces => 'on' });
my $place = scratch_directory() . '/space one';
mkdir $place or die;
$node->safe_psql('postgres', "CREATE TABLESPACE one LOCATION '$place'");
$node->safe_psql('postgres', q(CREATE TABLESPACE two LOCATION ''));
$node->safe_psql('postgres', <<'S');
CREATE TABLE in_one (id int) TABLESPACE one;
CREATE TABLE in_two (id int) TABLESPACE two;
INSERT INTO in_one SELECT generate_series(1, 5000);
INSERT INTO in_two SELECT generate_series(1, 6000);
S
$node->safe_psql('postgres', 'CREATE DATABASE moved TABLESPACE one');
fill_tables($node, 500, 'moved');
backup_now($node);
$node->safe_psql('postgres', 'INSERT INTO in_one SELECT generate_series(1, 10); INSERT INTO in_two SELECT generate_series(1, 20)');
wait_for_archived($node);
my $expected = table_checksums($node);

# Without a mapping the restore would write into the directory of the living cluster.
my ($status, undef, $err) = restore($repository, $node->basedir . '/unmapped');
isnt($status, 0, 'a tablespace directory that is not empty is refused');
like($err, qr/\Q$place\E/, 'and named');

my $new_place = scratch_directory() . '/moved space';
my $copy = restored_node('mapped', $repository, '--tablespace-map', "$place=$new_place");
my ($link) = grep { -l } glob($copy->data_dir . '/pg_tblspc/*');
is(readlink($link), $new_place, 'the symbolic link leads to the mapped place');
start_copy($copy);
is_same_data($copy, $expected, 'with a mapped and an in-place tablespace');
is($copy->safe_psql('postgres', q(SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'one')), $new_place, 'the server sees the mapped place');
$copy->stop;

# A mapping for a tablespace that does not exist is a typing error.
($status, undef, $err) = restore($repository, $node->basedir . '/wrong', '--tablespace-map', "/nowhere=$new_place.2", '--tablespace-map', "$place=$new_place.3");
isnt($status, 0, 'a mapping that fits no tablespace is refused');
like($err, qr{/nowhere}, 'and named');

# The original place is used once it is free.
$node->stop;
rename($place, "$place.old") or die;
my $again = restored_node('same_place', $repository);
start_copy($again);
is_same_data($again, $expected, 'restored to the original place');

done_testing();
