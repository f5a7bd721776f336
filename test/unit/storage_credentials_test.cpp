// Where keys come from, how they are renewed, and that they appear in no message.

#include "base/time.h"
#include "storage/s3/credentials.h"
#include "storage/s3/credentials_file.h"
#include "storage_http_server.h"
#include "storage_test_support.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sys/stat.h>

namespace pgvigil::s3 {
namespace {

using test::error_of;
using test::HttpServer;
using test::ServerReply;
using test::ServerRequest;

class CredentialsTest : public testing::Test {
  protected:
    std::string write(const std::string &name, const std::string &text, mode_t mode = 0600) {
        const std::string path = directory_.path() + "/" + name;
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        std::ofstream(path) << text;
        EXPECT_EQ(chmod(path.c_str(), mode), 0);
        return path;
    }
    // The environment of the test, with a home of its own and no metadata service.
    CredentialsOptions options(std::map<std::string, std::string> values = {}) {
        values.emplace("HOME", directory_.path());
        values.emplace("AWS_EC2_METADATA_DISABLED", "true");
        CredentialsOptions options;
        options.environment = Environment(std::move(values));
        options.log = &log_;
        return options;
    }
    SigningKey key(const CredentialsOptions &options) { return make_credentials(options)->get(never_); }
    Error error(const CredentialsOptions &options) {
        const Error error = error_of([&] { return key(options); });
        for (const std::string &text : {error.message(), error.detail(), error.hint()})
            EXPECT_EQ(text.find("HUSH"), std::string::npos) << text;
        return error;
    }

