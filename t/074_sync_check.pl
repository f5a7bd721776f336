# What pgv_check() says of synchronous mode: settings that belong together, the role, the line of pg_hba.conf.
use strict;
use warnings;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('sync_check', 'file');
my $node = new_node('sync_check', repository => $repository);
my $position = log_position($node);

sub finding
{
    my ($check) = @_;
    return $node->safe_psql('postgres', qq(SELECT ok || ': ' || detail FROM pgv_check() WHERE "check" = '$check'));
}

is($node->safe_psql('postgres', q(SELECT count(*) FROM pgv_check() WHERE "check" ~ 'synchronous')), 0, 'nothing is said where nobody asks for it');

# Half of the settings: commits would wait for ever, or not at all. Commits of the test itself must not wait.
set_and_reload($node, 'pgvigil.synchronous' => 'on');
like(finding('pgvigil.synchronous'), qr/^false: .*synchronous_standby_names/, 'nobody waits for pgvigil');
like(finding('synchronous connection'), qr/^true: role ".*" can connect/, 'but it could connect');
like(finding('pgvigil.synchronous_user'), qr/^true/, 'the role is right');
like(finding('max_wal_senders'), qr/^true/, 'there are WAL senders');
set_and_reload($node, synchronous_commit => 'local', synchronous_standby_names => '2 (other, PgVigil)');
like(finding('pgvigil.synchronous'), qr/^true: on/, 'a list that contains it');
set_and_reload($node, synchronous_standby_names => 'pgvigil2');
like(finding('pgvigil.synchronous'), qr/^false/, 'a name that only begins like it');
set_and_reload($node, synchronous_standby_names => '*');
like(finding('pgvigil.synchronous'), qr/^true/, 'any standby');
set_and_reload($node, synchronous_standby_names => 'pgvigil', 'pgvigil.synchronous' => 'off');
like(finding('pgvigil.synchronous'), qr/^false: off, .*wait for ever/, 'commits that wait for nobody');

# Roles.
set_and_reload($node, 'pgvigil.synchronous' => 'on', 'pgvigil.synchronous_user' => 'shipper');
like(finding('pgvigil.synchronous_user'), qr/^false: role "shipper" does not exist: CREATE ROLE "shipper" LOGIN REPLICATION/, 'a role that is not there');
$node->safe_psql('postgres', 'CREATE ROLE shipper LOGIN');
like(finding('pgvigil.synchronous_user'), qr/^false: .*replicate.*ALTER ROLE "shipper" LOGIN REPLICATION/, 'a role that may not replicate');
like(finding('synchronous connection'), qr/^false/, 'it cannot connect');
$node->safe_psql('postgres', 'ALTER ROLE shipper REPLICATION');
wait_for(sub { finding('synchronous connection') =~ /^true: role "shipper"/ }, 'the connection with the attribute');

# pg_hba.conf: nobody may replicate.
my $hba = $node->data_dir . '/pg_hba.conf';
my $kept = join '', grep { !/\breplication\b/ } map { "$_\n" } split /\n/, slurp_file($hba);
unlink $hba;
append_to_file($hba, $kept);
$node->reload;
my $detail = wait_for(sub { my $said = finding('synchronous connection'); $said =~ /^false/ ? $said : undef }, 'the connection to be refused');
like($detail, qr/\Q$hba\E": local replication shipper scram-sha-256/, 'the file and the line');
like($detail, qr/pgpass/, 'and where the password belongs');
set_and_reload($node, 'pgvigil.synchronous_user' => '');
my $user = getpwuid($<);
$detail = wait_for(sub { my $said = finding('synchronous connection'); $said =~ /"[^"]*": local replication/ ? $said : undef }, 'the default user');
like($detail, qr/local replication "?\Q$user\E"? peer/, 'the operating system\'s user is let in by peer');
append_to_file($hba, ($detail =~ /(local replication "?\Q$user\E"? peer)/)[0] . "\n");
$node->reload;
wait_for(sub { finding('synchronous connection') =~ /^true/ }, 'the connection with that line');
wait_for(sub { $node->safe_psql('postgres', q(SELECT sync_state FROM pg_stat_replication WHERE application_name = 'pgvigil')) eq 'sync' }, 'the streamer to connect');
is($node->safe_psql('postgres', 'SELECT stream_mode FROM pgv_status'), 'synchronous', 'pgv_status tells the mode');
unlike(log_since($node, $position), qr/\bERROR\b|PANIC/, 'no error meanwhile');

done_testing();
