// Requests to one bucket: addresses, signs, sends, and turns refusals into errors.
// Threading: call() may be called by many threads.
// Errors: see s3_error(); each message names the repository, the server's error code and its request id.
#pragma once

#include "storage/http/http_client.h"
#include "storage/repository_url.h"
#include "storage/s3/credentials.h"
#include "storage/s3/s3_answer.h"

#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>

namespace pgvigil::s3 {

struct S3Options {
    HttpOptions http;
    CredentialsOptions credentials;
    LogSink *log = &null_log();
    // Milliseconds since 1970 UTC, for tests; the system's clock when empty.
    std::function<int64_t()> now;
};

struct S3Call {
    std::string method;
    std::string bucket_key; // "" for the bucket itself
    NameValues query;
    NameValues headers; // lower-case names
    std::optional<ByteView> body;
    const Sha256Digest *sha256 = nullptr; // of body, when known
    uint64_t body_limit = 16 * kMiB;
    std::string what; // `could not <what>: …`
    // Statuses beside 2xx that are an answer, not an error.
    std::vector<int> accepted;
};

class S3Client {
  public:
    S3Client(const RepositoryUrl &url, S3Options options);

    [[nodiscard]] HttpResponse call(const S3Call &call, const CancelToken &cancel);

    // What messages about a call need.
    [[nodiscard]] S3Context context(const std::string &what) const;

  private:
    struct Address {
        std::string base;   // "https://host:port"
        std::string host;   // the Host header
        std::string prefix; // path before the key: "" or "/bucket"
        std::string region;
        bool bypass_proxy;
    };

    [[nodiscard]] Address address() const;
    [[nodiscard]] std::string region() const;
    [[nodiscard]] bool correct_region(const S3Failure &failure);
    [[nodiscard]] HttpResponse send(const S3Call &call, const SigningKey &key, const std::string &payload_sha256,
                                    const CancelToken &cancel);
    [[nodiscard]] int64_t now_ms() const;

    const RepositoryUrl url_;
    const S3Options options_;
    const bool region_is_given_;
    mutable std::mutex mutex_;
    std::string region_;
    HttpClient http_;
    const std::unique_ptr<CachedCredentials> credentials_;
};

} // namespace pgvigil::s3
