#include "storage/repository_url.h"
#include "storage_test_support.h"

#include "storage/url_text.h"
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

using test::error_of;

std::string normalised(std::string_view text) {
    return parse_repository_url(text).normalised();
}
std::string message(std::string_view text) {
    const Error error = error_of([&] { return parse_repository_url(text); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message() + " | " + error.detail() + " | " + error.hint();
}
bool says(const std::string &text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

TEST(RepositoryUrl, Files) {
    EXPECT_EQ(parse_repository_url("file:///var/backups/pg").path, "/var/backups/pg");
    EXPECT_EQ(normalised("FILE:///var//backups/./pg/"), "file:///var/backups/pg");
    EXPECT_EQ(parse_repository_url("file:///a%2Cb/c%20d").path, "/a,b/c d");
    EXPECT_EQ(normalised("file:///a%2Cb"), "file:///a%2Cb");
}

TEST(RepositoryUrl, FilesThatAreRefused) {
    EXPECT_TRUE(says(message("/var/backups"), "Write file:///var/backups."));
    EXPECT_TRUE(says(message("file://var/backups"), "Write three slashes: file:///var/backups."));
    EXPECT_TRUE(says(message("file:///"), "root directory"));
    EXPECT_TRUE(says(message("file:///a/../b"), "\"..\""));
    EXPECT_TRUE(says(message("file:///a?x=1"), "no parameters"));
    EXPECT_TRUE(says(message("file:///a%zz"), "%"));
    EXPECT_TRUE(says(message("file:///a%00b"), "%"));
    EXPECT_TRUE(says(message(""), "file:// or s3://"));
    EXPECT_TRUE(says(message("gs://bucket"), "unknown kind of store \"gs://\""));
}

TEST(RepositoryUrl, S3WithEverything) {
    const RepositoryUrl url = parse_repository_url(
        "s3://my-bucket/prod/a?endpoint=https://Minio.example:9000/&region=eu-west-1&path_style=off&profile=backup&"
        "ca_file=/etc/ca.pem&storage_class=STANDARD_IA&conditional_create=off");
    EXPECT_EQ(url.bucket, "my-bucket");
    EXPECT_EQ(url.prefix, "prod/a");
    EXPECT_EQ(url.endpoint->url(), "https://minio.example:9000");
    EXPECT_EQ(url.region, "eu-west-1");
    EXPECT_FALSE(url.path_style);
    EXPECT_EQ(url.profile, "backup");
    EXPECT_EQ(url.ca_file, "/etc/ca.pem");
    EXPECT_EQ(url.storage_class, "STANDARD_IA");
    EXPECT_EQ(url.conditional_create, ConditionalCreate::kOff);
    EXPECT_EQ(
        url.normalised(),
        "s3://my-bucket/prod/a?endpoint=https://minio.example:9000&region=eu-west-1&path_style=off&profile=backup&"
        "ca_file=/etc/ca.pem&storage_class=STANDARD_IA&conditional_create=off");
    EXPECT_EQ(url.display_name(), "s3://my-bucket/prod/a?endpoint=https://minio.example:9000");
}

TEST(RepositoryUrl, DefaultsAreLeftOut) {
    EXPECT_EQ(normalised("s3://bucket//a//b/?region=x&path_style=OFF&insecure=off&conditional_create=auto"),
              "s3://bucket/a/b?region=x");
    EXPECT_EQ(normalised("s3://bucket"), "s3://bucket");
    EXPECT_TRUE(parse_repository_url("s3://bucket?endpoint=localhost:1").path_style);
    EXPECT_TRUE(parse_repository_url("s3://with.dots").path_style);
    EXPECT_FALSE(parse_repository_url("s3://bucket").path_style);
    EXPECT_EQ(normalised("s3://bucket?endpoint=example.com:443"), "s3://bucket?endpoint=https://example.com");
    EXPECT_EQ(normalised("s3://bucket?endpoint=https%3A%2F%2F[::1]:9000"), "s3://bucket?endpoint=https://[::1]:9000");
}

TEST(RepositoryUrl, S3ThatIsRefused) {
    EXPECT_TRUE(says(message("s3://"), "bucket name"));
    EXPECT_TRUE(says(message("s3://ab/x"), "\"ab\" is no bucket name"));
    EXPECT_TRUE(says(message("s3://bu cket"), "bucket name"));
    EXPECT_TRUE(says(message("s3://bucket?colour=red"), "unknown parameter \"colour\""));
    EXPECT_TRUE(says(message("s3://bucket?colour=red"), "Known parameters: endpoint, region, path_style"));
    EXPECT_TRUE(says(message("s3://bucket?path_style=maybe"), "path_style=\"maybe\"; \"on\" or \"off\" is expected"));
    EXPECT_TRUE(says(message("s3://bucket?region"), "NAME=VALUE"));
    EXPECT_TRUE(says(message("s3://bucket?region="), "empty value"));
    EXPECT_TRUE(says(message("s3://bucket?region=a&region=b"), "given twice"));
    EXPECT_TRUE(says(message("s3://bucket?region=eu west"), "region=\"eu west\""));
    EXPECT_TRUE(says(message("s3://bucket?endpoint=ftp://x"), "https://HOST[:PORT] is expected"));
    EXPECT_TRUE(says(message("s3://bucket?endpoint=https://x/path"), "has a path"));
    for (const char *port : {"0", "65536", "http", "", "-1", "1x"})
        EXPECT_TRUE(says(message(std::string("s3://bucket?endpoint=https://x:") + port), "a number from 1 to 65535"))
            << port;
    EXPECT_TRUE(says(message("s3://bucket?endpoint=https://"), "no valid host name"));
    EXPECT_TRUE(says(message("s3://bucket?ca_file=ca.pem"), "absolute path"));
    EXPECT_TRUE(says(message("s3://bucket?conditional_create=perhaps"), "\"auto\", \"on\" or \"off\""));
    EXPECT_TRUE(says(message("s3://bucket/a/../b"), "\"..\""));
    EXPECT_TRUE(says(message("s3://bucket#x"), "#"));
}

TEST(RepositoryUrl, PlainHttpOnlyToThisMachine) {
    for (const char *host : {"localhost", "127.0.0.1:9000", "127.9.9.9", "[::1]:80"})
        EXPECT_NO_THROW(static_cast<void>(parse_repository_url(std::string("s3://bucket?endpoint=http://") + host)))
            << host;
    for (const char *host : {"example.com", "127.0.0.1.example.com", "10.0.0.1", "localhost.example"})
        EXPECT_TRUE(says(message(std::string("s3://bucket?endpoint=http://") + host), "is not encrypted")) << host;
    EXPECT_TRUE(parse_repository_url("s3://bucket?endpoint=http://example.com&insecure=on").insecure);
}

TEST(RepositoryUrl, SecretsAreRefusedAndNotRepeated) {
    for (const char *text :
         {"s3://AKIAKEY:hunter2@bucket/x", "s3://hunter2@bucket", "s3://bucket?access_key=hunter2",
          "s3://bucket?secret=hunter2", "s3://bucket?AWS_SECRET_ACCESS_KEY=hunter2",
          "s3://bucket?session-token=hunter2", "s3://bucket?password=hunter2", "s3://bucket?key=hunter2",
          "s3://bucket?endpoint=https://user:hunter2@host", "s3://bucket?region=x&secretKey=hunter2"}) {
        const std::string said = message(text);
        EXPECT_FALSE(says(said, "hunter2")) << said;
        EXPECT_TRUE(says(said, "credentials_file")) << said;
    }
}

TEST(RepositoryUrl, Lists) {
    EXPECT_TRUE(parse_repository_list("").empty());
    EXPECT_TRUE(parse_repository_list("  \n ").empty());
    const auto urls = parse_repository_list(" file:///a , s3://bucket/b?region=x,file:///c%2Cd");
    ASSERT_EQ(urls.size(), 3U);
    EXPECT_EQ(urls[0].path, "/a");
    EXPECT_EQ(urls[1].bucket, "bucket");
    EXPECT_EQ(urls[2].path, "/c,d");
    EXPECT_TRUE(
        says(error_of([] { return parse_repository_list("file:///a,,file:///b"); }).message(), "an item is empty"));
    EXPECT_TRUE(says(error_of([] { return parse_repository_list("file:///a,"); }).message(), "an item is empty"));
    EXPECT_TRUE(says(error_of([] { return parse_repository_list("file:///a,file:///a/"); }).message(), "named twice"));
}

RC_GTEST_PROP(RepositoryUrlProperty, PercentCodingRoundTrips, ()) {
    const auto text = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
    RC_ASSERT(percent_decode(percent_encode(text)) == text);
}

RC_GTEST_PROP(RepositoryUrlProperty, NormalisingTwiceChangesNothing, ()) {
    const auto name = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange<char>(32, 126)));
    const std::string text = "file:///x" + percent_encode(name, "/");
    if (text.find("/../") != std::string::npos || text.ends_with("/.."))
        return;
    const std::string once = normalised(text);
    RC_ASSERT(normalised(once) == once);
    RC_ASSERT(once.find(',') == std::string::npos);
}

RC_GTEST_PROP(RepositoryUrlProperty, AnythingElseIsAnErrorNotACrash, (const std::string &rest)) {
    for (const char *start : {"", "s3://", "s3://bucket?", "s3://bucket?endpoint=", "file://"}) {
        try {
            static_cast<void>(parse_repository_list(start + rest));
        } catch (const Error &error) {
            RC_ASSERT(error.code() == ErrorCode::kInvalidArgument);
        }
    }
}

} // namespace
} // namespace pgvigil
