# Random histories of a cluster: rows that come and go, relations that shrink and grow again, databases that are copied,
# moved and dropped. What is done follows from the seed alone, so that a history can be had again.
package Differential::Workload;
use strict;
use warnings;
use IPC::Run;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $max_databases = 3;
my $max_tables    = 6;

# new(NODE, SEED, spaces => [tablespace names]): with one database of three tables.
sub new
{
    my ($class, $node, $seed, %options) = @_;
    my $self = bless {
        node   => $node,
        random => $seed * 2654435761 % 4294967296 || 1,
        seed   => $seed,
        spaces => [ 'pg_default', @{ $options{spaces} // [] } ],
        databases => [],
        counter   => 0,
        copies    => [],
        scratch   => scratch_directory(),
    }, $class;
    my $first = $self->_name('db');
    $self->_sql('postgres', "CREATE DATABASE $first");
    push @{ $self->{databases} }, { name => $first, tables => [] };
    $self->_create_table($self->{databases}[0]) for 1 .. 3;
    return $self;
}

sub node { my ($self, $node) = @_; $self->{node} = $node if $node; return $self->{node}; }

# A whole number from 0 to LIMIT - 1 (xorshift32: the same on every perl).
sub below
{
    my ($self, $limit) = @_;
    my $x = $self->{random};
    $x ^= ($x << 13) & 0xffffffff;
    $x ^= $x >> 17;
    $x ^= ($x << 5) & 0xffffffff;
    $self->{random} = $x;
    return $x % $limit;
}

sub pick { my ($self, @list) = @_; return $list[ $self->below(scalar @list) ]; }

sub _name { my ($self, $kind) = @_; return $kind . ++$self->{counter}; }

sub _sql
{
    my ($self, $database, $sql) = @_;
    note("$database: $sql");
    return $self->{node}->safe_psql($database, $sql);
}

# Weights of what happens to a table, and to the cluster.
my %on_table = (
    insert => 10, update => 8, delete_some => 5, delete_tail => 8, vacuum => 3, copy => 5, open_copy => 4,
    truncate => 3, refill => 3, roll_back => 4, vacuum_full => 2, cluster => 2, reindex => 2, create_index => 3,
    drop_index => 2, set_logged => 4, set_tablespace => 3, freeze => 1, drop_table => 2, alter_column => 2);
my %on_cluster = (
    create_table => 4, table_as => 2, large_objects => 5, create_database => 2, drop_database => 1, move_database => 1,
    checkpoint => 3, crash => 1, subtransactions => 2);

# Does COUNT random things.
sub run
{
    my ($self, $count) = @_;
    my @names;
    for my $weights (\%on_table, \%on_cluster)
    {
        push @names, ($_) x $weights->{$_} for sort keys %$weights;
    }
    for (1 .. $count)
    {
        my $what = $self->pick(@names);
        my $method = $self->can("_do_$what");
        $on_table{$what} ? $self->$method($self->_any_table) : $self->$method;
    }
    return;
}

# Row changes for a session of its own, to happen while a backup runs: returns a handle for finish().
sub start_background
{
    my ($self) = @_;
    my $database = $self->pick(@{ $self->{databases} });
    my @scripts;
    for (1 .. 6)
    {
        my $table = $self->pick(@{ $database->{tables} }) or next;
        next if $table->{busy};
        push @scripts, $self->_insert_sql($table, 50 + $self->below(400)),
          "UPDATE $table->{name} SET word = word || 'x' WHERE id % " . (5 + $self->below(20)) . ' = 0',
          "DELETE FROM $table->{name} WHERE id % " . (7 + $self->below(20)) . ' = 1', "VACUUM $table->{name}";
    }
    my $sql = join(";\n", @scripts, 'SELECT 1') . ";\n";
    note("beside the backup, $database->{name}: $sql");
    my ($out, $err) = ('', '');
    my $node = $self->{node};
    my $handle = IPC::Run::start([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database->{name}) ],
        '<', \$sql, '>', \$out, '2>', \$err);
    return { handle => $handle, error => \$err };
}

sub finish
{
    my ($self, $background) = @_;
    IPC::Run::finish($background->{handle}) or die "the load beside the backup failed: ${$background->{error}}";
    return;
}

# Ends every COPY that is under way, some by an abort.
sub settle
{
    my ($self) = @_;
    for my $copy (@{ $self->{copies} })
    {
        my $commits = $self->below(3) > 0;
        append_to_file($copy->{gate}, $commits ? 'go' : 'fail');
        IPC::Run::finish($copy->{handle});
        note("the COPY into $copy->{table}{name} " . ($commits ? 'goes on' : 'is aborted') . ": ${$copy->{error}}");
        $copy->{table}{busy} = 0;
    }
    $self->{copies} = [];
    return;
}

# Tables that were cut off and have grown again since the last call: where a native incremental backup is known to
# bring rows back.
sub take_regrown
{
    my ($self) = @_;
    my %regrown;
    for my $database (@{ $self->{databases} })
    {
        for my $table (@{ $database->{tables} })
        {
            $regrown{"$database->{name}|$table->{name}"} = 1 if $table->{cut};
        }
    }
    return \%regrown;
}

sub forget_cuts { my ($self) = @_; $_->{cut} = 0 for map { @{ $_->{tables} } } @{ $self->{databases} }; return; }

sub _any_table
{
    my ($self) = @_;
    my @idle = map { my $d = $_; map { [ $d, $_ ] } grep { !$_->{busy} } @{ $d->{tables} } } @{ $self->{databases} };
    if (!@idle)
    {
        my $database = $self->pick(@{ $self->{databases} });
        return ($database, $self->_create_table($database));
    }
    return @{ $self->pick(@idle) };
}

sub _insert_sql
{
    my ($self, $table, $rows) = @_;
    my $salt = $self->below(1000000);
    # Every twentieth value is stored out of line.
    return "INSERT INTO $table->{name} SELECT g, g % 100, md5((g + $salt)::text), "
      . "CASE WHEN g % 20 = 0 THEN (SELECT string_agg(md5((g * i + $salt)::text), '') FROM generate_series(1, 90) i) END "
      . "FROM generate_series((SELECT coalesce(max(id), 0) + 1 FROM $table->{name}), "
      . "(SELECT coalesce(max(id), 0) + $rows FROM $table->{name})) g";
}

sub _create_table
{
    my ($self, $database) = @_;
    my $table = { name => $self->_name('t'), space => $self->pick(@{ $self->{spaces} }), unlogged => 0, cut => 0, busy => 0 };
    my $kind = '';
    if ($self->below(6) == 0) { $kind = 'UNLOGGED'; $table->{unlogged} = 1; }
    my $fill = $self->pick(100, 100, 60);
    my $create = "CREATE $kind TABLE $table->{name} (id bigint PRIMARY KEY, part int, word text, body text) "
      . "WITH (fillfactor = $fill) TABLESPACE $table->{space}";
    my $insert = $self->_insert_sql($table, 200 + $self->below(1500));
    # In one transaction no WAL but the finished files' may be written.
    $self->_sql($database->{name}, $self->below(2) ? "BEGIN; $create; $insert; COMMIT" : "$create; $insert");
    push @{ $database->{tables} }, $table;
    return $table;
}

sub _do_insert { my ($self, $d, $t) = @_; return $self->_sql($d->{name}, $self->_insert_sql($t, 20 + $self->below(1500))); }

sub _do_update
{
    my ($self, $d, $t) = @_;
    my $modulus = $self->pick(1, 2, 10, 50);
    return $self->_sql($d->{name}, "UPDATE $t->{name} SET word = md5(word), part = part + 1 WHERE id % $modulus = 0");
}

sub _do_delete_some
{
    my ($self, $d, $t) = @_;
    return $self->_sql($d->{name}, "DELETE FROM $t->{name} WHERE id % " . $self->pick(2, 3, 10) . ' = 1');
}

# The end of the table goes, and vacuum gives it back to the file system; often it grows again at once.
sub _do_delete_tail
{
    my ($self, $d, $t) = @_;
    my $percent = $self->pick(10, 40, 70, 100);
    my $sql = "DELETE FROM $t->{name} WHERE id > (SELECT max(id) - (max(id) - min(id) + 1) * $percent / 100 FROM $t->{name});\n"
      . "VACUUM (TRUNCATE) $t->{name}";
    $t->{cut} = 1;
    $sql .= ";\n" . $self->_insert_sql($t, 1 + $self->below(1500)) if $self->below(2);
    return $self->_sql($d->{name}, $sql);
}

sub _do_vacuum { my ($self, $d, $t) = @_; return $self->_sql($d->{name}, "VACUUM $t->{name}"); }
sub _do_freeze { my ($self, $d, $t) = @_; return $self->_sql($d->{name}, "VACUUM (FREEZE) $t->{name}"); }

# A program for COPY: rows up to FIRST, then, when GATE is given, it waits for that file and does as it says.
sub _copy_program
{
    my ($self, $first, $last, $gate) = @_;
    my $script = "$self->{scratch}/rows" . ++$self->{counter};
    append_to_file($script, <<"P");
\$| = 1;
print "\$_\\t", \$_ % 100, "\\tcopied \$_ ${\ ('x' x 70)}\\t", (\$_ % 30 ? "\\\\N" : "c" x 2500), "\\n" for $first .. $last;
P
    append_to_file($script, <<"P") if $gate;
select(undef, undef, undef, 0.05) until -s "$gate";
open(my \$f, '<', "$gate"); my \$word = <\$f>; die 'aborted' if \$word eq 'fail';
print "\$_\\t", \$_ % 100, "\\tcopied late \$_\\t\\\\N\\n" for $last + 1 .. $last + 500;
P
    return "perl $script";
}

sub _first_free { my ($self, $d, $t) = @_; return 1 + $self->{node}->safe_psql($d->{name}, "SELECT coalesce(max(id), 0) FROM $t->{name}"); }

sub _do_copy
{
    my ($self, $d, $t) = @_;
    my $first = $self->_first_free($d, $t);
    my $program = $self->_copy_program($first, $first + $self->below(3000));
    return $self->_sql($d->{name}, "COPY $t->{name} FROM PROGRAM '$program'");
}

# A COPY that has extended its table further than it has filled it, and stays so until settle().
sub _do_open_copy
{
    my ($self, $d, $t) = @_;
    return if @{ $self->{copies} } >= 2;
    my $first = $self->_first_free($d, $t);
    my $gate = "$self->{scratch}/gate" . ++$self->{counter};
    my $program = $self->_copy_program($first, $first + 2000 + $self->below(1500), $gate);
    note("$d->{name}: COPY $t->{name} FROM PROGRAM, left open");
    my ($out, $err) = ('', '');
    my $handle = IPC::Run::start([ 'psql', '-X', '-q', '-d', $self->{node}->connstr($d->{name}), '-c', "COPY $t->{name} FROM PROGRAM '$program'" ],
        '<', \undef, '>', \$out, '2>', \$err);
    # COPY reads 64 kB at a time and inserts a thousand rows at a time.
    wait_for(sub { $self->{node}->safe_psql($d->{name}, 'SELECT coalesce(max(tuples_processed), 0) FROM pg_stat_progress_copy') >= 1000 }, 'rows to be copied', 30);
    $t->{busy} = $t->{cut} = 1;
    push @{ $self->{copies} }, { handle => $handle, gate => $gate, table => $t, error => \$err };
    return;
}

sub _do_truncate { my ($self, $d, $t) = @_; return $self->_sql($d->{name}, "TRUNCATE $t->{name}"); }

sub _do_refill
{
    my ($self, $d, $t) = @_;
    my $end = $self->pick('COMMIT', 'COMMIT', 'ROLLBACK');
    return $self->_sql($d->{name}, "BEGIN; TRUNCATE $t->{name}; " . $self->_insert_sql($t, 1 + $self->below(1200)) . "; $end");
}

sub _do_roll_back
{
    my ($self, $d, $t) = @_;
    return $self->_sql($d->{name}, 'BEGIN; ' . $self->_insert_sql($t, 100 + $self->below(2000)) . "; DELETE FROM $t->{name} WHERE id % 3 = 0; ROLLBACK");
}

sub _do_vacuum_full { my ($self, $d, $t) = @_; return $self->_sql($d->{name}, "VACUUM FULL $t->{name}"); }
sub _do_cluster { my ($self, $d, $t) = @_; return $self->_sql($d->{name}, "CLUSTER $t->{name} USING $t->{name}_pkey"); }
sub _do_reindex { my ($self, $d, $t) = @_; return $self->_sql($d->{name}, "REINDEX TABLE $t->{name}"); }

sub _do_create_index
{
    my ($self, $d, $t) = @_;
    my $on = $self->pick('(word)', 'USING hash (word)', 'USING brin (part)', q(USING gin (to_tsvector('simple', word))), '(part, id)', 'USING spgist (word)');
    my $concurrently = $self->below(4) || @{ $self->{copies} } ? '' : 'CONCURRENTLY';
    my $name = $self->_name('i');
    push @{ $t->{indexes} }, $name;
    my $space = $on =~ /^U.*\(/ ? '' : ' TABLESPACE ' . $self->pick(@{ $self->{spaces} });
    return $self->_sql($d->{name}, "CREATE INDEX $concurrently $name ON $t->{name} $on$space");
}

sub _do_drop_index
{
    my ($self, $d, $t) = @_;
    my $name = pop @{ $t->{indexes} // [] } or return;
    return $self->_sql($d->{name}, "DROP INDEX $name");
}

sub _do_set_logged
{
    my ($self, $d, $t) = @_;
    $t->{unlogged} = !$t->{unlogged};
    return $self->_sql($d->{name}, "ALTER TABLE $t->{name} SET " . ($t->{unlogged} ? 'UNLOGGED' : 'LOGGED'));
}

sub _do_set_tablespace
{
    my ($self, $d, $t) = @_;
    $t->{space} = $self->pick(@{ $self->{spaces} });
    return $self->_sql($d->{name}, "ALTER TABLE $t->{name} SET TABLESPACE $t->{space}");
}

sub _do_alter_column
{
    my ($self, $d, $t) = @_;
    my $column = $self->_name('c');
    # A volatile default rewrites the table.
    return $self->_sql($d->{name}, "ALTER TABLE $t->{name} ADD COLUMN $column text DEFAULT " . $self->pick("'fixed'", 'md5(random()::text)') . "; ALTER TABLE $t->{name} DROP COLUMN $column");
}

sub _do_drop_table
{
    my ($self, $d, $t) = @_;
    @{ $d->{tables} } = grep { $_ != $t } @{ $d->{tables} };
    return $self->_sql($d->{name}, "DROP TABLE $t->{name}");
}

sub _do_create_table
{
    my ($self) = @_;
    my $database = $self->pick(@{ $self->{databases} });
    return if @{ $database->{tables} } >= $max_tables;
    return $self->_create_table($database);
}

sub _do_table_as
{
    my ($self) = @_;
    my ($d, $t) = $self->_any_table;
    return if @{ $d->{tables} } >= $max_tables;
    my $name = $self->_name('t');
    $self->_sql($d->{name}, "CREATE TABLE $name AS SELECT id, part, word, body FROM $t->{name}; ALTER TABLE $name ADD PRIMARY KEY (id)");
    push @{ $d->{tables} }, { name => $name, space => 'pg_default', unlogged => 0, cut => 0, busy => 0 };
    return;
}

sub _do_large_objects
{
    my ($self) = @_;
    my $d = $self->pick(@{ $self->{databases} });
    my $salt = $self->below(1000000);
    return $self->_sql($d->{name}, $self->pick(
        "SELECT lo_from_bytea(0, convert_to(repeat(md5('$salt'), 300 + $salt % 1500), 'UTF8')) FROM generate_series(1, 5)",
        "SELECT lo_put(oid, $salt % 5000, convert_to(repeat('$salt', 200), 'UTF8')) FROM pg_largeobject_metadata WHERE oid::bigint % 2 = 0",
        'SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid::bigint % 3 = 0; VACUUM pg_largeobject'));
}

sub _do_subtransactions
{
    my ($self) = @_;
    my ($d, $t) = $self->_any_table;
    my $insert = $self->_insert_sql($t, 50);
    return $self->_sql($d->{name}, "BEGIN; $insert; SAVEPOINT a; $insert; ROLLBACK TO a; SAVEPOINT b; $insert; RELEASE b; COMMIT");
}

sub _do_checkpoint { my ($self) = @_; return $self->_sql('postgres', 'CHECKPOINT'); }

sub _do_crash
{
    my ($self) = @_;
    $self->settle;
    note('crash');
    $self->{node}->stop('immediate');
    return $self->{node}->start;
}

# Nobody may be connected to the database that is copied, dropped or moved. And every process has to answer before a
# database's files go, which one that waits for a COPY's program does not.
sub _idle_database
{
    my ($self) = @_;
    return @{ $self->{copies} } ? undef : $self->pick(@{ $self->{databases} });
}

sub _alone
{
    my ($self, $database) = @_;
    wait_for(sub { $self->{node}->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = '$database'") == 0 }, "nobody in $database");
    return;
}

# The tablespaces in which relations lie that are not in the database's default.
sub _spaces_of
{
    my ($self, $database) = @_;
    return split /,/, $self->_sql($database->{name}, 'SELECT string_agg(DISTINCT spcname, $$,$$) FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace');
}

sub _do_create_database
{
    my ($self) = @_;
    my $from = $self->_idle_database;
    return if !$from || @{ $self->{databases} } >= $max_databases;
    my $name = $self->_name('db');
    my $strategy = $self->pick('wal_log', 'file_copy');
    my $space = $self->pick(@{ $self->{spaces} });
    # Where tables of the template lie already the copy cannot have its default; then it has the template's.
    my $where = grep({ $_ eq $space } $self->_spaces_of($from)) ? '' : " TABLESPACE $space";
    $self->_alone($from->{name});
    $self->_sql('postgres', "CREATE DATABASE $name TEMPLATE $from->{name} STRATEGY $strategy$where");
    # A copy's tables in the old default tablespace lie in the new one's.
    push @{ $self->{databases} }, { name => $name, tables => [ map { { %$_, indexes => [ @{ $_->{indexes} // [] } ], busy => 0 } } @{ $from->{tables} } ] };
    return;
}

sub _do_drop_database
{
    my ($self) = @_;
    my $database = $self->_idle_database;
    return if !$database || @{ $self->{databases} } < 2;
    @{ $self->{databases} } = grep { $_ != $database } @{ $self->{databases} };
    return $self->_sql('postgres', "DROP DATABASE $database->{name} WITH (FORCE)");
}

# Moves the relations that lie in the database's default tablespace; none may lie in the target already.
sub _do_move_database
{
    my ($self) = @_;
    my $database = $self->_idle_database or return;
    my @used = $self->_spaces_of($database);
    my ($free) = grep { my $space = $_; !grep { $_ eq $space } @used } reverse @{ $self->{spaces} };
    return if !$free;
    $self->_alone($database->{name});
    return $self->_sql('postgres', "ALTER DATABASE $database->{name} SET TABLESPACE $free");
}

1;
