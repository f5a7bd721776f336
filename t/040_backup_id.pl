# The id of a backup is known before its checkpoint: without waiting the call returns at once however long the checkpoint
# takes, and the backup that is made has that id.
use strict;
use warnings;
use PgVigil;
use Time::HiRes qw(time);
use Test::More;

my $repository = new_repository('id', 'file');
my $node = new_node('id', repository => $repository,
    settings => { checkpoint_timeout => '30min', checkpoint_completion_target => '0.9', shared_buffers => '32MB' });
fill_tables($node, 20000);
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres', 'UPDATE items SET word = word');

my $begin = time();
my $id = $node->safe_psql('postgres', q(SELECT pgv_backup_now('full', wait => false, fast => false)));
cmp_ok(time() - $begin, '<', 10, 'a call that does not wait returns');
like($id, qr/^\d{8}T\d{6}F$/, 'with the id');
like($node->safe_psql('postgres', 'SELECT backup_id || phase FROM pgv_progress'), qr/^\Q$id\Ewaiting for checkpoint$/, 'while the checkpoint runs');
is(scalar($repository->matching(qr{/attempts/\Q$id\E\.json$})), 1, 'the attempt is stored already');
is(scalar($repository->matching(qr{/data/})), 0, 'and nothing else');

$node->safe_psql('postgres', 'CHECKPOINT');
is(wait_for_backup($node), $id, 'the backup has that id');
wait_for_archived($node);
my $expected = table_checksums($node);
my $copy = restored_node('id_copy', $repository, '--backup', $id);
start_copy($copy);
is_same_data($copy, $expected, 'restored');

# One that ends during its checkpoint leaves the attempt and no backup.
$node->safe_psql('postgres', 'UPDATE items SET word = word');
my $cancelled = $node->safe_psql('postgres', q(SELECT pgv_backup_now('full', wait => false, fast => false)));
isnt($cancelled, $id, 'another backup, another id');
is($node->safe_psql('postgres', 'SELECT pgv_cancel_backup()'), 't', 'cancelled during its checkpoint');
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pgv_progress') == 0 }, 'the end of the cancelled backup');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 1, 'which is none');

done_testing();
