# pgv_take_over(only_if_silent): refused while the writer shows life, at once after a clean shutdown, and after a whole
# term of silence where it died without a word. A writer that was only paused acknowledges nothing when it goes on.
use strict;
use warnings;
use PgVigil;
use Time::HiRes qw(time);
use Test::More;

my $term = 3;
my $repository = new_repository('silent', 'file');
my $a = new_node('a', repository => $repository, settings => { 'pgvigil.writer_term' => "${term}s" });
fill_tables($a);
backup_now($a);
wait_for_archived($a);
$a->stop;
my $b = copied_node('b', $a);
my $c = copied_node('c', $a);

# Released.
$b->start;
my $started = time;
is($b->safe_psql('postgres', q(SELECT pgv_take_over('it was shut down', only_if_silent => true))), 2, 'nobody waits after a clean shutdown');
cmp_ok(time - $started, '<', $term, 'not for a term');
wait_for_archived($b);

# Alive.
$c->start;
sql_fails($c, q(SELECT pgv_take_over('nobody asked', only_if_silent => true)), qr/is alive/, 'refused while the writer lives');
is($b->safe_psql('postgres', 'SELECT role FROM pgv_status'), 'writer', 'which is left alone');

# Paused: all of its processes.
my @processes = ($b->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid())) =~ /(\d+)/g);
my ($postmaster) = PostgreSQL::Test::Utils::slurp_file($b->data_dir . '/postmaster.pid') =~ /^(\d+)/;
kill 'STOP', $postmaster, @processes;
$started = time;
is($c->safe_psql('postgres', q(SELECT pgv_take_over('it is silent', only_if_silent => true))), 3, 'a silent writer is taken over from');
cmp_ok(time - $started, '>=', $term - 0.5, 'after a term');
kill 'CONT', $postmaster, @processes;
wait_for(sub { $b->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'fenced' }, 'the paused writer to notice');
my $lost = switch_wal($b);
sleep 2;
ok(!archived_through($b, $lost), 'a writer that was paused acknowledges nothing after a take-over');
wait_for_archived($c);
$_->stop for $b, $c;
done_testing();
