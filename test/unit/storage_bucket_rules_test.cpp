// What a bucket says of versions, locks and its lifecycle, read from answers as S3 servers give them, and asked of a
// real one.

#include "storage/s3/s3_answer.h"
#include "storage_http_server.h"
#include "storage_test_support.h"
#include "transfer/restore_check.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {
namespace {

using test::HttpServer;
using test::ServerReply;
using test::ServerRequest;

HttpResponse answer(int status, const std::string &body) {
    HttpResponse response;
    response.status = status;
    response.body = to_bytes(body);
    return response;
}

HttpResponse refusal(int status, const std::string &code) {
    return answer(status, "<Error><Code>" + code + "</Code></Error>");
}

HttpResponse lifecycle(const std::string &rules) {
    return answer(200, "<?xml version=\"1.0\"?><LifecycleConfiguration "
                       "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" +
                           rules + "</LifecycleConfiguration>");
}

const std::string kEnd =
    "<NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration>";

std::optional<bool> ends(const HttpResponse &response) {
    return s3::read_noncurrent_end(response, "prod/main/", {});
}

TEST(BucketRulesTest, ARuleThatEndsNoncurrentVersionsOfEverything) {
    const std::string on = "<Status>Enabled</Status>";
    for (const char *const where :
         {"<Filter/>", "<Prefix></Prefix>", "<Filter><Prefix></Prefix></Filter>", "<Prefix>prod/</Prefix>",
          "<Filter><Prefix>prod/main/</Prefix></Filter>", "<Filter><And><Prefix>prod</Prefix></And></Filter>"})
        EXPECT_EQ(ends(lifecycle("<Rule>" + on + where + kEnd + "</Rule>")), true) << where;
    for (const char *const where :
         {"<Prefix>other/</Prefix>", "<Filter><Prefix>prod/main/wal/</Prefix></Filter>",
          "<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>",
          "<Filter><And><Prefix>prod/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>",
          "<Filter><ObjectSizeGreaterThan>1000</ObjectSizeGreaterThan></Filter>"})
        EXPECT_EQ(ends(lifecycle("<Rule>" + on + where + kEnd + "</Rule>")), false) << where;
    EXPECT_EQ(ends(lifecycle("<Rule><Status>Disabled</Status><Filter/>" + kEnd + "</Rule>")), false);
    EXPECT_EQ(ends(lifecycle("<Rule>" + on + "<Filter/><Expiration><Days>1</Days></Expiration></Rule>")), false);
    EXPECT_EQ(ends(lifecycle("<Rule><Status>Disabled</Status></Rule><Rule>" + on + kEnd + "</Rule>")), true);
    EXPECT_EQ(ends(lifecycle("")), false);
}

TEST(BucketRulesTest, NoRuleIsToldFromNoAnswer) {
    EXPECT_EQ(ends(refusal(404, "NoSuchLifecycleConfiguration")), false);
    EXPECT_EQ(ends(refusal(404, "NoSuchBucket")), std::nullopt);
    EXPECT_EQ(ends(refusal(403, "AccessDenied")), std::nullopt);
    EXPECT_EQ(ends(refusal(501, "NotImplemented")), std::nullopt);
    EXPECT_THROW((void)ends(answer(200, "<html/>")), Error);
}

TEST(BucketRulesTest, ObjectLock) {
    const auto read = [](const HttpResponse &response) {
        BucketRules rules;
        s3::read_object_lock(response, {}, rules);
        return std::pair(rules.object_lock, rules.default_lock);
    };
    using Result = std::pair<std::optional<bool>, std::string>;
    const std::string on = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
    const auto document = [](const std::string &text) {
        return answer(200, "<ObjectLockConfiguration>" + text + "</ObjectLockConfiguration>");
    };
    EXPECT_EQ(read(document(on)), Result(true, ""));
    EXPECT_EQ(read(document(on + "<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>30</Days></DefaultRetention>"
                                 "</Rule>")),
              Result(true, "GOVERNANCE, 30 days"));
    EXPECT_EQ(read(document(on + "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Years>2</Years></DefaultRetention>"
                                 "</Rule>")),
              Result(true, "COMPLIANCE, 2 years"));
    EXPECT_EQ(read(document("")), Result(false, ""));
    EXPECT_EQ(read(refusal(404, "ObjectLockConfigurationNotFoundError")), Result(false, ""));
    for (const int status : {403, 404, 501})
        EXPECT_EQ(read(refusal(status, "Whatever")), Result(std::nullopt, "")) << status;
    EXPECT_THROW((void)read(answer(200, "")), Error);
}

// The rows of a check against a server that answers `reply` to questions about the bucket.
std::vector<StoreCheck> rows_about_bucket(const std::function<ServerReply(const std::string &setting)> &reply) {
    HttpServer server([&](const ServerRequest &request) -> ServerReply {
        for (const char *const setting : {"versioning", "object-lock", "lifecycle"})
            if (request.target.find(std::string("?") + setting) != std::string::npos)
                return reply(setting);
        return {.status = 404, .headers = {}, .body = "<Error><Code>NoSuchKey</Code></Error>"};
    });
    s3::S3Options options;
    options.credentials.environment =
        s3::Environment({{"AWS_ACCESS_KEY_ID", "AKID"}, {"AWS_SECRET_ACCESS_KEY", "TOPSECRET"}});
    s3::S3Store store(parse_repository_url("s3://bucket/p?conditional_create=on&endpoint=" + server.url()), options);
    const CancelToken never;
    std::vector<StoreCheck> rows = check_store(store, never);
    std::erase_if(rows, [](const StoreCheck &row) {
        return row.check != "versioning" && row.check != "object lock" && row.check != "lifecycle";
    });
    return rows;
}

TEST(BucketRulesTest, ACheckTellsOfAVersionedBucketWithoutALifecycle) {
    const auto rows = rows_about_bucket([](const std::string &setting) -> ServerReply {
        if (setting == "versioning")
            return {.body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"};
        if (setting == "object-lock")
            return {.body = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"
                            "</ObjectLockConfiguration>"};
        return {.status = 404, .headers = {}, .body = "<Error><Code>NoSuchLifecycleConfiguration</Code></Error>"};
    });
    ASSERT_EQ(rows.size(), 3U);
    EXPECT_TRUE(rows[0].ok);
    EXPECT_EQ(rows[0].detail, "The bucket keeps versions: what expiry deletes is only hidden.");
    EXPECT_TRUE(rows[1].ok);
    EXPECT_EQ(rows[1].detail, "Objects can be locked; new ones are not.");
    EXPECT_FALSE(rows[2].ok);
    EXPECT_NE(rows[2].detail.find("no lifecycle rule removes noncurrent versions"), std::string::npos);
}

TEST(BucketRulesTest, ACheckToleratesAServerThatDoesNotTell) {
    for (const int status : {403, 404, 501}) {
        const auto rows = rows_about_bucket([&](const std::string &) -> ServerReply {
            return {.status = status, .headers = {}, .body = "<Error><Code>AccessDenied</Code></Error>"};
        });
        ASSERT_EQ(rows.size(), 3U) << status;
        for (const StoreCheck &row : rows)
            EXPECT_TRUE(row.ok) << row.check << ": " << row.detail;
        EXPECT_EQ(rows[0].detail, "The store does not tell whether the bucket keeps versions.");
    }
}

// A bucket of its own on the real server: as it was made, versioned, and with a lifecycle.
TEST(BucketRulesTest, ARealServerTells) {
    const auto server = test::s3_server();
    if (!server)
        GTEST_SKIP() << test::kNoS3Server;
    const RepositoryUrl url =
        parse_repository_url(fmt::format("s3://rules-{}/main?path_style=on&endpoint={}&ca_file={}",
                                         to_string(random_uuid()), server->endpoint, server->ca_file));
    s3::S3Client client(url, test::s3_options(*server));
    const CancelToken never;
    const auto send = [&](const char *method, const NameValues &query, const std::string &body) {
        const Bytes bytes = to_bytes(body);
        s3::S3Call call{.method = method,
                        .bucket_key = "",
                        .query = query,
                        .headers = {{"content-md5", to_base64(md5(bytes))}},
                        .body = bytes,
                        .what = "set up a bucket",
                        .accepted = {}};
        static_cast<void>(client.call(call, never));
    };
    send("PUT", {}, "");
    s3::S3Store store(url, test::s3_options(*server));
    const auto rules = [&] { return store.bucket_rules(never).value_or(BucketRules{}); };
    EXPECT_EQ(rules().versioning, false);
    EXPECT_NE(rules().object_lock, true);
    EXPECT_EQ(rules().ends_noncurrent, false);
    send("PUT", {{"versioning", ""}},
         "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>"
         "</VersioningConfiguration>");
    EXPECT_EQ(rules().versioning, true);
    EXPECT_EQ(rules().ends_noncurrent, false);
    send("PUT", {{"lifecycle", ""}},
         "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule><ID>old</ID><Filter><Prefix>"
         "</Prefix></Filter><Status>Enabled</Status>" +
             kEnd + "</Rule></LifecycleConfiguration>");
    EXPECT_EQ(rules().ends_noncurrent, true);
    send("DELETE", {}, "");
}

} // namespace
} // namespace pgvigil