    const CancelToken never_;
    test::TemporaryDirectory directory_;
    test::RememberingLog log_;
};

constexpr const char *kTwoProfiles = "# comment\n[default]\naws_access_key_id = AK1\naws_secret_access_key=HUSH1\n\n"
                                     "[ other ]\r\naws_access_key_id=AK2\r\naws_secret_access_key = HUSH2\r\n"
                                     "aws_session_token = TOKEN2\r\ns3 =\r\n  max_queue = 3\r\n";

TEST_F(CredentialsTest, TheEnvironmentComesFirst) {
    write(".aws/credentials", kTwoProfiles);
    const SigningKey found =
        key(options({{"AWS_ACCESS_KEY_ID", "AKE"}, {"AWS_SECRET_ACCESS_KEY", "HUSHE"}, {"AWS_SESSION_TOKEN", "TE"}}));
    EXPECT_EQ(found.access_key, "AKE");
    EXPECT_EQ(found.secret_key, "HUSHE");
    EXPECT_EQ(found.session_token, "TE");
    EXPECT_EQ(error(options({{"AWS_SECRET_ACCESS_KEY", "HUSHE"}})).code(), ErrorCode::kInvalidArgument);
}

TEST_F(CredentialsTest, ProfilesOfTheSharedFile) {
    write(".aws/credentials", kTwoProfiles);
    EXPECT_EQ(key(options()).access_key, "AK1");
    EXPECT_EQ(key(options({{"AWS_PROFILE", "other"}})).session_token, "TOKEN2");
    // A profile of the URL holds, whatever the environment says.
    CredentialsOptions with_profile = options({{"AWS_ACCESS_KEY_ID", "AKE"}, {"AWS_SECRET_ACCESS_KEY", "HUSHE"}});
    with_profile.profile = "other";
    EXPECT_EQ(key(with_profile).access_key, "AK2");
    with_profile.profile = "third";
    const Error none = error(with_profile);
    EXPECT_EQ(none.code(), ErrorCode::kAccessDenied);
    EXPECT_NE(none.detail().find("profile \"third\""), std::string::npos) << none.detail();
}

TEST_F(CredentialsTest, FilesMayLieElsewhereAndKeysInTheConfig) {
    const std::string path = write("creds", kTwoProfiles);
    EXPECT_EQ(key(options({{"AWS_SHARED_CREDENTIALS_FILE", path}})).access_key, "AK1");
    write(".aws/config", "[default]\nregion = eu-west-3\naws_access_key_id = AKC\naws_secret_access_key = HUSHC\n"
                         "[profile work]\nregion = ap-south-1\n");
    EXPECT_EQ(key(options()).access_key, "AKC");
    EXPECT_EQ(configured_region(options()), "eu-west-3");
    EXPECT_EQ(configured_region(options({{"AWS_PROFILE", "work"}})), "ap-south-1");
    EXPECT_EQ(configured_region(options({{"AWS_REGION", "us-west-1"}})), "us-west-1");
}

TEST_F(CredentialsTest, TheCredentialsFileSettingIsAllThatCounts) {
    write(".aws/credentials", kTwoProfiles);
    CredentialsOptions with_file = options({{"AWS_ACCESS_KEY_ID", "AKE"}, {"AWS_SECRET_ACCESS_KEY", "HUSHE"}});
    with_file.credentials_file = write("mine", "[default]\naws_access_key_id = AKF\naws_secret_access_key = HUSHF\n");
    EXPECT_EQ(key(with_file).access_key, "AKF");
    with_file.profile = "other";
    EXPECT_NE(error(with_file).message().find("has no keys for profile \"other\""), std::string::npos);
    with_file.credentials_file = directory_.path() + "/absent";
    EXPECT_NE(error(with_file).message().find("/absent\" does not exist"), std::string::npos);
}

TEST_F(CredentialsTest, AFileThatOthersMayReadIsRefused) {
    for (const mode_t mode : {0644, 0604, 0602, 0620}) {
        CredentialsOptions with_file = options();
        with_file.credentials_file = write("mine", kTwoProfiles, mode);
        EXPECT_EQ(error(with_file).code(), ErrorCode::kAccessDenied) << mode;
    }
}

TEST_F(CredentialsTest, BrokenFilesAreNamedWithTheirLine) {
    for (const auto &[text, line] :
         {std::pair{"aws_access_key_id = HUSH\n", 1}, {"[default]\n\naws HUSH\n", 3}, {"[default\n", 1}}) {
        write(".aws/credentials", text);
        const Error broken = error(options());
        EXPECT_EQ(broken.code(), ErrorCode::kInvalidArgument);
        EXPECT_NE(broken.message().find(fmt::format("line {} of \"{}/.aws/credentials\"", line, directory_.path())),
                  std::string::npos)
            << broken.message();
    }
    write(".aws/credentials", "[default]\naws_access_key_id = AK\n");
    EXPECT_NE(error(options()).message().find("lacks aws_secret_access_key"), std::string::npos);
    write(".aws/credentials", "[default]\ncredential_process = /bin/x\n");
    EXPECT_EQ(error(options()).code(), ErrorCode::kUnsupported);
}

TEST_F(CredentialsTest, AChangedFileIsReadAgain) {
    CredentialsOptions with_file = options();
    with_file.credentials_file = write("mine", kTwoProfiles);
    const auto credentials = make_credentials(with_file);
    EXPECT_EQ(credentials->get(never_).access_key, "AK1");
    write("next", "[default]\naws_access_key_id = AKN\naws_secret_access_key = HUSHN\n");
    std::filesystem::rename(directory_.path() + "/next", with_file.credentials_file);
    EXPECT_EQ(credentials->get(never_).access_key, "AKN");
    // A file that is broken for a moment does not take away what works.
    write("mine", "[default");
    EXPECT_EQ(credentials->get(never_).access_key, "AKN");
    EXPECT_EQ(log_.warnings().size(), 1U);
}

TEST_F(CredentialsTest, NoneFoundSaysWhereItLooked) {
    const Error none = error(options());
    EXPECT_EQ(none.code(), ErrorCode::kAccessDenied);
    for (const char *place :
         {"the environment", "/.aws/credentials", "AWS_WEB_IDENTITY_TOKEN_FILE", "container", "metadata"})
        EXPECT_NE(none.detail().find(place), std::string::npos) << none.detail();
}

std::string json_credentials(int number, int64_t expires_in_s) {
    return fmt::format(
        R"({{"Code":"Success","AccessKeyId":"AK{0}","SecretAccessKey":"HUSH{0}","Token":"T{0}","Expiration":"{1}"}})",
        number, iso_time_ms(unix_time_ms() + expires_in_s * 1000));
}

// EC2's metadata service, version 2.
ServerReply instance_service(const ServerRequest &request, int number, int64_t expires_in_s) {
    if (request.method == "PUT" && request.target == "/latest/api/token" &&
        request.headers.contains("x-aws-ec2-metadata-token-ttl-seconds"))
        return {.body = "session"};
    if (!request.headers.contains("x-aws-ec2-metadata-token") ||
        request.headers.at("x-aws-ec2-metadata-token") != "session")
        return {.status = 401};
    if (request.target == "/latest/meta-data/iam/security-credentials/")
        return {.body = "my-role"};
    if (request.target == "/latest/meta-data/iam/security-credentials/my-role")
        return {.body = json_credentials(number, expires_in_s)};
    return {.status = 404};
}

TEST_F(CredentialsTest, AnInstanceRole) {
    HttpServer server([](const ServerRequest &request) { return instance_service(request, 7, 3600); });
    const auto found =
        options({{"AWS_EC2_METADATA_DISABLED", "false"}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url() + "/"}});
    const auto credentials = make_credentials(found);
    EXPECT_EQ(credentials->get(never_).access_key, "AK7");
    EXPECT_EQ(credentials->get(never_).session_token, "T7");
    EXPECT_EQ(server.requests().size(), 3U);
}

TEST_F(CredentialsTest, RenewedBeforeTheyEndAndKeptWhileRenewalFails) {
    std::atomic<int> fetched{0};
    std::atomic<bool> down{false};
    HttpServer server([&](const ServerRequest &request) {
        if (down)
            return ServerReply{.status = 500};
        if (request.target.ends_with("my-role"))
            ++fetched;
        // The first ones end within the five minutes, so they are renewed at the next use.
        return instance_service(request, fetched, fetched == 1 ? 240 : 3600);
    });
    const auto credentials = make_credentials(
        options({{"AWS_EC2_METADATA_DISABLED", "false"}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url()}}));
    EXPECT_EQ(credentials->get(never_).access_key, "AK1");
    down = true;
    EXPECT_EQ(credentials->get(never_).access_key, "AK1");
    EXPECT_EQ(log_.warnings().size(), 1U);
    down = false;
    // Not asked again at once; the server's refusal makes it.
    EXPECT_EQ(credentials->get(never_).access_key, "AK1");
    credentials->invalidate(credentials->get(never_));
    EXPECT_EQ(credentials->get(never_).access_key, "AK2");
    EXPECT_EQ(credentials->get(never_).access_key, "AK2");
    EXPECT_EQ(fetched.load(), 2);
}

