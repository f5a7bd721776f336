# A take-over on the same timeline by a server whose pg_wal has nothing that the repository has as well: where its history begins
# the timeline breaks. Nobody passes that place although the numbers of the segments go on: windows end before it, what is
# restored is one history or the other and never a mixture, and a new full backup makes the new one restorable.
use strict;
use warnings;
use JSON::PP;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('broken', 'file');
my $size = 1024 * 1024;
my $a = new_node('a', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.writer_term' => '3s', 'pgvigil.stream_interval' => '0', autovacuum => 'off', min_wal_size => '2MB', max_wal_size => '2MB' });
$a->safe_psql('postgres', 'CREATE TABLE history (server text, number int)');
my $first = backup_now($a);

sub work
{
    my ($server, $name, $rows) = @_;
    my @segments;
    for my $number (1 .. $rows)
    {
        push @segments, $server->safe_psql('postgres', "INSERT INTO history VALUES ('$name', $number) \\g /dev/null\nSELECT pg_walfile_name(pg_switch_wal())");
        $server->safe_psql('postgres', 'CHECKPOINT');
    }
    return @segments;
}
sub rows { my ($server) = @_; return $server->safe_psql('postgres', q(SELECT string_agg(server || number, ',' ORDER BY ctid) FROM history)); }

work($a, 'common', 2);
wait_for_archived($a);
$a->stop;
my $b = copied_node('b', $a);
$a->start;
wait_for_archived($a, (work($a, 'a', 15))[-1]);
my $rows_of_a = rows($a);

# B goes on without archiving for so long that nothing it shares with the repository is left in its pg_wal.
$b->append_conf('postgresql.conf', "archive_mode = off\n");
$b->start;
my @own = work($b, 'b', 8);
my ($oldest) = sort grep { /^[0-9A-F]{24}$/ } map { s{.*/}{}r } glob($b->data_dir . '/pg_wal/0*');
cmp_ok($oldest, 'gt', $own[1], 'what both have is gone from its pg_wal');
$b->append_conf('postgresql.conf', "archive_mode = on\n");
$b->restart;
is($b->safe_psql('postgres', q(SELECT pgv_take_over('a test'))), 2, 'it takes over all the same');
my $archived = (work($b, 'later', 2))[-1];
wait_for_archived($b, $archived);
ok($repository->has_segment($_), "no number is missing: $_") for $own[-1];

# Until there is a new backup: the former history, up to the break, whatever is stored behind it.
sub windows { refresh($b); return $b->safe_psql('postgres', 'SELECT from_lsn, to_lsn, backups FROM pgv_recovery_windows ORDER BY 1'); }
my (undef, $list) = pgvigil('list', '--repository', $repository->url, '--json');
my ($break) = map { $_->{lsn} } grep { $_->{number} == 2 } map { @{ $_->{epochs} } } map { @{ $_->{clusters} } } @{ decode_json($list)->{repositories} };
my $window = windows();
like($window, qr{^[0-9A-F/]+\|\Q$break\E\|\{$first\}$}, 'one window, which ends where B begins');
my ($dry, undef, $said) = restore($repository, $b->basedir . '/said');
is($dry, 0, 'it can be restored');
like($said, qr/another history begins at the end of the recovery window/, 'with a word of the other one');
my $former = restored_node('former', $repository);
start_copy($former);
my $restored = rows($former);
is($restored, substr($rows_of_a, 0, length($restored)), 'what is restored is the history of A');
cmp_ok(length($restored), '>', length('common1,common2,a1'), 'with what A alone had');
$former->stop('immediate');
my ($status, undef, $err) = restore($repository, $b->basedir . '/across', '--target-lsn', $b->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()'));
isnt($status, 0, 'a target behind the break is refused');

# A new backup begins anew.
my $second = backup_now($b, 'incremental');
like($second, qr/F$/, 'a backup is full, whatever is asked for');
work($b, 'behind', 2);
wait_for_archived($b);
my @windows = split /\n/, windows();
is($windows[0], $window, 'the former window is as it was');
is(scalar(@windows), 2, 'and there is one more');
like($windows[1], qr/\|\{$second\}$/, 'from the new backup on');
my $copy = restored_node('new', $repository);
start_copy($copy);
is(rows($copy), rows($b), 'what is restored now is the history of B');
unlike(rows($b), qr/\ba\d/, 'which has nothing of A');
$_->stop('immediate') for $copy, $a, $b;

done_testing();
