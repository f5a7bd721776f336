// The signer against Amazon's published examples ("Examples: Signature Calculations in AWS Signature Version 4", and
// the "get-vanilla" series of its test suite), and against botocore, an implementation that is not ours.

#include "base/random.h"
#include "storage/s3/sigv4.h"
#include "storage/url_text.h"

#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>

namespace pgvigil::s3 {
namespace {

const SigningKey kExampleKey{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
const SigningScope kExampleScope{"us-east-1", "s3", 1369353600}; // 20130524T000000Z

std::string header(const NameValues &headers, std::string_view name) {
    for (const auto &[key, value] : headers)
        if (key == name)
            return value;
    return "absent";
}

RequestToSign example(std::string method, std::string path) {
    return {std::move(method),
            std::move(path),
            {},
            {{"host", "examplebucket.s3.amazonaws.com"}},
            std::string(kEmptySha256)};
}

TEST(SigV4, AmazonsGetObject) {
    RequestToSign request = example("GET", "/test.txt");
    request.headers.emplace_back("range", "bytes=0-9");
    EXPECT_EQ(header(sign(request, kExampleKey, kExampleScope), "authorization"),
              "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
              "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
              "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(SigV4, AmazonsPutObject) {
    RequestToSign request = example("PUT", "/" + percent_encode("test$file.text"));
    request.headers.emplace_back("date", "Fri, 24 May 2013 00:00:00 GMT");
    request.headers.emplace_back("x-amz-storage-class", "REDUCED_REDUNDANCY");
    request.payload_sha256 = to_hex(sha256(as_view("Welcome to Amazon S3.")));
    EXPECT_TRUE(header(sign(request, kExampleKey, kExampleScope), "authorization")
                    .ends_with("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
}

TEST(SigV4, AmazonsBucketLifecycleAndList) {
    RequestToSign request = example("GET", "/");
    request.query = {{"lifecycle", ""}};
    EXPECT_TRUE(header(sign(request, kExampleKey, kExampleScope), "authorization")
                    .ends_with("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
    request.query = {{"prefix", "J"}, {"max-keys", "2"}};
    EXPECT_TRUE(header(sign(request, kExampleKey, kExampleScope), "authorization")
                    .ends_with("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

TEST(SigV4, TestSuiteGetVanilla) {
    const SigningKey key{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};
    const SigningScope scope{"us-east-1", "service", 1440938160}; // 20150830T123600Z
    RequestToSign request{"GET", "/", {}, {}, std::string(kEmptySha256)};
    const NameValues headers = {{"x-amz-date", "20150830T123600Z"}, {"host", "example.amazonaws.com"}};
    EXPECT_EQ(signature_of(canonical_request(request, headers), key, scope),
              "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    request.query = {{"Param2", "value2"}, {"Param1", "value1"}};
    EXPECT_EQ(signature_of(canonical_request(request, headers), key, scope),
              "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST(SigV4, ASessionTokenIsSentAndSigned) {
    const NameValues headers = sign(example("GET", "/x"), {"AKID", "secret", "the/token=="}, kExampleScope);
    EXPECT_EQ(header(headers, "x-amz-security-token"), "the/token==");
    EXPECT_NE(header(headers, "authorization").find("x-amz-date;x-amz-security-token"), std::string::npos);
}

// Signs what it reads, one request per line of JSON, with botocore; prints the Authorization headers.
constexpr const char *kBotocoreSigner = R"(
import datetime, json, sys, types
import botocore.auth, botocore.awsrequest, botocore.credentials
for line in open(sys.argv[1]):
    r = json.loads(line)
    now = datetime.datetime.fromtimestamp(r["time"], datetime.timezone.utc)
    class Fixed(datetime.datetime):
        @classmethod
        def utcnow(cls): return now.replace(tzinfo=None)
        @classmethod
        def now(cls, tz=None): return now if tz else now.replace(tzinfo=None)
    if hasattr(botocore.auth, "get_current_datetime"):
        botocore.auth.get_current_datetime = lambda remove_tzinfo=True: now.replace(tzinfo=None) if remove_tzinfo else now
    else:
        botocore.auth.datetime = types.SimpleNamespace(datetime=Fixed)
    url = "https://" + r["host"] + r["path"] + ("?" + r["query"] if r["query"] else "")
    request = botocore.awsrequest.AWSRequest(method=r["method"], url=url, headers=r["headers"], data=r["body"].encode())
    keys = botocore.credentials.Credentials(r["access"], r["secret"], r["token"] or None)
    botocore.auth.S3SigV4Auth(keys, "s3", r["region"]).add_auth(request)
    print(request.headers["Authorization"])
)";

std::string json_text(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            quoted += '\\';
        quoted += c;
    }
    return quoted + "\"";
}

std::string random_text(std::string_view alphabet, size_t most) {
    std::string text;
    for (uint64_t left = 1 + random_below(most); left > 0; --left)
        text += alphabet[random_below(alphabet.size())];
    return text;
}

TEST(SigV4, AgreesWithBotocore) {
    if (std::system("python3 -c 'import botocore.auth' >/dev/null 2>&1") != 0)
        GTEST_SKIP() << "python3-botocore is not installed";
    constexpr std::string_view kAny = "abcXYZ012 /+%&=?#~-_.!'()*;:@$,\"<>|\\^`{}[]";
    const std::string base = (std::filesystem::temp_directory_path() / to_string(random_uuid())).string();
    std::ofstream script(base + ".py");
    script << kBotocoreSigner;
    script.close();
    std::ofstream requests(base + ".jsonl");
    std::vector<std::string> expected;
    for (int i = 0; i < 200; ++i) {
        const std::string body = i % 3 == 0 ? "" : random_text(kAny, 100);
        RequestToSign request{i % 2 == 0 ? "PUT" : "GET",
                              "/bucket/" + percent_encode(random_text(kAny, 30), "/"),
                              {},
                              {},
                              to_hex(sha256(as_view(body)))};
        for (uint64_t n = random_below(4); n > 0; --n)
            request.query.emplace_back(random_text("abcdefgh-", 6), random_text(kAny, 20));
        request.headers = {{"host", "storage.example.com:9000"}, {"content-md5", to_base64(md5(as_view(body)))}};
        if (i % 5 == 0)
            request.headers.emplace_back("x-amz-storage-class", "  STANDARD   IA ");
        if (i % 7 == 0)
            request.headers.emplace_back("if-none-match", "*");
        const SigningKey key{"AKID" + std::to_string(i), random_text("abcXYZ019/+", 40),
                             i % 4 == 0 ? random_text("abcXYZ019/+=", 80) : ""};
        const SigningScope scope{"eu-west-1", "s3", 1700000000 + i * 86400};
        expected.push_back(header(sign(request, key, scope), "authorization"));
        std::string headers;
        for (const auto &[name, value] : request.headers)
            if (name != "host")
                headers += (headers.empty() ? "" : ",") + json_text(name) + ":" + json_text(value);
        requests
            << fmt::format(
                   R"({{"time":{},"method":{},"host":{},"path":{},"query":{},"headers":{{{}}},"body":{},"access":{},"secret":{},"token":{},"region":{}}})",
                   scope.time_s, json_text(request.method), json_text("storage.example.com:9000"),
                   json_text(request.path), json_text(canonical_query(request.query)), headers, json_text(body),
                   json_text(key.access_key), json_text(key.secret_key), json_text(key.session_token),
                   json_text(scope.region))
            << "\n";
    }
    requests.close();
    FILE *pipe = popen(("python3 " + base + ".py " + base + ".jsonl").c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string output;
    char buffer[4096];
    for (size_t got = 0; (got = fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
        output.append(buffer, got);
    EXPECT_EQ(pclose(pipe), 0);
    std::filesystem::remove(base + ".py");
    std::filesystem::remove(base + ".jsonl");
    size_t at = 0;
    for (const std::string &ours : expected) {
        std::string theirs = output.substr(at, output.find('\n', at) - at);
        at += theirs.size() + 1;
        std::erase(theirs, ' ');
        std::string bare = ours;
        std::erase(bare, ' ');
        ASSERT_EQ(bare, theirs);
    }
}

} // namespace
} // namespace pgvigil::s3
