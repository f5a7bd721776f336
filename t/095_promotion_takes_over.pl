# A registered standby takes over at its promotion, at once, while the former primary still lives; that one is fenced.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('promotion', 'file');
my $primary = new_node('primary', repository => $repository, settings => { 'pgvigil.writer_term' => '3s' });
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
is($standby->safe_psql('postgres', 'SELECT writer_instance FROM pgv_status'),
    $primary->safe_psql('postgres', 'SELECT writer_instance FROM pgv_status'), 'the standby knows the writer');
promote($standby);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'writer' }, 'the promoted standby to take over');
my $segment = wait_for_archived($standby);
like($segment, qr/^00000002/, 'it archives on its new timeline');
is($standby->safe_psql('postgres', 'SELECT lease, epoch FROM pgv_status'), 'held|2', 'with a lease of its own epoch');
wait_for(sub { $primary->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'fenced' }, 'the former primary to notice');
my $lost = switch_wal($primary);
ok(!archived_through($primary, $lost), 'it acknowledges nothing');
$_->stop for $primary, $standby;
done_testing();
