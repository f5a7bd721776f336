# What a promotion leaves for the archive: the history file, and the old timeline's last segment as .partial under its
# digest; two standbys of one primary may differ there.
use strict;
use warnings;
use PgVigil;
use Test::More;

my $repository = new_repository('promotion', 'file');
my $primary = new_node('primary', repository => $repository);
fill_tables($primary);
backup_now($primary);
my $standby = new_standby($primary);
wait_for(sub { $standby->safe_psql('postgres', 'SELECT role FROM pgv_status') eq 'standby' }, 'the standby to be registered');
$primary->safe_psql('postgres', 'INSERT INTO items SELECT max(id) + 1 FROM items');
$primary->wait_for_catchup($standby, 'replay');
my $partial = current_segment($primary);
$primary->stop('immediate');
promote($standby);
wait_for_archived($standby);
wait_for(sub { $repository->matching(qr/\Q$partial\E\.partial/) }, 'the partial segment');
like($repository->only(qr/\Q$partial\E\.partial/), qr/\.partial-[0-9a-f]{16}$/, 'a partial segment carries its digest in its name');
is(scalar($repository->matching(qr{/wal/00000002\.history$|/00000002/00000002\.history$|00000002\.history$})), 1, 'the history file');
ok($repository->matching(qr{/wal/00000002/}), 'segments of the new timeline');

# The first segment of the new timeline begins with pages of the old one (rules B2) and was archived all the same.
ok($repository->has_segment($partial =~ s/^00000001/00000002/r), 'the segment in which the timelines part');
is(join(' ', grep { $repository->epoch_of($_) != 2 } $repository->matching(qr{/wal/00000002/[0-9A-F]{8}/[0-9A-F]{24}})), '',
    'every segment of the new timeline carries the new epoch');
my $expected = table_checksums($standby);
wait_for_archived($standby);
my $copy = restored_node('promotion_copy', $repository);
start_copy($copy);
is_same_data($copy, $expected, 'across the promotion');

done_testing();
