# A file that was recycled ahead on the old timeline is handed to the archiver of a promoted standby: it is refused, but
# holds up nothing, and leaves no gap.
use strict;
use warnings;
use File::Copy;
use PgVigil;
use PostgreSQL::Test::Utils;
use Test::More;

my $repository = new_repository('behind', 'file');
my $primary = new_node('primary', repository => $repository);
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
switch_wal($primary);
$primary->wait_for_catchup($standby, 'replay');
my $last = current_segment($primary);
$primary->stop('immediate');
promote($standby);
my $other = wait_for_archived($standby);

my $behind = sprintf('%s%08X', substr($last, 0, 16), hex(substr($last, 16)) + 1);
my $wal = $standby->data_dir . '/pg_wal';
copy("$wal/$other", "$wal/$behind") or die "could not copy: $!";
open(my $ready, '>', "$wal/archive_status/$behind.ready") or die "could not create: $!";
close($ready);
wait_for_archived($standby);
wait_for(sub { !-e "$wal/archive_status/$behind.ready" }, 'the file to be passed over');
ok(!$repository->has_segment($behind), 'what it holds is not stored');
like(slurp_file($standby->logfile), qr/leaves WAL file "$behind" out of the archive/, 'and the log says so');
is($standby->safe_psql('postgres', 'SELECT let_go_count FROM pgv_archiver'), '0', 'nothing was let go that is needed');

# On the timeline that goes on a file with another address stays an error.
my $wrong = sprintf('00000002%s%08X', substr($last, 8, 8), hex(substr($last, 16)) + 40);
copy("$wal/$other", "$wal/$wrong") or die "could not copy: $!";
open($ready, '>', "$wal/archive_status/$wrong.ready") or die "could not create: $!";
close($ready);
$standby->safe_psql('postgres', 'SELECT pg_switch_wal()');
wait_for(sub { slurp_file($standby->logfile) =~ /could not archive WAL file "$wrong"/ }, 'the refusal');
ok(-e "$wal/archive_status/$wrong.ready", 'another refused file is not let go');

done_testing();
