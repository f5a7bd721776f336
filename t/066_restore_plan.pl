# pgv_restore_plan(), pgvigil plan and pgvigil restore say and do the same; the line that pgv_restore_command() gives
# runs as it stands.
use strict;
use warnings;
use JSON::PP;
use PgVigil;
use Test::More;

my $repository = new_repository("plan 'quoted'", 'file');
# Without streaming two plans made one after the other are of the same WAL.
my $node = new_node('plan', repository => $repository, settings => { 'pgvigil.stream_interval' => 0 });
fill_tables($node);
my $backup = backup_now($node);
$node->safe_psql('postgres', 'CREATE TABLE marks (word text)');
$node->safe_psql('postgres', q(INSERT INTO marks VALUES ('before')));
my $xid = $node->safe_psql('postgres', q(BEGIN; INSERT INTO marks VALUES ('transaction'); SELECT txid_current(); COMMIT));
my $time = $node->safe_psql('postgres', 'SELECT pg_sleep(0.01); SELECT clock_timestamp()');
$time = (split /\n/, $time)[-1];
$node->safe_psql('postgres', q(INSERT INTO marks VALUES ('between')));
$node->safe_psql('postgres', q(SELECT pg_create_restore_point('it''s "here"; $(date)')));
$node->safe_psql('postgres', q(INSERT INTO marks VALUES ('after')));
switch_wal($node);
$node->safe_psql('postgres', q(INSERT INTO marks VALUES ('much later')));
wait_for_archived($node);

sub steps { return $node->safe_psql('postgres', "SELECT action, object, objects, bytes, detail FROM pgv_restore_plan($_[0]) ORDER BY step"); }
sub program
{
    my ($status, $out) = pgvigil('plan', '--repository', $repository->url, '--json', @_);
    is($status, 0, "plan @_");
    my $plan = decode_json($out);
    return ($plan, join("\n", map { my $s = $_; join('|', map { $s->{$_} // '' } qw(action object objects bytes detail)) } @{ $plan->{steps} }));
}

for my $target (
    [ '', [] ],
    [ "target_time => '$time'", [ '--target-time', $time ] ],
    [ "target_xid => $xid", [ '--target-xid', $xid ] ],
    [ q(target_name => 'it''s "here"; $(date)'), [ '--target-name', q(it's "here"; $(date)) ] ],
    [ "target_immediate => true", ['--target-immediate'] ],
    [ "backup_id => '$backup', inclusive => false, target_xid => $xid", [ '--backup', $backup, '--target-exclusive', '--target-xid', $xid ] ])
{
    my ($plan, $text) = program(@{ $target->[1] });
    is(steps($target->[0]), $text, "the same steps for \"$target->[0]\"");
    is($plan->{backup}, $backup, 'from the backup');
    like($text, qr/^fetch backup\|\Q$backup\E\|[1-9]\d*\|[1-9]\d*\|/, 'which is fetched first, with its objects and bytes');
    like($text, qr/^total\|to fetch\|.*estimated from backup \Q$backup\E/m, 'the estimate says what it is based on');
}
my ($plan) = program('--target-xid', $xid);
cmp_ok($plan->{wal_segments}, '<', (program())[0]{wal_segments}, 'a target in the middle needs less WAL');
is($node->safe_psql('postgres', q(SELECT bool_and(estimate > interval '0') FROM pgv_restore_plan() WHERE bytes > 0 AND action <> 'write files')),
    't', 'every step that fetches has an estimate');

# What cannot be reached is refused, with what can.
for my $case (
    [ q(target_time => '2001-01-01'), qr/cannot restore to time.*DETAIL:.*recovery window is.*HINT:.*nearest moment/s ],
    [ q(target_lsn => 'FFFF/0'), qr/cannot restore to LSN.*HINT:.*nearest position/s ],
    [ q(target_name => 'nobody made it'), qr/cannot restore to restore point "nobody made it"/ ],
    [ q(target_time => now(), target_xid => 5), qr/more than one recovery target/ ],
    [ q(target_xid => -5), qr/is not the id of a transaction/ ],
    [ q(target_time => 'infinity'), qr/is not a moment/ ],
    [ q(timeline => 'newest'), qr/"newest" is not a timeline/ ],
    [ q(timeline => '99'), qr/timeline 99 is not in the repository/ ],
    [ q(backup_id => '../etc'), qr/invalid backup id/ ],
    [ q(backup_id => '20010101T000000F'), qr/there is no backup/ ])
{
    sql_fails($node, "SELECT * FROM pgv_restore_plan($case->[0])", $case->[1], "refused: $case->[0]");
}
sql_fails($node, 'SELECT pgv_restore_command(NULL)', qr/data_directory/, 'a directory is needed');

# The line restores what it says.
my $directory = scratch_directory() . "/it's here";
my $line = $node->safe_psql('postgres', "SELECT pgv_restore_command(" . ("'" . $directory =~ s/'/''/gr . "'") . ", target_name => 'it''s \"here\"; \$(date)')");
note($line);
is(system($line . ' --target-action promote >&2'), 0, 'the shell line runs');
my $copy = PostgreSQL::Test::Cluster->new('plan_copy');
rename($directory, $copy->data_dir) or die "$directory: $!";
PgVigil::_own_address($copy);
start_copy($copy);
is($copy->safe_psql('postgres', q(SELECT string_agg(word, ',') FROM marks)), 'before,transaction,between', 'exactly to the restore point');
$copy->stop;
$node->stop;

done_testing();
