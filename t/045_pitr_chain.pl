# A restore to a moment in the past that takes over: its new backups build on those before that moment, never on those
# of the future it has left; both futures can be restored.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('pitr', 'file');
my $node = new_node('pitr', repository => $repository, settings => { autovacuum => 'off' });
fill_tables($node, 10000);
my $full = backup_now($node, 'full');
$node->safe_psql('postgres', 'UPDATE items SET word = $$common$$ WHERE id % 10 = 0');
my $common = backup_now($node, 'incremental');
$node->safe_psql('postgres', 'INSERT INTO items SELECT g, $$before the fork$$ FROM generate_series(20001, 21000) g');
my $fork = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
wait_for_archived($node);
$node->safe_psql('postgres', 'UPDATE items SET word = $$left$$; DELETE FROM items WHERE id > 5000; VACUUM items');
my $left = backup_now($node, 'incremental');
wait_for_archived($node);
my $old_future = table_checksums($node);
$node->stop;

my $new = restored_node('pitr_new', $repository, '--target-lsn', $fork, '--take-over', 'back to the fork');
start_copy($new);
is($new->safe_psql('postgres', q(SELECT count(*) FILTER (WHERE word = 'left'), count(*) FROM items)), '0|11000', 'restored to the fork');
$new->safe_psql('postgres', 'UPDATE items SET word = $$kept$$ WHERE id % 10 = 3; CREATE TABLE afterwards AS SELECT g FROM generate_series(1, 1000) g');
wait_for_archived($new);

my $position = log_position($new);
my $first = backup_now($new, 'auto');
my $log = log_since($new, $position);
is($new->safe_psql('postgres', "SELECT parents FROM pgv_backups WHERE backup_id = '$first'"), "{$common,$full}", 'builds on the newest backup before the fork');
like($log, qr/(?:tell what changed since|compared with the hashes of) backup \Q$common\E/, 'and finds what changed since then');
my $at_first = table_checksums($new);
$new->safe_psql('postgres', 'DELETE FROM items WHERE id % 4 = 0; VACUUM items');
my $second = backup_now($new, 'auto');
is($new->safe_psql('postgres', "SELECT parents FROM pgv_backups WHERE backup_id = '$second'"), "{$first,$common,$full}", 'and the next on that one');
wait_for_archived($new);
my $new_future = table_checksums($new);

sub restores_to
{
    my ($expected, $what, @arguments) = @_;
    my $copy = restored_node("copy_" . ($what =~ s/\W+/_/gr), $repository, @arguments);
    start_copy($copy);
    is_same_data($copy, $expected, $what);
    $copy->stop;
    return;
}
restores_to($at_first, 'the first of the new timeline', '--backup', $first, '--target-immediate');
restores_to($new_future, 'the new timeline');
restores_to($new_future, 'the new timeline from before the fork', '--backup', $common);
restores_to($old_future, 'the timeline that was left', '--target-timeline', '1', '--backup', $left);

done_testing();
