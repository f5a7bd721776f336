# A standby with archive_mode = always archives what its primary archives, but never streams; nor does a server that is no writer.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;
use Time::HiRes qw(sleep);

my $repository = new_repository('stream_standby', 'file');
my $primary = new_node('primary', repository => $repository,
    settings => { archive_mode => 'always', 'pgvigil.stream_interval' => '0', autovacuum => 'off' });
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
set_and_reload($standby, 'pgvigil.stream_interval' => '20ms');
my $segment = switch_wal($primary);
fill_tables($primary, 100);
wait_for_archived($primary, $segment);
wait_for(sub { archived_through($standby, $segment) }, 'the standby to archive');
sleep(2);
is(scalar(pieces($repository)), 0, 'a standby streams nothing');
is(scalar(run_documents($repository)), 0, 'and begins no run');
is($standby->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status'), 'off', 'pgv_status says so');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pgvigil streamer')), 1, 'its streamer waits for a promotion');

# The primary streams; a detached copy of it does not.
set_and_reload($primary, 'pgvigil.stream_interval' => '50ms');
$primary->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
wait_for_durable($primary);
cmp_ok(scalar(pieces($repository)), '>', 0, 'the primary streams');
is(scalar(run_documents($repository)), 1, 'in one run');
$primary->stop;
my $copy = copied_node('detached', $primary);
$primary->start;
$copy->start;
wait_for(sub { $copy->safe_psql('postgres', q(SELECT role <> 'unknown' FROM pgv_status)) eq 't' }, 'the copy to know its role');
my @before = run_documents($repository);
$copy->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
sleep(2);
is($copy->safe_psql('postgres', 'SELECT role FROM pgv_status'), 'detached', 'a copied data directory is detached');
is($copy->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status'), 'off', 'and streams nothing');
wait_for_durable($primary);
my %epochs = map { $_->{epoch} => 1 } pieces($repository);
is(join(' ', sort keys %epochs), '1', 'all that is streamed is the writer\'s');

# Promotion: then it streams.
$copy->stop('immediate');
$primary->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
$primary->wait_for_catchup($standby, 'replay');
$primary->stop;
promote($standby);
$standby->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
wait_for_durable($standby, undef, 120);
ok((grep { $_->{timeline} eq '00000002' } pieces($repository)), 'a promoted standby streams its timeline');

done_testing();
