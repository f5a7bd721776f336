// The S3 store against a real server (RADOS Gateway over TLS): the mistakes users make, and what they read then.

#include "base/time.h"
#include "storage/faulty_store.h"
#include "storage/open_store.h"
#include "storage/retrying_store.h"
#include "storage_test_support.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>

namespace pgvigil {
namespace {

using std::chrono::milliseconds;
using test::error_of;
using test::get;
using test::put;

class S3StoreTest : public testing::Test {
  protected:
    void SetUp() override {
        const auto server = test::s3_server();
        if (!server)
            GTEST_SKIP() << test::kNoS3Server;
        server_ = *server;
    }

    // What reading, and writing, in a store with these mistakes says; both must be errors of one kind.
    Error mistake(const std::string &url, const s3::S3Options &options) {
        s3::S3Store store(parse_repository_url(url), options);
        const Error of_get = error_of([&] { return get(store, "key"); });
        const Error of_put = error_of([&] { return put(store, "key", "x"); });
        const Error of_list = error_of([&] { return store.list({}, never_); });
        const Error of_head = error_of([&] { return store.head("key", never_); });
        for (const Error *error : {&of_put, &of_list, &of_head}) {
            EXPECT_EQ(error->code(), of_get.code()) << error->message();
            EXPECT_EQ(error->hint(), of_get.hint()) << error->message();
        }
        for (const Error *error : {&of_get, &of_put, &of_list, &of_head}) {
            const std::string all = error->message() + " | " + error->detail() + " | " + error->hint();
            EXPECT_EQ(all.find(options.credentials.environment.get("AWS_SECRET_ACCESS_KEY").value_or("none")),
                      std::string::npos);
            if (getenv("PGVIGIL_TEST_SHOW_MESSAGES") != nullptr)
                fmt::print("ERROR:  {}\nDETAIL:  {}\nHINT:  {}\n\n", error->message(), error->detail(), error->hint());
        }
        return of_get;
    }
    Error mistake(const std::string &url) { return mistake(url, test::s3_options(server_)); }
    s3::S3Options with_keys(const std::string &access_key, const std::string &secret_key) {
        s3::S3Options options;
        options.credentials.environment =
            s3::Environment({{"AWS_ACCESS_KEY_ID", access_key}, {"AWS_SECRET_ACCESS_KEY", secret_key}});
        return options;
    }
    static bool says(const std::string &text, std::string_view part) { return text.find(part) != std::string::npos; }

