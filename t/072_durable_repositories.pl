# What pgv_status calls durable is in as many of the listed repositories as are required, whatever a reload changes: more
# are required, one is added that lacks what was streamed before, one is swapped; and it never goes back while what it
# rests on stays the same. A crash of the server begins anew and claims no more than before.
use strict;
use warnings;
use PgVigil;
use PgVigil::Stream;
use Test::More;

my $size = 1024 * 1024;
my @all = map { new_repository("durable_$_", 'file') } qw(one two three four);
my ($one, $two, $three, $four) = @all;
my $node = new_node('durable', repository => [ $one, $two ], initdb => ['--wal-segsize=1'],
    settings => {
        'pgvigil.retry_timeout' => '1s', 'pgvigil.stream_interval' => '50ms', 'pgvigil.required_repositories' => '1', autovacuum => 'off',
        wal_keep_size => '64MB' });
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
wait_for_durable($node);

sub durable { return answer_of($node, q(SELECT coalesce(durable_lsn::text, '') FROM pgv_status)); }
sub number { my ($high, $low) = split m{/}, $_[0]; return hex($high) * 4294967296 + hex($low); }
sub write_words { $node->safe_psql('postgres', "INSERT INTO words SELECT md5(g::text) FROM generate_series(1, $_[0]) g"); return; }

sub segment_number { my ($high, $low) = $_[0] =~ /([0-9A-F]{8})([0-9A-F]{8})$/; return hex($high) << 12 | hex $low; }

# Whether the repository has every byte below the position, from the first segment on that it has, or that the server could
# still give it.
sub holds
{
    my ($repository, $lsn) = @_;
    my (%runs, %reached);
    push @{ $runs{"$_->{segment} $_->{run}"} }, $_ for pieces($repository);
    for my $name (keys %runs)
    {
        my $segment = segment_number((split / /, $name)[0]);
        my $end = 0;
        for my $piece (sort { $a->{from} <=> $b->{from} } @{ $runs{$name} }) { $end = $piece->{to} if $piece->{from} <= $end && $piece->{to} > $end; }
        $reached{$segment} = $end if $end > ($reached{$segment} // 0);
    }
    $reached{ segment_number($_) } = $size for $repository->matching(qr{/wal/[0-9A-F]{8}/[0-9A-F]{8}/[0-9A-F]{24}$});
    my @local = map { segment_number($_) } grep { /[0-9A-F]{24}$/ } glob($node->data_dir . '/pg_wal/0*');
    my ($segment) = sort { $a <=> $b } %reached ? keys %reached : @local;
    $segment++ while ($reached{$segment} // 0) == $size;
    return $segment * $size + ($reached{$segment} // 0) >= number($lsn);
}

# watch(REPOSITORIES, REQUIRED, UNTIL, WHAT): until the condition holds, what is called durable is in so many of these, and grows.
my $last = '';
my @wrong;
sub watch
{
    my ($repositories, $required, $until, $what) = @_;
    $last = '';
    wait_for(
        sub {
            my $ended = $until->();
            my $lsn = durable() // return 0;
            return $ended if $lsn eq '' && $last eq '';
            # First the claim, then what is there.
            my $holders = $lsn eq '' ? 0 : grep { holds($_, $lsn) } @$repositories;
            push @wrong, "$what: $lsn is in $holders of them" if $lsn ne '' && $holders < $required;
            push @wrong, "$what: from $last back to $lsn" if $last ne '' && ($lsn eq '' || number($lsn) < number($last));
            $last = $lsn;
            return $ended;
        },
        $what);
    is(join('; ', @wrong), '', $what);
    @wrong = ();
    return;
}

sub url_list { return join(', ', map { $_->url } @_); }
sub failing { my ($position) = @_; return log_since($node, $position) =~ /could not stream WAL/; }

# More are required than have it: the second one is away.
wait_for(sub { holds($two, durable()) }, 'both to have it');
rename($two->directory, $two->directory . '.away') or die;
write_words(100);
my $segment = wait_for_archived($node);
write_words(100);
my $before = wait_for_durable($node);
set_and_reload($node, 'pgvigil.required_repositories' => '2');
# While it is away nothing is said of it but that.
my $looks = 0;
watch([$one], 2, sub { $looks++ if (answer_of($node, 'SELECT role FROM pgv_status') // '') eq 'foreign'; $looks > 10 }, 'two are required and one is away');
is(durable(), '', 'what only one of them has is not called durable');
rename($two->directory . '.away', $two->directory) or die;
watch([ $one, $two ], 2, sub { is_durable($node, $before) }, 'it is back and is filled in');

# One of them takes nothing: a new session begins with less than the one before had, and does not take it back.
write_words(10);
$before = wait_for_durable($node);
wait_for(sub { holds($two, $before) }, 'the second one to have it');
my ($current) = segment_position($node, $before);
my $directory = $two->directory . '/' . ($two->matching(qr{/tail/00000001/$current/}))[0] =~ s{/[^/]+$}{}r;
sub new_session
{
    my ($required, $what, %settings) = @_;
    my ($position, $begun) = (log_position($node), scalar(() = run_documents($two)));
    set_and_reload($node, %settings);
    write_words(10);
    watch([ $one, $two ], $required, sub { failing($position) && run_documents($two) > $begun }, $what);
    return;
}
chmod(0555, $directory) or die;
new_session(2, 'a repository takes nothing more', 'pgvigil.stream_interval' => '60ms');
is($last, $before, 'nothing is taken back, nor is anything called durable that one of them lacks');

# Nor where it is enough that the other has it, until that is not enough any more.
new_session(1, 'one is enough', 'pgvigil.required_repositories' => '1');
$before = wait_for_durable($node);
new_session(2, 'two are required and one takes nothing', 'pgvigil.required_repositories' => '2');
ok(!is_durable($node, $before), 'what only one of them has is not called durable any more');
chmod(0755, $directory) or die;
my $behind = flushed_lsn($node);
watch([ $one, $two ], 2, sub { is_durable($node, $behind) }, 'until it does');

# One is added that has nothing of what came before.
my $position = log_position($node);
set_and_reload($node, 'pgvigil.repository' => url_list($one, $two, $three), 'pgvigil.required_repositories' => 'all');
watch([ $one, $two, $three ], 3, sub { log_since($node, $position) =~ /pgv_accept_repository/ || holds($three, '0/1') }, 'a third one is listed');
$node->safe_psql('postgres', 'SELECT pgv_accept_repository()');
$behind = flushed_lsn($node);
watch([ $one, $two, $three ], 3, sub { is_durable($node, $behind) }, 'it has what was written before it was added');

# One is swapped for another.
$position = log_position($node);
set_and_reload($node, 'pgvigil.repository' => url_list($one, $four));
watch([ $one, $four ], 2, sub { log_since($node, $position) =~ /pgv_accept_repository/ || holds($four, '0/1') }, 'another one is listed');
$node->safe_psql('postgres', 'SELECT pgv_accept_repository()');
write_words(10);
$behind = flushed_lsn($node);
watch([ $one, $four ], 2, sub { is_durable($node, $behind) }, 'and has everything');

# A crash: shared memory begins anew.
my $runs = run_documents($four);
kill 'KILL', $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pgvigil streamer'));
watch([ $one, $four ], 2, sub { run_documents($four) > $runs && (durable() // '') ne '' && is_durable($node, $behind) }, 'after a crash');
write_words(10);
$behind = flushed_lsn($node);
watch([ $one, $four ], 2, sub { is_durable($node, $behind) }, 'and on');

$node->stop('immediate');
done_testing();
