# What a cluster holds, as lines that can be compared: every row of every table, system catalogs and large objects
# included, with its place, read by sequential scans so that no index hides anything.
package Differential::State;
use strict;
use warnings;
use Exporter 'import';
use IPC::Run;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(state_of differences is_sound);

# A query that makes the query of all tables. Unlogged tables hold nothing after a recovery, whatever they held before.
# Sequences are left out: replay moves them forward.
sub _query
{
    my ($recovered) = @_;
    my $unlogged = $recovered ? '(SELECT count(*) FROM %s)' : '0';
    return <<"S";
SELECT string_agg(format(CASE WHEN c.relpersistence = 'u' THEN 'SELECT %L, $unlogged, 0'
    ELSE 'SELECT %L, count(*), coalesce(sum(hashtextextended(r.ctid::text || ' || CASE c.relkind
        WHEN 't' THEN '(chunk_id, chunk_seq, chunk_data)' ELSE 'r' END || '::text, 0)), 0) FROM %s r' END,
    n.nspname || '.' || c.relname, c.oid::regclass), ' UNION ALL ' ORDER BY c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't'
S
}

# state_of(NODE, recovered => 1): table => rows and digest.
sub state_of
{
    my ($node, %options) = @_;
    my %state;
    my $sql = _query($options{recovered});
    local $ENV{PGOPTIONS} = '-c enable_indexscan=off -c enable_indexonlyscan=off -c enable_bitmapscan=off';
    for my $database (split /\n/, $node->safe_psql('postgres', 'SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1'))
    {
        for (split /\n/, $node->safe_psql($database, $node->safe_psql($database, $sql)))
        {
            my ($table, $rows, $digest) = split /\|/;
            $state{"$database|$table"} = "$rows rows, digest $digest";
        }
    }
    return \%state;
}

# The lines in which two states differ.
sub differences
{
    my ($got, $expected) = @_;
    my %names = (%$got, %$expected);
    return map { "$_: " . ($got->{$_} // 'absent') . '; the primary has ' . ($expected->{$_} // 'no such table') }
      grep { ($got->{$_} // '') ne ($expected->{$_} // '') } sort keys %names;
}

# Indexes agree with their tables, and, once the server is stopped, every page with its checksum.
sub is_sound
{
    my ($node, $what) = @_;
    my ($out, $err) = ('', '');
    my $good = IPC::Run::run(
        [ 'pg_amcheck', '--all', '--install-missing', '--heapallindexed', '--no-dependent-toast', '-j', '2', '-h', $node->host, '-p', $node->port ],
        '<', \undef, '>', \$out, '2>', \$err);
    ok($good && $out eq '', "$what: pg_amcheck finds nothing") or diag("$out$err");
    $node->stop;
    ($out, $err) = ('', '');
    ok(IPC::Run::run([ 'pg_checksums', '--check', '-D', $node->data_dir ], '<', \undef, '>', \$out, '2>', \$err),
        "$what: every page matches its checksum") or diag("$out$err");
    return;
}

1;
