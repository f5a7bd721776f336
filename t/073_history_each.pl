# After a promotion nothing of the new timeline is durable before each required repository has its history file, and one that
# lacks it gets nothing of the tail: without the history file nobody would find it there.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my ($one, $two) = (new_repository('history_one', 'file'), new_repository('history_two', 'file'));
my $primary = new_node('primary', repository => [ $one, $two ], initdb => ['--wal-segsize=1'],
    settings => { 'pgvigil.retry_timeout' => '1s', 'pgvigil.stream_interval' => '50ms', autovacuum => 'off', wal_keep_size => '64MB' });
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
wait_for_archived($primary);

# The second repository has no place for the new timeline's files, but one for its tail.
my ($history) = $two->matching(qr{/wal/00000001/}) or die;
my $place = $two->directory . '/' . $history =~ s{/wal/00000001/.*$}{/wal/00000002}r;
mkdir($place, 0555) or die "could not make \"$place\": $!";
$primary->stop;
promote($standby);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'writer' }, 'the take-over');
$standby->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
sub has_history { my ($repository) = @_; return scalar $repository->matching(qr{00000002\.history$}); }
sub new_tail { my ($repository) = @_; return scalar grep { $_->{timeline} eq '00000002' } pieces($repository); }
sub durable_timeline { return $standby->safe_psql('postgres', 'SELECT coalesce(durable_timeline, 0) FROM pgv_status'); }

# Looks go on: three of them without a result.
sub looked
{
    my $looks = 0;
    my $seen = '';
    wait_for(
        sub {
            my $time = $standby->safe_psql('postgres', q(SELECT coalesce(max(last_error_time)::text, '') FROM pgv_status WHERE last_error LIKE '%00000002.history%'));
            $looks++ if $time ne $seen;
            $seen = $time;
            return $looks > 3;
        },
        'streaming to look for the history file');
    return;
}
wait_for(sub { has_history($one) }, 'the first repository to have the history file');
looked();
ok(!has_history($two), 'the second one has none');
isnt(durable_timeline(), 2, 'nothing is durable before both have it');
is($standby->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status'), 'waiting', 'streaming waits');
is(new_tail($one) + new_tail($two), 0, 'and nothing is streamed');

# One of them is enough: the other still gets nothing.
set_and_reload($standby, 'pgvigil.required_repositories' => '1');
wait_for_durable($standby);
is(durable_timeline(), 2, 'where one is enough the new timeline is durable with it');
ok(new_tail($one), 'it is streamed there');
is(new_tail($two), 0, 'but not to the one without the history file');

# Both again.
set_and_reload($standby, 'pgvigil.required_repositories' => 'all');
my $behind = flushed_lsn($standby);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status') eq 'waiting' }, 'streaming to wait again');
isnt(durable_timeline(), 2, 'with both required it is not durable any more');
chmod(0755, $place) or die;
wait_for_durable($standby, $behind);
is(durable_timeline(), 2, 'until the second one has the history file');
ok(has_history($two), 'which it has');
ok(new_tail($two), 'and the tail');
my $expected = table_checksums($standby);
wait_for_durable($standby);
$standby->stop('immediate');
my $copy = restored_node('history_copy', $two, '--no-sync');
start_copy($copy);
is_same_data($copy, $expected, 'the second one alone');
$copy->stop('immediate');

done_testing();
