# The first full backup happens by itself, once, and says so.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('first', 'file');
my $node = new_node('first', repository => $repository, first_backup => 1);
my $id = wait_for_backup($node);
like($id, qr/F$/, 'a full backup without being asked');

# After a restart there is one already.
$node->restart;
wait_for_archived($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_backups'), 1, 'no second one after a restart');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_recovery_windows'), 1, 'there is a recovery window');
my $copy = restored_node('first_copy', $repository);
start_copy($copy);

# A repository that is added later is accepted by the operator and then gets its own.
my $second = new_repository('second', 'file');
set_and_reload($node, 'pgvigil.repository' => $repository->url . ', ' . $second->url);
$node->safe_psql('postgres', 'SELECT pgv_accept_repository()');
wait_for(sub { $second->matching(qr{/commits/.*F\.json$}) }, 'the first backup in the added repository');
pass('an added repository gets a full backup as well');

done_testing();