TEST_F(CredentialsTest, AContainersRole) {
    HttpServer server([](const ServerRequest &request) {
        const bool known =
            request.headers.contains("authorization") && request.headers.at("authorization") == "Bearer abc";
        return known && request.target == "/creds" ? ServerReply{.body = json_credentials(3, 3600)}
                                                   : ServerReply{.status = 403};
    });
    const std::string token = write("token", "Bearer abc\n");
    EXPECT_EQ(key(options({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/creds"},
                           {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token}}))
                  .access_key,
              "AK3");
    EXPECT_EQ(key(options({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/creds"},
                           {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer abc"}}))
                  .access_key,
              "AK3");
    EXPECT_EQ(error(options({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/creds"}})).code(),
              ErrorCode::kAccessDenied);
    EXPECT_EQ(error(options({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/creds"}})).code(),
              ErrorCode::kInvalidArgument);
}

TEST_F(CredentialsTest, AWebIdentity) {
    HttpServer server([](const ServerRequest &request) {
        if (request.body.find("WebIdentityToken=the.token") == std::string::npos)
            return ServerReply{.status = 400,
                               .body = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>bad "
                                       "one</Message></Error></ErrorResponse>"};
        EXPECT_NE(request.body.find("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx"), std::string::npos) << request.body;
        return ServerReply{
            .body = fmt::format("<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
                                "<AccessKeyId>AKW</AccessKeyId><SecretAccessKey>HUSHW</SecretAccessKey>"
                                "<SessionToken>TW</SessionToken><Expiration>{}</Expiration></Credentials>"
                                "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
                                iso_time_ms(unix_time_ms() + 3600000))};
    });
    const std::string token = write("token", "the.token\n");
    std::map<std::string, std::string> values = {{"AWS_ROLE_ARN", "arn:aws:iam::1:role/x"},
                                                 {"AWS_WEB_IDENTITY_TOKEN_FILE", token},
                                                 {"AWS_ENDPOINT_URL_STS", server.url() + "/"}};
    EXPECT_EQ(key(options(values)).session_token, "TW");
    write("token", "wrong.HUSH");
    const Error refused = error(options(values));
    EXPECT_EQ(refused.code(), ErrorCode::kAccessDenied);
    EXPECT_NE(refused.message().find("InvalidIdentityToken"), std::string::npos) << refused.message();
}

TEST_F(CredentialsTest, MetadataServicesAreAskedWithoutAProxy) {
    HttpServer proxy([](const ServerRequest &) { return ServerReply{.status = 403}; });
    HttpServer server([](const ServerRequest &request) { return instance_service(request, 7, 3600); });
    setenv("http_proxy", proxy.url().c_str(), 1);
    EXPECT_EQ(
        key(options({{"AWS_EC2_METADATA_DISABLED", "false"}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url()}}))
            .access_key,
        "AK7");
    unsetenv("http_proxy");
    EXPECT_TRUE(proxy.requests().empty());
}

TEST_F(CredentialsTest, AnEndedTokenIsReplacedAndTheRequestMayBeRepeated) {
    std::atomic<int> fetched{0};
    HttpServer metadata([&](const ServerRequest &request) {
        return instance_service(request, request.target.ends_with("my-role") ? ++fetched : 0, 3600);
    });
    HttpServer s3([](const ServerRequest &request) {
        if (request.headers.at("x-amz-security-token") == "T1")
            return ServerReply{.status = 400, .body = "<Error><Code>ExpiredToken</Code></Error>"};
        return ServerReply{.body = "found"};
    });
    S3Options s3_options;
    s3_options.credentials =
        options({{"AWS_EC2_METADATA_DISABLED", "false"}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url()}});
    S3Store store(parse_repository_url("s3://bucket?endpoint=" + s3.url()), s3_options);
    EXPECT_TRUE(error_of([&] { return test::get(store, "key"); }).is_retryable());
    EXPECT_EQ(test::get(store, "key"), "found");
}

} // namespace
} // namespace pgvigil::s3
