#include "base/error.h"
#include "base/json.h"
#include "storage_http_server.h"
#include "storage_test_support.h"
#include "transfer/webhook.h"

#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace pgvigil {
namespace {

WebhookNotice notice() {
    WebhookNotice notice;
    notice.run.kind = JobKind::kIncremental;
    notice.run.outcome = JobOutcome::kFailed;
    notice.run.slot_s = 1795312800;
    notice.run.started_ms = 1795312801000;
    notice.run.ended_ms = 1795312863500;
    notice.run.message = "the store said \"no\"";
    notice.cluster = "prod";
    notice.system_identifier = 7321234567890123456;
    notice.host = "db1";
    notice.failures = 3;
    return notice;
}

std::string complaint(const std::string &text) {
    try {
        (void)parse_webhook_file(text, "/file");
    } catch (const Error &error) {
        EXPECT_EQ((error.message() + error.detail() + error.hint()).find("secret-token"), std::string::npos);
        return error.message() + " " + error.detail();
    }
    return "";
}

TEST(WebhookTest, TheBodyServesPeopleAndPrograms) {
    const Json body = parse_json(webhook_body(notice()), "body");
    EXPECT_EQ(body["text"], "pgvigil on prod (db1): incremental backup failed after 1 min 2 s: the store said \"no\"");
    EXPECT_EQ(body["job"], "incremental");
    EXPECT_EQ(body["outcome"], "failed");
    EXPECT_EQ(body["error"], "the store said \"no\"");
    EXPECT_EQ(body["system_identifier"], "7321234567890123456");
    EXPECT_EQ(body["scheduled_for"], "2026-11-22T02:00:00.000Z");
    EXPECT_EQ(body["duration_seconds"], 62.5);
    EXPECT_EQ(body["failures"], 3);
    EXPECT_TRUE(body["backup_id"].is_null());
    WebhookNotice good = notice();
    good.run.kind = JobKind::kFull;
    good.run.outcome = JobOutcome::kSucceeded;
    good.run.message.clear();
    good.run.backup_id = "20261122T020000F";
    good.run.bytes = 5 * 1024 * 1024;
    good.cluster.clear();
    const Json said = parse_json(webhook_body(good), "body");
    EXPECT_EQ(said["text"], "pgvigil on db1: full backup 20261122T020000F succeeded, 5.0 MB stored after 1 min 2 s");
    EXPECT_TRUE(said["error"].is_null());
    // Bytes that are no UTF-8 (a host's or a file's name) do not keep the notice from being sent.
    good.run.message = "\xff\xfe";
    EXPECT_NE(webhook_body(good), "");
}

TEST(WebhookTest, TheFile) {
    EXPECT_EQ(parse_webhook_file("# comment\n\n https://hooks.example.org/T1/secret-token \n", "/file").url,
              "https://hooks.example.org/T1/secret-token");
    EXPECT_EQ(parse_webhook_file("https://[::1]:8443/x", "/file").host, "[::1]");
    EXPECT_EQ(complaint("http://127.0.0.1:8080/x"), "");
    EXPECT_EQ(complaint("http://hooks.example.org/secret-token\ninsecure=on"), "");
    EXPECT_NE(complaint("http://hooks.example.org/secret-token").find("plain http"), std::string::npos);
    EXPECT_NE(complaint("").find("no usable URL"), std::string::npos);
    EXPECT_NE(complaint("ftp://host/secret-token").find("does not start with https://"), std::string::npos);
    EXPECT_NE(complaint("https://user:secret-token@host/").find("user name"), std::string::npos);
    EXPECT_NE(complaint("https:///secret-token").find("no host"), std::string::npos);
    EXPECT_NE(complaint("https://host/secret-token\nhttps://host/secret-token2").find("a line too many"),
              std::string::npos);
}

TEST(WebhookTest, WhoMayReadTheFile) {
    const test::TemporaryDirectory directory;
    const std::string path = directory.path() + "/webhook";
    EXPECT_THROW((void)read_webhook_file(path, {}), Error);
    std::ofstream(path) << "https://host/x\n";
    chmod(path.c_str(), 0600);
    EXPECT_EQ(read_webhook_file(path, {"/nowhere"}).url, "https://host/x");
    EXPECT_THROW((void)read_webhook_file(path, {directory.path()}), Error);
    const std::string link = directory.path() + "-link";
    ASSERT_EQ(symlink(path.c_str(), link.c_str()), 0);
    EXPECT_THROW((void)read_webhook_file(link, {directory.path()}), Error);
    EXPECT_EQ(read_webhook_file(link, {}).url, "https://host/x");
    unlink(link.c_str());
    chmod(path.c_str(), 0604);
    EXPECT_THROW((void)read_webhook_file(path, {}), Error);
    EXPECT_THROW((void)read_webhook_file(directory.path(), {}), Error);
}

TEST(WebhookTest, Delivery) {
    const test::HttpServer server([](const test::ServerRequest &request) {
        test::ServerReply reply;
        reply.status = request.target == "/gone" ? 410 : request.target == "/busy" ? 503 : 204;
        reply.hang = request.target == "/hang";
        reply.close_without_answer = request.target == "/close";
        return reply;
    });
    const CancelToken never;
    const auto target = [&](const char *path) { return parse_webhook_file(server.url() + path, "/file"); };
    const auto failure = [&](const char *path) {
        try {
            send_webhook(target(path), "{}", never);
        } catch (const Error &error) {
            EXPECT_EQ((error.message() + error.detail()).find(path), std::string::npos) << "the URL is a secret";
            return error;
        }
        ADD_FAILURE() << path;
        return Error(ErrorCode::kInternal, "none");
    };
    send_webhook(target("/secret"), R"({"text":"x"})", never);
    ASSERT_EQ(server.requests().size(), 1U);
    EXPECT_EQ(server.requests()[0].method, "POST");
    EXPECT_EQ(server.requests()[0].target, "/secret");
    EXPECT_EQ(server.requests()[0].body, R"({"text":"x"})");
    EXPECT_EQ(server.requests()[0].headers.at("content-type"), "application/json");
    EXPECT_FALSE(failure("/gone").is_retryable());
    EXPECT_TRUE(failure("/busy").is_retryable());
    EXPECT_TRUE(failure("/close").is_retryable());
    CancelToken cancel;
    std::thread later([&] {
        usleep(200000);
        cancel.cancel();
    });
    EXPECT_THROW(send_webhook(target("/hang"), "{}", cancel), Error);
    later.join();
}

} // namespace
} // namespace pgvigil
