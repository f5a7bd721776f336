# A promoted standby streams its timeline, and calls nothing durable before the timeline's history file and the segments of its
# ancestors that the former primary left behind are stored.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use PgVigil::Stream;
use Test::More;
use Time::HiRes qw(sleep);

needs_s3();
my $repository = new_repository('stream_promotion', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
my $primary = new_node('primary',
    settings => {
        'pgvigil.repository' => $repository->url_at($proxy->endpoint), 'pgvigil.stream_interval' => '100ms', 'pgvigil.retry_timeout' => '2s',
        wal_keep_size => '512MB' });
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
wait_for_durable($primary);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
is($standby->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status'), 'off', 'a standby streams nothing');

# The primary dies with complete segments that it could not store.
$proxy->set({ action => 'refuse', method => 'PUT', path => '/wal/00000001/' }, { action => 'refuse', method => 'PUT', path => '/tail/' });
my $left = switch_wal($primary);
fill_tables($primary, 100);
switch_wal($primary);
$primary->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
$primary->wait_for_catchup($standby, 'replay');
$primary->stop('immediate');
ok(!$repository->matching(qr{/wal/.*$left$}), 'the primary left a segment behind');

# Tails could be stored, but not the history file, and then not what was left behind.
$proxy->set({ action => 'refuse', method => 'PUT', path => '/wal/' });
promote($standby);
$standby->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'writer' }, 'the take-over');
wait_for(sub { $standby->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status') eq 'waiting' }, 'streaming to wait for the history');
sleep(3);
is($standby->safe_psql('postgres', 'SELECT coalesce(durable_timeline, 0) = 2 FROM pgv_status'), 'f', 'nothing is durable without the history file');
like($standby->safe_psql('postgres', q(SELECT detail FROM pgv_check() WHERE "check" = 'streaming')), qr/00000002\.history|$left/, 'pgv_check() says what is waited for');
$proxy->set({ action => 'refuse', method => 'PUT', path => '/wal/00000001/' });
wait_for(sub { $repository->matching(qr{00000002\.history$}) }, 'the history file to be stored');
sleep(3);
is($standby->safe_psql('postgres', 'SELECT coalesce(durable_timeline, 0) = 2 FROM pgv_status'), 'f', 'nor without what the former primary left behind');

$proxy->set();
wait_for_durable($standby, undef, 120);
is($standby->safe_psql('postgres', 'SELECT durable_timeline FROM pgv_status'), 2, 'then the new timeline is durable');
ok($repository->matching(qr{/wal/.*$left$}), 'and what was left behind is stored');
my @pieces = pieces($repository);
ok((grep { $_->{timeline} eq '00000002' && $_->{epoch} == 2 && $_->{from} == 0 } @pieces), 'it is streamed from the start of the segment in which the timelines part');
ok(!(grep { $_->{timeline} eq '00000001' && $_->{epoch} != 1 } @pieces), 'the new writer streams nothing of the old timeline');
$standby->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
wait_for_durable($standby);
my $expected = table_checksums($standby);
lose_server($standby);
my $copy = restored_node('promotion_copy', $repository, '--no-sync');
start_copy($copy);
is_same_data($copy, $expected, 'to the last streamed byte of the new timeline');
$copy->stop('immediate');

done_testing();
