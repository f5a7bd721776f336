# A store that does not create objects conditionally: two servers that take over at the same moment would not notice each
# other. There a promoted standby waits for a person's word, and pgv_check() says why.
use strict;
use warnings;
use PgVigil;
use Test::More;

needs_s3();
my $repository = new_repository('weak', 's3');
$repository->set_url($repository->url . '&conditional_create=off');
my $primary = new_node('primary', repository => $repository, settings => { 'pgvigil.writer_term' => '3s' });
fill_tables($primary);
backup_now($primary);
like($primary->safe_psql('postgres', 'SELECT detail FROM pgv_check()'), qr/automatic takeover is off/, 'pgv_check() says so');
my $standby = new_standby($primary);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
promote($standby);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'detached' }, 'the promoted standby to be refused');
my $waiting = switch_wal($standby);
like($standby->safe_psql('postgres', 'SELECT role_message, role_hint FROM pgv_status'), qr/conditionally.*pgv_take_over/s, 'it says why, and what to do');
wait_for_archived($primary);
pass('the primary goes on');
ok(!archived_through($standby, $waiting), 'the promoted standby archives nothing');
$standby->safe_psql('postgres', q(SELECT pgv_take_over('a person says so')));
like(wait_for_archived($standby), qr/^00000002/, 'until a person lets it take over');
wait_for(sub { $primary->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'fenced' }, 'the primary to be fenced');
$_->stop for $primary, $standby;
done_testing();
