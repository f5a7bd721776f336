// The S3 store against servers that misbehave: what is retried, what is refused, and what is said.

#include "base/time.h"
#include "storage/open_store.h"
#include "storage/retrying_store.h"
#include "storage_http_server.h"
#include "storage_test_support.h"

#include <fmt/format.h>

namespace pgvigil {
namespace {

using std::chrono::milliseconds;
using test::error_of;
using test::get;
using test::HttpServer;
using test::put;
using test::ServerReply;
using test::ServerRequest;

ServerReply refusal(int status, const std::string &code, const std::string &more = "") {
    return {.status = status,
            .headers = {{"x-amz-request-id", "REQ42"}},
            .body = fmt::format("<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>told so</Message>{}</Error>",
                                code, more)};
}

constexpr const char *kEmptyList = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

s3::S3Options options_for_test() {
    s3::S3Options options;
    options.credentials.environment =
        s3::Environment({{"AWS_ACCESS_KEY_ID", "AKID"}, {"AWS_SECRET_ACCESS_KEY", "TOPSECRET"}});
    return options;
}

std::unique_ptr<s3::S3Store> open_at(const HttpServer &server, const std::string &parameters = "&conditional_create=on",
                                     s3::S3Options options = options_for_test()) {
    return std::make_unique<s3::S3Store>(parse_repository_url("s3://bucket/p?endpoint=" + server.url() + parameters),
                                         std::move(options));
}

TEST(S3Faults, PassingFailuresAreRetryableAndOthersAreNot) {
    struct Case {
        ServerReply reply;
        bool retryable;
    };
    for (const Case &each : {Case{refusal(408, "RequestTimeout"), true},
                             {refusal(409, "ConditionalRequestConflict"), true},
                             {refusal(409, "OperationAborted"), true},
                             {refusal(429, "TooManyRequests"), true},
                             {refusal(500, "InternalError"), true},
                             {refusal(502, ""), true},
                             {refusal(503, "SlowDown"), true},
                             {refusal(504, ""), true},
                             {refusal(400, "RequestTimeout"), true},
                             {refusal(400, "ExpiredToken"), true},
                             {refusal(400, "BadDigest"), true},
                             {ServerReply{.status = 503, .headers = {}, .body = "<html>busy</html>"}, true},
                             {ServerReply{.close_without_answer = true}, true},
                             {ServerReply{.body = "short", .content_length = 100}, true},
                             {refusal(403, "AccessDenied"), false},
                             {refusal(403, "SignatureDoesNotMatch"), false},
                             {refusal(400, "InvalidRequest"), false},
                             {refusal(404, "NoSuchBucket"), false},
                             {refusal(301, "PermanentRedirect"), false},
                             {refusal(405, "MethodNotAllowed"), false}}) {
        HttpServer server([&](const ServerRequest &) { return each.reply; });
        const auto store = open_at(server);
        const Error of_get = error_of([&] { return get(*store, "the/key"); });
        EXPECT_EQ(of_get.is_retryable(), each.retryable) << of_get.message();
        EXPECT_NE(of_get.message().find("could not read \"the/key\" in \"s3://bucket/p?endpoint="), std::string::npos)
            << of_get.message();
        if (each.reply.body.starts_with("<?xml")) {
            EXPECT_NE(of_get.message().find("request id REQ42"), std::string::npos) << of_get.message();
            EXPECT_EQ(of_get.detail(), "The server says: told so.");
        }
        const Error of_put = error_of([&] { return put(*store, "the/key", "x"); });
        if (each.reply.content_length == std::string::npos) {
            EXPECT_EQ(of_put.is_retryable(), each.retryable) << of_put.message();
        }
        EXPECT_EQ((of_get.message() + of_get.detail() + of_get.hint() + of_put.message()).find("TOPSECRET"),
                  std::string::npos);
    }
}

TEST(S3Faults, AServerThatIsNotThereIsRetryable) {
    std::string url;
    {
        const HttpServer gone([](const ServerRequest &) { return ServerReply{}; });
        url = gone.url();
    }
    const s3::S3Store store(parse_repository_url("s3://bucket?endpoint=" + url), options_for_test());
    const Error error = error_of([&] { return get(const_cast<s3::S3Store &>(store), "key"); });
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_TRUE(error.is_retryable());
    EXPECT_NE(error.message().find("could not connect to \"127.0.0.1:"), std::string::npos) << error.message();
}

TEST(S3Faults, AnAnswerLostAfterItsEffectIsFoundAgain) {
    std::map<std::string, std::string> objects;
    std::mutex mutex;
    std::atomic<int> puts{0};
    HttpServer server([&](const ServerRequest &request) -> ServerReply {
        const std::lock_guard lock(mutex);
        if (request.method == "PUT") {
            const bool created = objects.emplace(request.target, request.body).second;
            if (++puts == 1)
                return {.close_without_answer = true};
            return created ? ServerReply{} : refusal(412, "PreconditionFailed");
        }
        const auto found = objects.find(request.target);
        if (found == objects.end())
            return refusal(404, "NoSuchKey");
        return {.status = request.headers.contains("range") ? 206 : 200, .headers = {}, .body = found->second};
    });
    RetryingStore store(open_at(server), {milliseconds(1), milliseconds(5), milliseconds(5000)}, null_log());
    EXPECT_EQ(put(store, "key", "my bytes"), PutOutcome::kStored);
    EXPECT_EQ(put(store, "key", "my bytes"), PutOutcome::kAlreadyExists);
}

TEST(S3Faults, EveryPutIsSignedHashedAndConditional) {
    HttpServer server([](const ServerRequest &) { return ServerReply{}; });
    const auto store = open_at(server, "&conditional_create=on&storage_class=STANDARD_IA&region=eu-west-1");
    const CancelToken never;
    EXPECT_EQ(store->put_new({.key = "a b", .body = as_view("body"), .role = ObjectRole::kPack}, never),
              PutOutcome::kStored);
    EXPECT_EQ(store->put_new({.key = "wal", .body = as_view(""), .role = ObjectRole::kWal}, never),
              PutOutcome::kStored);
    const auto requests = server.requests();
    ASSERT_EQ(requests.size(), 2U);
    auto headers = requests[0].headers;
    EXPECT_EQ(requests[0].target, "/bucket/p/a%20b");
    EXPECT_EQ(headers["if-none-match"], "*");
    EXPECT_EQ(headers["content-md5"], to_base64(md5(as_view("body"))));
    EXPECT_EQ(headers["x-amz-content-sha256"], to_hex(sha256(as_view("body"))));
    EXPECT_EQ(headers["x-amz-storage-class"], "STANDARD_IA");
    EXPECT_EQ(headers["content-length"], "4");
    EXPECT_NE(headers["authorization"].find("/eu-west-1/s3/aws4_request,SignedHeaders=content-md5;host;if-none-match;"
                                            "x-amz-content-sha256;x-amz-date;x-amz-storage-class,"),
              std::string::npos)
        << headers["authorization"];
    EXPECT_FALSE(headers.contains("expect"));
    EXPECT_FALSE(headers.contains("transfer-encoding"));
    EXPECT_FALSE(headers.contains("accept-encoding"));
    EXPECT_FALSE(requests[1].headers.contains("x-amz-storage-class"));
    EXPECT_EQ(requests[1].headers.at("content-length"), "0");
    // Kept alive: the second request came over the first one's connection.
    EXPECT_EQ(requests[1].connection, 1);
}

TEST(S3Faults, AConnectionClosedWhileIdleIsReplaced) {
    std::atomic<int> count{0};
    HttpServer server([&](const ServerRequest &) {
        ServerReply reply;
        if (++count == 1)
            reply.headers["connection"] = "close";
        return reply;
    });
    const auto store = open_at(server);
    EXPECT_EQ(put(*store, "one", std::string(100000, 'x')), PutOutcome::kStored);
    EXPECT_EQ(put(*store, "two", std::string(100000, 'y')), PutOutcome::kStored);
    EXPECT_EQ(server.requests().back().body, std::string(100000, 'y'));
}

TEST(S3Faults, ConditionalCreateIsProbedOnce) {
    std::atomic<bool> exists{false};
    HttpServer server([&](const ServerRequest &request) {
        if (request.target.ends_with(".pgvigil-probe"))
            return exists.exchange(true) ? refusal(412, "PreconditionFailed") : ServerReply{};
        return ServerReply{};
    });
    for (const size_t probes : {2, 1}) {
        const auto store = open_at(server, "");
        const size_t before = server.requests().size();
        EXPECT_EQ(put(*store, "one", "x"), PutOutcome::kStored);
        EXPECT_EQ(put(*store, "two", "x"), PutOutcome::kStored);
        EXPECT_EQ(server.requests().size() - before, probes + 2);
        EXPECT_TRUE(store->features().conditional_create);
    }
}

TEST(S3Faults, WithoutConditionalCreateItIsCheckedFirst) {
    // One server ignores the condition, one answers 501: what both then get is HEAD, and PUT without a condition.
    for (const bool ignores : {true, false}) {
        std::map<std::string, std::string> objects;
        std::mutex mutex;
        HttpServer server([&](const ServerRequest &request) -> ServerReply {
            const std::lock_guard lock(mutex);
            if (request.method == "PUT" && request.headers.contains("if-none-match") && !ignores)
                return refusal(501, "NotImplemented");
            if (request.method == "PUT") {
                objects[request.target] = request.body;
                return {};
            }
            if (request.target.find('?') != std::string::npos)
                return {.body = kEmptyList};
            const auto found = objects.find(request.target);
            return found == objects.end() ? refusal(404, "NoSuchKey") : ServerReply{.body = found->second};
        });
        test::RememberingLog log;
        s3::S3Options options = options_for_test();
        options.log = &log;
        const auto store = open_at(server, "", options);
        EXPECT_EQ(put(*store, "key", "first"), PutOutcome::kStored);
        EXPECT_FALSE(store->features().conditional_create);
        EXPECT_EQ(log.warnings().size(), 1U);
        EXPECT_EQ(put(*store, "key", "second"), PutOutcome::kAlreadyExists);
        EXPECT_EQ(get(*store, "key"), "first");
        EXPECT_FALSE(server.requests().back().headers.contains("if-none-match"));
    }
}

TEST(S3Faults, ConditionalCreateThatIsRequiredIsNotReplacedByACheck) {
    HttpServer server([](const ServerRequest &) { return refusal(501, "NotImplemented"); });
    const auto store = open_at(server, "&conditional_create=on");
    EXPECT_EQ(error_of([&] { return put(*store, "key", "x"); }).code(), ErrorCode::kUnsupported);
}

TEST(S3Faults, AMissingBucketOrAForeignWebServerIsNotAnAbsentObject) {
    HttpServer no_bucket([](const ServerRequest &) { return refusal(404, "NoSuchBucket"); });
    HttpServer web([](const ServerRequest &) {
        return ServerReply{.status = 404, .headers = {}, .body = "<html>Not found</html>"};
    });
    const CancelToken never;
    for (const HttpServer *server : {&no_bucket, &web}) {
        const auto store = open_at(*server);
        EXPECT_EQ(error_of([&] { return get(*store, "key"); }).code(), ErrorCode::kNotFound);
        EXPECT_EQ(error_of([&] { return store->get_range("key", {0, 1}, never); }).code(), ErrorCode::kNotFound);
        EXPECT_EQ(error_of([&] { return store->head("key", never); }).code(), ErrorCode::kNotFound);
        EXPECT_EQ(error_of([&] { return store->list({}, never); }).code(), ErrorCode::kNotFound);
    }
    EXPECT_NE(error_of([&] { return get(*open_at(no_bucket), "key"); }).hint().find("Create bucket \"bucket\""),
              std::string::npos);
    // A page that says 200 is no listing either.
    HttpServer portal([](const ServerRequest &) { return ServerReply{.body = "<html>Please log in</html>"}; });
    EXPECT_EQ(error_of([&] { return open_at(portal)->list({}, never); }).code(), ErrorCode::kUnavailable);
}

TEST(S3Faults, AHeadIsRefusedWithTheReasonThatAGetGives) {
    HttpServer server([](const ServerRequest &) { return refusal(403, "InvalidAccessKeyId"); });
    const CancelToken never;
    const auto store = open_at(server);
    EXPECT_NE(error_of([&] { return store->head("key", never); }).message().find("InvalidAccessKeyId"),
              std::string::npos);
}

TEST(S3Faults, AWrongRegionIsNamed) {
    HttpServer server([](const ServerRequest &) {
        return refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>");
    });
    const auto store = open_at(server, "&region=us-east-2");
    const Error error = error_of([&] { return get(*store, "key"); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.hint(), "Use region=eu-central-1 in the repository's URL; \"us-east-2\" was used.");
}

TEST(S3Faults, ARegionThatNobodyNamedIsCorrectedOnce) {
    HttpServer server([](const ServerRequest &request) {
        if (request.headers.at("authorization").find("/eu-central-1/s3/") != std::string::npos)
            return ServerReply{.body = "found"};
        return refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>");
    });
    const auto store = open_at(server);
    EXPECT_EQ(get(*store, "key"), "found");
    EXPECT_EQ(get(*store, "key"), "found");
    EXPECT_EQ(server.requests().size(), 3U);
}

TEST(S3Faults, RedirectsAreNotFollowed) {
    HttpServer elsewhere([](const ServerRequest &) { return ServerReply{.body = "stolen"}; });
    HttpServer server([&](const ServerRequest &) {
        return ServerReply{.status = 307, .headers = {{"location", elsewhere.url() + "/bucket/p/key"}}, .body = ""};
    });
    EXPECT_EQ(error_of([&] { return get(*open_at(server), "key"); }).code(), ErrorCode::kUnavailable);
    EXPECT_TRUE(elsewhere.requests().empty());
}

TEST(S3Faults, SkewedClocksAreShown) {
    HttpServer server([](const ServerRequest &) {
        return refusal(403, "RequestTimeTooSkewed", "<ServerTime>2026-11-20T12:00:00Z</ServerTime>");
    });
    s3::S3Options options = options_for_test();
    options.now = [] { return int64_t{1000000000000}; };
    const Error error = error_of([&] { return get(*open_at(server, "", options), "key"); });
    EXPECT_FALSE(error.is_retryable());
    EXPECT_EQ(error.detail(),
              "The server says: told so. This machine's clock says 2001-09-09T01:46:40.000Z, the server's "
              "2026-11-20T12:00:00Z.");
}

TEST(S3Faults, ErrorsOfSingleKeysInASuccessfulBatchAreErrors) {
    HttpServer server([](const ServerRequest &) {
        return ServerReply{
            .body =
                "<DeleteResult><Error><Key>p/a&amp;b</Key><Code>AccessDenied</Code><Message>locked</Message></Error>"
                "<Error><Key>p/c</Key><Code>SlowDown</Code></Error>"
                "<Error><Key>p/d</Key><Code>NoSuchKey</Code></Error></DeleteResult>"};
    });
    const auto store = open_at(server);
    const CancelToken never;
    const auto failures = store->remove({"a&b", "c", "d", "e"}, never);
    ASSERT_EQ(failures.size(), 2U);
    EXPECT_EQ(failures[0].key, "a&b");
    EXPECT_TRUE(failures[0].access_denied);
    EXPECT_EQ(failures[1].key, "c");
    EXPECT_TRUE(failures[1].retryable);
    EXPECT_NE(server.requests()[0].body.find("<Key>p/a&amp;b</Key>"), std::string::npos);
    EXPECT_TRUE(server.requests()[0].headers.contains("content-md5"));
}

TEST(S3Faults, ABatchThatIsDeniedFailsKeyByKey) {
    HttpServer server([](const ServerRequest &) { return refusal(403, "AccessDenied"); });
    const CancelToken never;
    const auto failures = open_at(server)->remove({"a", "b"}, never);
    ASSERT_EQ(failures.size(), 2U);
    EXPECT_TRUE(failures[0].access_denied && failures[1].access_denied);
}

TEST(S3Faults, AnEndlessAnswerIsCutOff) {
    HttpServer server([](const ServerRequest &) {
        return ServerReply{.body = std::string(200000, 'x'), .content_length = size_t{1} << 40};
    });
    const CancelToken never;
    const auto store = open_at(server);
    EXPECT_EQ(error_of([&] { return store->get("key", 1000, never); }).code(), ErrorCode::kCorrupt);
    EXPECT_EQ(error_of([&] { return store->list({}, never); }).code(), ErrorCode::kUnavailable);
}

TEST(S3Faults, AServerWithoutRangesIsNoticed) {
    HttpServer server([](const ServerRequest &) { return ServerReply{.body = "everything"}; });
    const CancelToken never;
    EXPECT_EQ(error_of([&] { return open_at(server)->get_range("key", {2, 3}, never); }).code(),
              ErrorCode::kUnsupported);
}

TEST(S3Faults, ACancelEndsAHangingRequest) {
    HttpServer server([](const ServerRequest &) { return ServerReply{.hang = true}; });
    const auto store = open_at(server);
    CancelToken cancel;
    std::atomic<int64_t> cancelled_at{0};
    std::thread canceller([&] {
        std::this_thread::sleep_for(milliseconds(100));
        cancelled_at = boot_time_ms();
        cancel.cancel();
    });
    const std::string body(20 * kMiB, 'x');
    EXPECT_EQ(error_of([&] {
                  return store->put_new({.key = "key", .body = as_view(body)}, cancel) == PutOutcome::kStored;
              }).code(),
              ErrorCode::kCancelled);
    // Long before the request times out, also on a machine that is busy with other things.
    EXPECT_LT(boot_time_ms() - cancelled_at, 10000);
    canceller.join();
}

TEST(S3Faults, AServerThatStallsTimesOut) {
    HttpServer server([](const ServerRequest &) { return ServerReply{.hang = true}; });
    s3::S3Options options = options_for_test();
    options.http.stall_timeout = milliseconds(1000);
    const Error error = error_of([&] { return get(*open_at(server, "", options), "key"); });
    EXPECT_EQ(error.code(), ErrorCode::kTimeout);
    EXPECT_TRUE(error.is_retryable());
}

TEST(S3Faults, MoreCallersThanConnectionsWait) {
    std::atomic<int> running{0};
    std::atomic<int> most{0};
    HttpServer server([&](const ServerRequest &) {
        const int now = ++running;
        int before = most;
        while (now > before && !most.compare_exchange_weak(before, now)) {
        }
        std::this_thread::sleep_for(milliseconds(20));
        --running;
        return ServerReply{.body = "x"};
    });
    s3::S3Options options = options_for_test();
    options.http.max_connections = 3;
    const auto store = open_at(server, "", options);
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            for (int j = 0; j < 3; ++j)
                EXPECT_EQ(get(*store, "key"), "x");
        });
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_LE(most.load(), 3);
    EXPECT_GE(most.load(), 2);
}

} // namespace
} // namespace pgvigil
