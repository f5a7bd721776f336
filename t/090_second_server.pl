# One writer: a second server is refused before it writes anything, by an error that names the first; pgv_status says on
# both who the writer is. After a take-over the first one is fenced: it archives nothing more and keeps all its WAL.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('second', 'file');
my $node = new_node('first', repository => $repository, settings => { 'pgvigil.writer_term' => '3s' });
fill_tables($node);
backup_now($node);
wait_for_archived($node);

sub status { my ($server, $columns) = @_; return $server->safe_psql('postgres', "SELECT $columns FROM pgv_status"); }

wait_for(sub { status($node, 'lease') eq 'held' }, 'the lease of the writer');
my $writer = status($node, 'writer_instance');
like($writer, qr/^[0-9a-f-]{36}$/, 'the writer says who it is');
my $renewals = () = $repository->matching(qr{/alive/0000000001/\d{10}\.json$});
cmp_ok($renewals, '>=', 1, 'and that it lives');
wait_for(sub { my @now = $repository->matching(qr{/alive/0000000001/}); @now > $renewals }, 'another sign of life');

$node->stop;
my $copy = copied_node('copy', $node);
$node->start;
wait_for_archived($node);
my %before = map { $_ => 1 } grep { !m{/alive/} } $repository->objects;
my $position = log_position($copy);
$copy->start;
wait_for_log($copy, qr/instance \Q$writer\E on host/, $position);
my $segment = switch_wal($copy);
sql_fails($copy, q(SELECT pgv_backup_now('full')), qr/\Q$writer\E/, 'a backup of the second server names the first');
is(status($copy, 'role, writer_instance, lease'), "detached|$writer|", 'pgv_status of the second server');
ok(!archived_through($copy, $segment), 'it acknowledges nothing');
is(join(' ', grep { !$before{$_} && !m{/alive/} && !m{/wal(?:index)?/} && !m{/tail/} } $repository->objects), '', 'it writes nothing');

# It takes over: the first one shows life, which is said.
my ($code, $out, $err) = $copy->psql('postgres', q(SELECT pgv_take_over('the first is to go')));
is($code, 0, 'pgv_take_over()');
like($err, qr/WARNING:.*sign of life/, 'it warns of a server that lives');
like($err, qr/\Q$writer\E/, 'and names it');
$position = log_position($node);
wait_for(sub { status($node, 'role') eq 'fenced' }, 'the first server to notice');
my $lost = switch_wal($node);
wait_for_log($node, qr/another server has taken over/);
is(status($node, 'lease'), 'lost', 'its lease is lost');
isnt(status($node, 'writer_instance'), $writer, 'and it knows the new writer');
$node->safe_psql('postgres', q(SELECT pg_switch_wal(); CHECKPOINT; CHECKPOINT));
sleep 2;
ok(!archived_through($node, $lost), 'a fenced writer acknowledges nothing');
ok(-e $node->data_dir . "/pg_wal/$lost", 'and loses no WAL');
wait_for_archived($copy);
pass('the new writer archives');
is(status($copy, 'role, lease, epoch'), 'writer|held|2', 'the new writer');
$node->stop;
$copy->stop;
done_testing();
