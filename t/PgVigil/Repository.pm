# A repository for one test: its URL, and a look at its objects that shares nothing with the product.
package PgVigil::Repository;
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find;
use File::Path qw(make_path);
use IPC::Run;
use PostgreSQL::Test::Utils;

my $tools = abs_path(dirname(__FILE__) . '/../../test/fault');
my $serial = 0;

sub s3_available { return defined $ENV{PGVIGIL_TEST_S3_ENDPOINT} ? 1 : 0; }

sub new
{
    my ($class, $name, $kind) = @_;
    my $self = bless { name => $name, kind => $kind }, $class;
    if ($kind eq 'file')
    {
        $self->{directory} = abs_path(PostgreSQL::Test::Utils::tempdir($name)) . '/repository';
        mkdir($self->{directory}, 0700) or die "could not create \"$self->{directory}\": $!";
        $self->{url} = "file://$self->{directory}";
        return $self;
    }
    die "unknown kind of repository \"$kind\"" unless $kind eq 's3';
    $self->{endpoint} = $ENV{PGVIGIL_TEST_S3_ENDPOINT};
    $self->{bucket} = $ENV{PGVIGIL_TEST_S3_BUCKET} // 'pgvigil-tap';
    $self->{prefix} = "$name-$$-" . time() . '-' . $serial++;
    # The product takes its keys from the usual chain: here, the environment of server and program.
    $ENV{AWS_ACCESS_KEY_ID} = $ENV{PGVIGIL_TEST_S3_ACCESS_KEY};
    $ENV{AWS_SECRET_ACCESS_KEY} = $ENV{PGVIGIL_TEST_S3_SECRET_KEY};
    $self->{url} = $self->url_at($self->{endpoint});
    $self->_client('make-bucket');
    return $self;
}

# The URL of the same repository at another endpoint (a proxy).
sub url_at
{
    my ($self, $endpoint) = @_;
    my $url = "s3://$self->{bucket}/$self->{prefix}?endpoint=$endpoint&path_style=on&region=" . ($ENV{PGVIGIL_TEST_S3_REGION} // 'us-east-1');
    $url .= "&ca_file=$ENV{PGVIGIL_TEST_S3_CA_FILE}" if $endpoint =~ /^https/ && $ENV{PGVIGIL_TEST_S3_CA_FILE};
    return $url;
}

sub url { return $_[0]{url}; }
sub kind { return $_[0]{kind}; }
sub directory { return $_[0]{directory}; }
sub set_url { $_[0]{url} = $_[1]; return; }

# Returns the keys below PREFIX, relative to the repository's root, sorted.
sub objects
{
    my ($self, $prefix) = @_;
    $prefix //= '';
    my @keys;
    if ($self->{kind} eq 'file')
    {
        my $root = $self->{directory};
        find({ no_chdir => 1, wanted => sub { push @keys, substr($_, length($root) + 1) if -f $_ } }, $root);
    }
    else
    {
        @keys = map { (split /\t/, $_, 2)[1] } split /\n/, $self->_client('list', "$self->{prefix}/");
        $_ = substr($_, length($self->{prefix}) + 1) for @keys;
    }
    return sort grep { index($_, $prefix) == 0 } @keys;
}

# Keys that match a pattern.
sub matching { my ($self, $pattern) = @_; return grep { $_ =~ $pattern } $self->objects; }

# The one key that matches a pattern.
sub only
{
    my ($self, $pattern) = @_;
    my @keys = $self->matching($pattern);
    die "expected one object like $pattern, found " . join(', ', @keys) unless @keys == 1;
    return $keys[0];
}

sub has_segment { my ($self, $segment) = @_; return scalar $self->matching(qr{/wal/[0-9A-F]{8}/[0-9A-F]{8}/\Q$segment\E$}); }

sub read_object
{
    my ($self, $key) = @_;
    my $path = $self->{kind} eq 'file' ? "$self->{directory}/$key" : PostgreSQL::Test::Utils::tempdir() . '/object';
    $self->_client('get', "$self->{prefix}/$key", $path) if $self->{kind} eq 's3';
    return PostgreSQL::Test::Utils::slurp_file($path);
}

# The writer's epoch in an object's header.
sub epoch_of { my ($self, $key) = @_; return unpack('Q<', substr($self->read_object($key), 24, 8)); }

# Replaces an object's bytes whatever its mode: damage that the product itself cannot do.
sub write_object
{
    my ($self, $key, $bytes) = @_;
    my $path = $self->{kind} eq 'file' ? "$self->{directory}/$key" : PostgreSQL::Test::Utils::tempdir() . '/object';
    make_path(dirname($path));
    unlink $path;
    open(my $file, '>:raw', $path) or die "could not write \"$path\": $!";
    print $file $bytes;
    close($file) or die "could not write \"$path\": $!";
    chmod 0600, $path;
    $self->_client('put', "$self->{prefix}/$key", $path) if $self->{kind} eq 's3';
    return;
}

sub delete_object
{
    my ($self, $key) = @_;
    if ($self->{kind} eq 'file') { unlink "$self->{directory}/$key" or die "could not remove \"$key\": $!"; }
    else { $self->_client('delete', "$self->{prefix}/$key"); }
    return;
}

# key => size and digest of everything, for "nothing was written".
sub fingerprint
{
    my ($self, $prefix) = @_;
    require Digest::SHA;
    # A writer shows that it lives, and streams, at any moment.
    return join("\n", map { "$_ " . Digest::SHA::sha256_hex($self->read_object($_)) } grep { !m{/(?:alive|tail)/} } $self->objects($prefix));
}

sub _client
{
    my ($self, @arguments) = @_;
    my ($out, $err);
    local @ENV{qw(AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY)} = @ENV{qw(PGVIGIL_TEST_S3_ACCESS_KEY PGVIGIL_TEST_S3_SECRET_KEY)};
    IPC::Run::run(
        [ 'python3', "$tools/s3client.py", '--endpoint', $self->{endpoint}, '--bucket', $self->{bucket}, @arguments ],
        '<', \undef, '>', \$out, '2>', \$err) or die "s3client @arguments: $err";
    return $out;
}

1;
