# wal-get builds what exists only as a streamed tail (rules B7, B9): in a recovery, filled with zeroes, from whichever repository has most; not
# for a standby, not beside archive_mode = always, and never where a hole or something later shows that it is not the end.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use PostgreSQL::Test::Utils;
use Test::More;

my $size = 1024 * 1024;
my $repository = new_repository('wal_get_tail', 'file');
my $node = new_node('wal_get_tail', repository => $repository, initdb => ['--wal-segsize=1'], settings => { 'pgvigil.stream_interval' => '20ms', autovacuum => 'off' });
fill_tables($node);
backup_now($node);
fill_tables($node, 50);
wait_for_archived($node, switch_wal($node));
$node->safe_psql('postgres', 'CREATE TABLE streamed AS SELECT 1 AS a');
# In several pieces.
my $durable;
for my $row (2 .. 5)
{
    $node->safe_psql('postgres', "INSERT INTO streamed VALUES ($row)");
    $durable = wait_for_durable($node);
}
my ($segment, $end) = segment_position($node, $durable);
my $next = $node->safe_psql('postgres', "SELECT pg_walfile_name('$durable'::pg_lsn + $size)");
ok(!$repository->matching(qr{/wal/.*\Q$segment\E}), 'the segment is not stored complete');
is($node->safe_psql('postgres', "SELECT state, to_lsn >= '$durable' FROM pgv_wal_ranges ORDER BY to_lsn DESC LIMIT 1"), 'streamed|t', 'the views show what was streamed');
my ($listed, $list) = pgvigil('list', '--repository', $repository->url);
like($list, qr/: streamed, /, 'so does pgvigil list');
lose_server($node);

# A data directory as wal-get sees it, with a server of its own that runs.
my $server = new_node('tail_server', settings => { archive_mode => 'on', archive_library => '' });
my $directory = scratch_directory();

sub place
{
    my ($name, @signals) = @_;
    my $place = "$directory/$name";
    mkdir $place;
    append_to_file("$place/$_", '') for @signals;
    for my $file ('postmaster.pid', 'postmaster.opts') { append_to_file("$place/$file", slurp_file($server->data_dir . "/$file")); }
    return $place;
}

sub wal_get
{
    my ($place, $name, @more) = @_;
    my $target = "$place/RECOVERYXLOG";
    unlink $target;
    my ($out, $err) = ('', '');
    IPC::Run::run([ 'pgvigil', 'wal-get', '--repository', $repository->url, '--patience', 0, @more, $name, $target ], '<', \undef, '>', \$out, '2>', \$err,
        init => sub { chdir $place });
    note("wal-get $name in $place: status " . ($? >> 8) . ", $err");
    return ($? >> 8, $err, -e $target ? slurp_file($target) : undef);
}

my $recovery = place('recovery', 'recovery.signal');
my ($status, $err, $bytes) = wal_get($recovery, $segment);
is($status, 0, 'a recovery gets the tail');
is(length $bytes, $size, 'as a segment of the full size');
like(substr($bytes, -8192), qr/^\0*$/, 'with zeroes at its end');
unlike(substr($bytes, 0, $end), qr/^\0*$/, 'and WAL before');
is((wal_get($recovery, $next))[0], 1, 'what comes after is the end');
is((wal_get(place('standby', 'standby.signal'), $segment))[0], 1, 'a standby gets none');
is((wal_get(place('both', 'standby.signal', 'recovery.signal'), $segment))[0], 1, 'nor with both signals');
is((wal_get(place('neither'), $segment))[0], 1, 'nor without any');

# Cut where the planned path leaves the timeline.
my ($timeline, $number) = (hex substr($segment, 0, 8), hex(substr($segment, 8, 8)) * 4096 + hex(substr($segment, 16)));
my $cut = sprintf('%X/%X', ($number * $size + 8192) >> 32, ($number * $size + 8192) & 0xFFFFFFFF);
($status, $err, $bytes) = wal_get($recovery, $segment, '--path', "1\@$cut,2", '--segment-size', $size);
is($status, 0, 'an ancestor');
like(substr($bytes, 8192), qr/^\0*$/, 'is cut where the path leaves it');

# Nobody knows the server's archive_mode: no end of recovery without a word. With always the tail would be archived.
unlink "$recovery/postmaster.pid";
($status, $err) = wal_get($recovery, $segment);
is($status, 126, 'archive_mode that cannot be found out stops the recovery');
like($err, qr/archive_mode/, 'and is named');
$server->append_conf('postgresql.conf', "archive_mode = always\n");
$server->restart;
my $always = place('always', 'recovery.signal');
($status, $err, $bytes) = wal_get($always, $segment);
is($status, 1, 'with archive_mode = always recovery ends before the tail');
like($err, qr/archive_mode = always/, 'and the log says why');
$server->append_conf('postgresql.conf', "archive_mode = on\n");
$server->restart;
$recovery = place('again', 'recovery.signal');
is((wal_get($recovery, $segment))[0], 0, 'with archive_mode = on it is served');

# A hole, damage, something later: 126.
my @pieces = grep { $_->{segment} eq $segment } pieces($repository);
ok(@pieces > 0, scalar(@pieces) . ' pieces');
my ($first) = sort { $a->{from} <=> $b->{from} || $b->{to} <=> $a->{to} } @pieces;
my %kept = map { $_->{key} => $repository->read_object($_->{key}) } grep { $_->{from} == 0 } @pieces;
if (grep { $_->{from} > 0 } @pieces)
{
    # Only the shortest beginning is left, and a piece in the middle goes.
    my @middle = grep { $_->{from} > 0 && $_->{to} < $end } @pieces;
    for my $piece (@middle) { $kept{ $piece->{key} } = $repository->read_object($piece->{key}); $repository->delete_object($piece->{key}); }
    my ($short) = sort { $a->{to} <=> $b->{to} } grep { $_->{from} == 0 } @pieces;
    $repository->delete_object($_->{key}) for grep { $_->{from} == 0 && $_->{to} > $short->{to} } @pieces;
    ($status, $err) = wal_get($recovery, $segment);
    is($status, 126, 'a missing piece stops the recovery');
    like($err, qr/is missing/, 'and is told');
    $repository->write_object($_, $kept{$_}) for keys %kept;
}
$repository->write_object($first->{key}, 'x' . substr($kept{ $first->{key} }, 1));
($status, $err) = wal_get($recovery, $segment);
is($status, 126, 'so does a damaged one');
$repository->write_object($first->{key}, $kept{ $first->{key} });
is((wal_get($recovery, $segment))[0], 0, 'put back, it is served');
my $whole = (grep { /\Q00000001\E[0-9A-F]{16}$/ } grep { m{/wal/} } $repository->objects)[0];
(my $later = $whole) =~ s/[0-9A-F]{24}$/$next/;
$repository->write_object($later, $repository->read_object($whole));
($status, $err) = wal_get($recovery, $segment);
is($status, 126, 'a part with something later behind it is a gap');
like($err, qr/only the first \d+ bytes/, 'and is told how much is there');

done_testing();
