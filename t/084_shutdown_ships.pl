# A smart or fast shutdown ships everything: no row and not even the shutdown checkpoint is missing in the store, though that
# stands in a segment that is hardly begun; also while the archiver is busy. After the start streaming goes on.
use strict;
use warnings;
use PgVigil;
use PgVigil::FaultProxy;
use PgVigil::Stream;
use Test::More;

needs_s3();
my $repository = new_repository('shutdown_ships', 's3');
my $proxy = PgVigil::FaultProxy->new($repository->{endpoint});
# An interval so long that by itself nothing would be shipped while the test looks.
my $node = new_node('ships', settings => { 'pgvigil.repository' => $repository->url_at($proxy->endpoint), 'pgvigil.stream_interval' => '60s', autovacuum => 'off' });
$node->safe_psql('postgres', 'CREATE TABLE words (word text)');
backup_now($node);

my $number = 0;

# The copy replays to the last record of the stopped original, its shutdown checkpoint, and has the same rows.
sub has_everything
{
    my ($what, $words) = @_;
    my $checkpoint = checkpoint_of($node);
    my $copy = restored_node('ships_copy' . ++$number, $repository, '--no-sync');
    start_copy($copy);
    is($copy->safe_psql('postgres', q(SELECT string_agg(word, ' ' ORDER BY word) FROM words)), $words, "$what: the rows");
    is(end_of_replay($copy), $checkpoint, "$what: to the shutdown checkpoint");
    $copy->stop('immediate');
    $copy->clean_node;
    return;
}

my @words;
for my $mode ('fast', 'smart')
{
    push @words, "$mode.1", "$mode.2";
    $node->safe_psql('postgres', "INSERT INTO words VALUES ('$mode.1'); INSERT INTO words VALUES ('$mode.2')");
    $node->stop($mode);
    has_everything($mode, join ' ', sort @words);
    $node->start;
}

# The archiver has a queue when the shutdown comes: what it cannot finish is not in the way of the rest, and nothing is lost.
$proxy->set({ action => 'delay', seconds => 0.3, method => 'PUT', path => '/wal/' });
for my $one (1 .. 8)
{
    push @words, "x$one";
    $node->safe_psql('postgres', "INSERT INTO words VALUES ('x$one')");
    switch_wal($node);
}
push @words, 'y';
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('y')));
$node->stop('fast');
has_everything('with a busy archiver', join ' ', sort @words);
$proxy->set();

# And on: what is written after the start is streamed.
$node->append_conf('postgresql.conf', q(pgvigil.stream_interval = '50ms'));
$node->start;
push @words, 'z';
$node->safe_psql('postgres', q(INSERT INTO words VALUES ('z')));
wait_for_durable($node);
my $copy = restored_node('ships_on', $repository, '--no-sync');
start_copy($copy);
is($copy->safe_psql('postgres', q(SELECT string_agg(word, ' ' ORDER BY word) FROM words)), join(' ', sort @words), 'streaming goes on after the start');
$copy->stop('immediate');
$node->stop;

done_testing();