    const CancelToken never_;
    test::S3Server server_;
};

TEST_F(S3StoreTest, AWrongSecret) {
    const Error error = mistake(test::s3_url(server_), with_keys(server_.access_key, "not-the-secret"));
    EXPECT_EQ(error.code(), ErrorCode::kAccessDenied);
    EXPECT_TRUE(says(error.message(), "SignatureDoesNotMatch (HTTP status 403, request id ")) << error.message();
    EXPECT_TRUE(says(error.hint(), "secret access key does not belong")) << error.hint();
    EXPECT_FALSE(error.is_retryable());
}

TEST_F(S3StoreTest, AnUnknownAccessKey) {
    const Error error = mistake(test::s3_url(server_), with_keys("AKIANOBODY", server_.secret_key));
    EXPECT_EQ(error.code(), ErrorCode::kAccessDenied);
    EXPECT_TRUE(says(error.message(), "InvalidAccessKeyId")) << error.message();
}

TEST_F(S3StoreTest, AMissingBucket) {
    const Error error =
        mistake(fmt::format("s3://no-such-bucket/x?endpoint={}&ca_file={}", server_.endpoint, server_.ca_file));
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_TRUE(says(error.message(), "NoSuchBucket")) << error.message();
    EXPECT_TRUE(says(error.hint(), "Create bucket \"no-such-bucket\"")) << error.hint();
}

TEST_F(S3StoreTest, ASkewedClock) {
    s3::S3Options options = test::s3_options(server_);
    options.now = [] { return unix_time_ms() - 3600 * 1000; };
    const Error error = mistake(test::s3_url(server_), options);
    EXPECT_EQ(error.code(), ErrorCode::kAccessDenied);
    EXPECT_TRUE(says(error.message(), "RequestTimeTooSkewed")) << error.message();
    EXPECT_TRUE(says(error.detail(), "This machine's clock says ")) << error.detail();
    EXPECT_TRUE(says(error.detail(), ", the server's 20")) << error.detail();
    EXPECT_TRUE(says(error.hint(), "Set this machine's clock")) << error.hint();
}

TEST_F(S3StoreTest, ACertificateNobodyVouchesFor) {
    const Error error = mistake(fmt::format("s3://{}/x?endpoint={}", server_.bucket, server_.endpoint));
    EXPECT_EQ(error.code(), ErrorCode::kAccessDenied);
    EXPECT_TRUE(says(error.message(), "certificate of \"127.0.0.1:")) << error.message();
    EXPECT_TRUE(says(error.hint(), "ca_file=/path")) << error.hint();
    EXPECT_FALSE(error.is_retryable());
}

TEST_F(S3StoreTest, ACertificateFileThatIsNotThere) {
    const Error error =
        mistake(fmt::format("s3://{}/x?endpoint={}&ca_file=/no/such/file", server_.bucket, server_.endpoint));
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(says(error.message(), "\"/no/such/file\"")) << error.message();
}

TEST_F(S3StoreTest, ACertificateForAnotherHost) {
    // The same server by an address that its certificate does not name.
    std::string endpoint = server_.endpoint;
    endpoint.replace(endpoint.find("127.0.0.1"), 9, "x.localhost");
    const Error error =
        mistake(fmt::format("s3://{}/x?endpoint={}&ca_file={}", server_.bucket, endpoint, server_.ca_file));
    EXPECT_EQ(error.code(), ErrorCode::kAccessDenied);
    EXPECT_TRUE(says(error.hint(), "another host name")) << error.message() << error.hint();
}

TEST_F(S3StoreTest, TlsSpokenToAPortWithoutIt) {
    std::string endpoint = server_.plain_endpoint;
    endpoint.replace(0, 4, "https");
    const Error error =
        mistake(fmt::format("s3://{}/x?endpoint={}&ca_file={}", server_.bucket, endpoint, server_.ca_file));
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(says(error.message(), "does not speak TLS")) << error.message();
}

TEST_F(S3StoreTest, NobodyListening) {
    const Error error =
        mistake(fmt::format("s3://{}/x?endpoint=https://127.0.0.1:1&ca_file={}", server_.bucket, server_.ca_file));
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_TRUE(error.is_retryable());
    EXPECT_TRUE(says(error.hint(), "server is running")) << error.hint();
}

TEST_F(S3StoreTest, AHostThatDoesNotExist) {
    const Error error = mistake(fmt::format("s3://{}/x?endpoint=https://no-such-host.invalid", server_.bucket));
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_TRUE(says(error.message(), "no-such-host.invalid")) << error.message();
}

TEST_F(S3StoreTest, AStorageClassTheServerLacks) {
    const std::string url = test::s3_url(server_, "&storage_class=NO_SUCH_CLASS");
    const auto store = test::open_s3(url, server_);
    EXPECT_EQ(put(*store, "document", "x"), PutOutcome::kStored);
    const Error error = error_of([&] {
        return store->put_new({.key = "pack", .body = as_view("x"), .role = ObjectRole::kPack}, never_) ==
               PutOutcome::kStored;
    });
    EXPECT_FALSE(error.is_retryable());
    EXPECT_TRUE(says(error.message(), "request id ")) << error.message();
}

TEST_F(S3StoreTest, ALostAnswerIsFoundAgain) {
    // Each operation fails once after the real server has done it.
    for (uint64_t number = 1; number <= 3; ++number) {
        auto faulty = std::make_unique<FaultyStore>(test::open_s3(test::s3_url(server_), server_));
        faulty->fail_once(number, FaultMoment::kAfter);
        RetryingStore store(std::move(faulty), {milliseconds(1), milliseconds(5), milliseconds(10000)}, null_log());
        const std::string body(5 * kMiB, 'x');
        EXPECT_EQ(put(store, "one", body), PutOutcome::kStored);
        EXPECT_EQ(put(store, "two", body), PutOutcome::kStored);
        EXPECT_EQ(put(store, "three", body), PutOutcome::kStored);
        EXPECT_EQ(put(store, "three", "other"), PutOutcome::kAlreadyExists);
    }
}

TEST_F(S3StoreTest, OpenedByItsUrlAndACredentialsFile) {
    const test::TemporaryDirectory directory;
    StoreOptions options;
    options.credentials_file = directory.path() + "/credentials";
    std::ofstream(options.credentials_file) << fmt::format(
        "[default]\naws_access_key_id={}\naws_secret_access_key={}\n", server_.access_key, server_.secret_key);
    std::filesystem::permissions(options.credentials_file, std::filesystem::perms::owner_read);
    const auto store = open_store(parse_repository_url(test::s3_url(server_)), options);
    EXPECT_EQ(put(*store, "key", "x"), PutOutcome::kStored);
    EXPECT_EQ(get(*store, "key"), "x");
    EXPECT_TRUE(store->features().conditional_create);
}

TEST_F(S3StoreTest, OverPlainHttpToThisMachine) {
    const auto store = test::open_s3(
        fmt::format("s3://{}/{}?endpoint={}", server_.bucket, test::fresh_prefix(), server_.plain_endpoint), server_);
    EXPECT_EQ(put(*store, "key", "x"), PutOutcome::kStored);
    EXPECT_EQ(get(*store, "key"), "x");
}

TEST_F(S3StoreTest, CheckedCreateOnARealServer) {
    const auto store = test::open_s3(test::s3_url(server_, "&conditional_create=off"), server_);
    EXPECT_EQ(put(*store, "key", "first"), PutOutcome::kStored);
    EXPECT_EQ(put(*store, "key", "second"), PutOutcome::kAlreadyExists);
    EXPECT_EQ(get(*store, "key"), "first");
}

} // namespace
} // namespace pgvigil
