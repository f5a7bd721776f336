# Expiry on every kind of store: a dry run changes nothing and says what the real one does; what is left can be
# restored, the newest backup stays whatever the settings say, and letting go of WAL disturbs no view.
use strict;
use warnings;
use PgVigil;
use Test::More;

sub rows
{
    my ($node, $arguments) = @_;
    return $node->safe_psql('postgres', "SELECT kind, object, action FROM pgv_expire($arguments) ORDER BY 1, 2, 3");
}

for my $kind (repository_kinds())
{
    my $repository = new_repository("expire_$kind", $kind);
    my $node = new_node("expire_$kind", repository => $repository, initdb => ['--wal-segsize=1'],
        settings => { 'pgvigil.retention_window' => '0', 'pgvigil.retention_fulls' => '1' });
    fill_tables($node);
    my @backups = backup_now($node);
    my $between = wait_for_archived($node);
    for (1 .. 2)
    {
        fill_tables($node);
        push @backups, backup_now($node);
        wait_for_archived($node);
    }
    my $before = $repository->fingerprint;
    my $dry = rows($node, 'true');
    is_deeply($repository->fingerprint, $before, "$kind: a dry run changes nothing");
    like($dry, qr/^backup\|$backups[$_]\|delete$/m, "$kind: backup $_ goes") for 0, 1;
    like($dry, qr/^backup\|$backups[2]\|keep$/m, "$kind: the newest stays");
    like($dry, qr/^wal\|[^|]+\|delete$/m, "$kind: WAL goes");
    is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_expire() WHERE reason IS NULL'), 0, "$kind: every row has a reason");

    # Two of three: more than half.
    sql_fails($node, 'SELECT * FROM pgv_expire(false)', qr/55000.*would delete 2 of the 3 backups.*HINT:.*confirm/s, "$kind: over half");
    is_deeply($repository->fingerprint, $before, "$kind: nothing was deleted");
    like(($node->psql('postgres', 'SELECT count(*) FROM pgv_expire()'))[2], qr/WARNING:.*refuses/, "$kind: the dry run warns of it");

    my $real = rows($node, 'false, true');
    is($real, $dry, "$kind: the real run does what the dry run said");
    is($node->safe_psql('postgres', 'SELECT string_agg(backup_id, \',\') FROM pgv_backups'), $backups[2], "$kind: one backup is listed");
    is(scalar($repository->matching(qr{/(?:data|files|commits|attempts)/(?:$backups[0]|$backups[1])})), 0, "$kind: nothing of the others is left");
    ok(!$repository->has_segment($between), "$kind: the WAL between them is gone");
    is(scalar(my @left = split(/\n/, rows($node, 'false'))), 2, "$kind: a second run finds nothing to do");

    # The server goes on as if nothing had happened.
    wait_for_archived($node);
    wait_for(sub { $node->safe_psql('postgres', "SELECT ok AND last_backup = '$backups[2]' AND backups = 1 FROM pgv_status") eq 't' },
        "$kind: pgv_status after expiry");
    pass("$kind: pgv_status is ok");
    is($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_wal_ranges WHERE state = 'missing')), 0, "$kind: no gap is shown");
    is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_recovery_windows'), 1, "$kind: one recovery window");

    # Nothing at all is asked for: the newest stays, and it can be restored.
    set_and_reload($node, 'pgvigil.retention_fulls' => '0');
    # What was streamed of segments that are complete by now may go.
    is(rows($node, 'false, true') =~ /^(?:backup|wal)\|.*delete/m ? 1 : 0, 0, "$kind: with no retention at all the newest backup stays");
    my $expected = table_checksums($node);
    wait_for_archived($node);
    my $restored = restored_node("restored_$kind", $repository);
    start_copy($restored);
    is_same_data($restored, $expected, "$kind: restored after expiry");

    # A restored copy may not delete anything.
    my $now = $repository->fingerprint;
    sql_fails($restored, 'SELECT * FROM pgv_expire(false, true)', qr/55000.*(?:detached|take over|pgv_take_over)/s, "$kind: a copy expires nothing");
    is_deeply($repository->fingerprint, $now, "$kind: and changed nothing");
    $restored->stop('immediate');
    $node->stop('immediate');
}

done_testing();
