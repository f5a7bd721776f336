# A primary that streams and a standby with archive_mode = always, for one repository: a segment that pg_switch_wal() ends is
# stored once, whoever comes first, beside what was streamed of it; the standby's segments and, after its promotion, its partial
# one and its timeline conflict with nothing.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('always', 'file');
my $primary = new_node('primary', repository => $repository, initdb => ['--wal-segsize=1'],
    settings => { archive_mode => 'always', 'pgvigil.stream_interval' => '50ms', 'pgvigil.writer_term' => '3s', autovacuum => 'off', wal_keep_size => '64MB' });
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');

sub insert { my ($node) = @_; $node->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items'); return; }
sub failures { return join(' ', map { $_->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver') } @_); }

# Streamed in part, then ended.
for my $number (1 .. 4)
{
    insert($primary);
    my $lsn = wait_for_durable($primary);
    my ($segment) = segment_position($primary, $lsn);
    is(switch_wal($primary), $segment, "segment $number: ended in the middle");
    ok((grep { $_->{segment} eq $segment } pieces($repository)), "segment $number: streamed in part");
    insert($primary);
    wait_for_archived($primary, $segment);
    wait_for(sub { archived_through($standby, $segment) }, 'the standby to archive it');
    is(scalar(my @found = $repository->matching(qr{/wal/.*/\Q$segment\E})), 1, "segment $number: stored once");
}
is(failures($primary, $standby), '0 0', 'neither archiver has failed');

# The standby alone ends segments while the primary's archiver is stopped: what it has stored is the primary's as well.
my $archiver = process_of($primary, qr/archiver/);
kill 'STOP', $archiver;
insert($primary);
my $ahead = switch_wal($primary);
insert($primary);
wait_for(sub { archived_through($standby, $ahead) }, 'the standby to archive ahead of its primary');
ok($repository->has_segment($ahead), 'the standby has stored it');
ok(!-e $primary->data_dir . "/pg_wal/archive_status/$ahead.done", 'before the primary');
wait_for_durable($primary);
pass('and the stream goes on behind it');
kill 'CONT', $archiver;
wait_for_archived($primary, $ahead);
is(scalar(my @once = $repository->matching(qr{/wal/.*/\Q$ahead\E})), 1, 'it is stored once');
is(failures($primary, $standby), '0 0', 'no conflict');

# Promotion in the middle of a streamed segment.
insert($primary);
my $last = wait_for_durable($primary);
my ($part) = segment_position($primary, $last);
$primary->wait_for_catchup($standby, 'replay');
$primary->stop('immediate');
promote($standby);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'writer' }, 'the take-over');
insert($standby);
wait_for_durable($standby);
my $new = switch_wal($standby);
like($new, qr/^00000002/, 'a segment of the new timeline');
insert($standby);
wait_for_archived($standby, $new);
wait_for(sub { $repository->matching(qr{/wal/.*/$part\.partial}) }, 'the partial segment of the old timeline');
is(scalar(my @partial = $repository->matching(qr{/wal/.*/$part\.partial})), 1, 'it is stored once');
ok(!$repository->has_segment($part), 'and not as a complete one');
is(scalar(my @anew = $repository->matching(qr{/wal/.*/\Q$new\E})), 1, 'the new timeline\'s segment is stored once');
is(failures($standby), '0', 'no archiving has failed');
my %epoch = map { $_->{timeline} => $_->{epoch} } pieces($repository);
is("$epoch{'00000001'} $epoch{'00000002'}", '1 2', 'each timeline was streamed by its writer');
my $expected = table_checksums($standby);
wait_for_durable($standby);
for my $node ($primary, $standby) { unlike(slurp_file($node->logfile), qr/conflict|other content|could not (?:archive|stream)|PANIC/, $node->name . ': the log complains of nothing'); }

lose_server($standby);
my $copy = restored_node('always_copy', $repository, '--no-sync');
# With "always" recovery would end with the last complete segment.
$copy->append_conf('postgresql.conf', "archive_mode = on\n");
start_copy($copy);
is_same_data($copy, $expected, 'across the promotion, to the last streamed byte');
$copy->stop('immediate');

done_testing();
