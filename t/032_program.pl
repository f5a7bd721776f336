# The program by itself: list, check, plan, JSON, help, exit codes for bad usage.
use strict;
use warnings;
use PgVigil;
use JSON::PP;
use Test::More;

my $repository = new_repository('program');
my $node = new_node('program', repository => $repository);
fill_tables($node);
my $id = backup_now($node);
wait_for_archived($node);

my ($status, $out, $err) = pgvigil('--version');
is($status, 0, '--version');
like($out, qr/\d+\.\d+/, 'prints a version');
($status, $out) = pgvigil('--help');
is($status, 0, '--help');
like($out, qr/\b$_\b/, "names $_") for qw(restore wal-get list check);
for my $command (qw(restore wal-get list check))
{
    ($status, $out) = pgvigil($command, '--help');
    is($status, 0, "$command --help");
    like($out, qr/--repository/, "$command --help names --repository");
}

($status, $out) = pgvigil('list', '--repository', $repository->url, '--json');
is($status, 0, 'list --json');
my $list = eval { decode_json($out) };
ok($list, 'is JSON') or diag($out);
like($out, qr/\Q$id\E/, 'with the backup');
($status, $out) = pgvigil('check', '--repository', $repository->url);
is($status, 0, 'check');
($status, $out) = pgvigil('check', '--repository', $repository->url, '--json');
is($status, 0, 'check --json');
ok(eval { decode_json($out); 1 }, 'is JSON') or diag($out);
($status, $out) = pgvigil('restore', '--repository', $repository->url, '-D', $node->basedir . '/json', '--json');
is($status, 0, 'restore --json');
ok(eval { decode_json($out); 1 }, 'is JSON') or diag($out);

# SQL's own check agrees.
is($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_check() WHERE NOT ok'), 0, 'pgv_check finds nothing wrong')
  or diag($node->safe_psql('postgres', 'SELECT * FROM pgv_check()'));
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM pgv_check()'), '>=', 4, 'after several checks');

# Bad usage: the value and what was expected.
for my $case (
    [ [], qr/command|usage/i ],
    [ ['frobnicate'], qr/frobnicate/ ],
    [ [ 'list', '--repository', 'gopher://x' ], qr/gopher/ ],
    [ [ 'list', '--repository', 's3://' ], qr/bucket|s3:/ ],
    [ [ 'list', '--repository', $repository->url, '--no-such-option' ], qr/no-such-option/ ],
    [ [ 'restore', '--repository', $repository->url ], qr/-D|directory|target/i ],
    [ [ 'restore', '--repository', $repository->url, '-D', $node->basedir . '/x', '--tablespace-map', 'nonsense' ], qr/nonsense/ ],
    [ [ 'restore', '--repository', $repository->url, '-D', $node->basedir . '/x', '--threads', 'many' ], qr/many|threads|unknown|not expected/i ])
{
    my ($arguments, $pattern) = @$case;
    my ($code, $stdout, $stderr) = pgvigil(@$arguments);
    isnt($code, 0, "bad usage: @$arguments[0 .. ($#$arguments > 0 ? 0 : $#$arguments)] …");
    like("$stdout$stderr", $pattern, 'named in the message');
}
ok(!-e $node->basedir . '/x', 'and nothing was created');

done_testing();
