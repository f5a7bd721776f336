# Who may do what: nothing for PUBLIC, views for pg_monitor, functions for superusers and whom they are granted to.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('permissions', 'file');
my $node = new_node('permissions', repository => $repository);
wait_for_archived($node);
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN; CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher; CREATE ROLE operator LOGIN');

my @functions = split /\n/, $node->safe_psql('postgres', <<'S');
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass
JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = 'pgvigil' AND d.deptype = 'e' ORDER BY 1
S
my @views = split /\n/, $node->safe_psql('postgres', <<'S');
SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass
JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = 'pgvigil' AND d.deptype = 'e' AND c.relkind = 'v' ORDER BY 1
S
cmp_ok(scalar(@functions), '>=', 4, 'the extension has functions');
cmp_ok(scalar(@views), '>=', 7, 'and views');
for my $function (@functions)
{
    is($node->safe_psql('postgres', "SELECT has_function_privilege('nobody', '$function', 'EXECUTE')"), 'f', "PUBLIC may not call $function");
}
for my $view (@views)
{
    is($node->safe_psql('postgres', "SELECT has_table_privilege('nobody', '$view', 'SELECT')"), 'f', "PUBLIC may not read $view");
    my ($status, undef, $err) = $node->psql('postgres', "SELECT * FROM $view", extra_params => [ '-U', 'watcher' ]);
    is($status, 0, "pg_monitor reads $view") or diag($err);
}
for my $call ('pgv_backup_now()', 'pgv_cancel_backup()', q(pgv_take_over('x')), 'pgv_accept_repository()', 'pgv_check()')
{
    sql_fails($node, "SELECT $call", qr/42501.*permission denied/s, "nobody: $call", 'nobody');
}
sql_fails($node, 'SELECT pgv_backup_now()', qr/42501/, 'pg_monitor: a backup', 'watcher');
sql_fails($node, 'SHOW pgvigil.repository', qr/42501/, 'nobody: the repository setting', 'nobody');
is(($node->psql('postgres', 'SHOW pgvigil.repository', extra_params => [ '-U', 'watcher' ]))[0], 0, 'pg_monitor sees the repository setting');

# Granted by hand.
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION pgv_backup_now TO operator');
my ($status, $id, $err) = $node->psql('postgres', q(SELECT pgv_backup_now('full')), extra_params => [ '-U', 'operator' ]);
is($status, 0, 'a role it was granted to makes a backup') or diag($err);
like($id, qr/F$/, 'and gets its id');

# The extension cannot be made into something else by a user's objects in front of it.
$node->safe_psql('postgres', 'CREATE SCHEMA trap; CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT NULL::timestamptz$$');
($status) = $node->psql('postgres', 'SET search_path = trap, pg_catalog; SELECT * FROM public.pgv_status');
is($status, 0, 'views do not depend on the search path');

done_testing();
