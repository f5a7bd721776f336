# A copy is not the cluster: a restore, a pg_basebackup and a copied data directory, each started beside the living
# original, write nothing into the repository until they are told to take over.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my $repository = new_repository('copies', 'file');
my $node = new_node('original', repository => $repository);
fill_tables($node);
backup_now($node);
wait_for_archived($node);

# What is in the repository and not written by the original while the copy works: the copy's own.
# Without the signs of life of the writer.
sub names { return { map { $_ => 1 } grep { !m{/alive/0000000001/} } $repository->objects }; }

# The copy ends segments, is asked for a backup, is promoted where it can be; then what it left is looked at.
sub writes_nothing
{
    my ($copy, $what) = @_;
    # What the writer streams belongs to a run that is there by now.
    wait_for_durable($node);
    my $before = names();
    my @runs = map { m{/runs/(.*)\.json$} } keys %$before;
    my $position = log_position($copy);
    $copy->safe_psql('postgres', 'CREATE TABLE of_the_copy (id int); INSERT INTO of_the_copy VALUES (1)');
    my $segment = switch_wal($copy);
    wait_for_log($copy, qr/detached|take.over/i);
    sql_fails($copy, q(SELECT pgv_backup_now('full')), qr/detached|take.over/i, "$what: a backup");
    like($copy->safe_psql('postgres', 'SELECT to_jsonb(s) FROM pgv_status s'), qr/detached/, "$what: pgv_status says detached");
    ok(!archived_through($copy, $segment), "$what: its WAL is not archived");
    my $after = names();
    is(join(' ', grep { my $name = $_; !$before->{$name} && !grep { $name =~ m{/tail/.*/\Q$_\E-} } @runs } sort keys %$after), '', "$what: nothing new in the repository");
    return $segment;
}

# 1. A restored copy.
my $restored = restored_node('restored', $repository);
start_copy($restored);
writes_nothing($restored, 'restored');
$restored->restart;
writes_nothing($restored, 'restored, after a restart') if $restored->safe_psql('postgres', 'DROP TABLE of_the_copy; SELECT true') eq 't';
wait_for_archived($node);
pass('the original goes on');
$restored->stop;

# 2. A pg_basebackup copy that is started as a primary.
$node->backup('base');
my $base = PostgreSQL::Test::Cluster->new('basebackup');
$base->init_from_backup($node, 'base');
$base->start;
writes_nothing($base, 'pg_basebackup');
$base->stop;

# 3. A copy of the whole data directory, identity file and all.
$node->stop;
my $clone = copied_node('clone', $node);
$node->start;
wait_for_archived($node);
$clone->start;
writes_nothing($clone, 'cp -a');

# The original is not disturbed by any of this.
wait_for_archived($node);
backup_now($node);
is($node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver'), 0, 'the original never failed to archive');

# Told to take over, the restored copy continues on its own timeline and the original is refused from then on.
$restored->start;
$restored->safe_psql('postgres', q(SELECT pgv_take_over('test of a disaster')));
my $segment = wait_for_archived($restored);
like($segment, qr/^00000002/, 'after pgv_take_over the copy archives on its own timeline');
ok($repository->has_segment($segment), 'into the repository');
backup_now($restored);
my $lost = switch_wal($node);
wait_for_log($node, qr/taken over|another (?:server|instance)|no longer the writer|fenced/i);
ok(!archived_through($node, $lost) || !$repository->has_segment($lost) || 1 == grep({ /\Q$lost\E$/ } $repository->objects), 'the original does not overwrite anything');
sql_fails($node, q(SELECT pgv_backup_now('full')), qr/taken over|another|no longer|fenced/i, 'the original is no longer the writer: a backup');

done_testing();
