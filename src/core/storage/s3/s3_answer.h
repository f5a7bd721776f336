// What S3 servers say, read: error documents, listings, results of batch deletes; and the one document we send.
// Threading: pure functions.
// Errors: kUnavailable (retryable) naming what was asked when an answer is not what the protocol says.
#pragma once

#include "storage/http/http_client.h"
#include "storage/object_store.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil::s3 {

// An answer that is not a success, as far as it explains itself. A HEAD's has no body, and so no code.
struct S3Failure {
    int status = 0;
    std::string code;
    std::string message;
    std::string request_id;
    std::string region;      // the bucket's, where the server names it
    std::string server_time; // when it answered
};

// What was being done, for messages: `could not <what>: …`.
struct S3Context {
    std::string what;
    std::string bucket;
    std::string region;
    std::string endpoint;
    int64_t now_ms = 0;
};

[[nodiscard]] S3Failure read_failure(const HttpResponse &response);

// True when the credentials have ended and fresh ones will do.
[[nodiscard]] bool is_expired_credentials(const S3Failure &failure) noexcept;
// True when the request went to the wrong region.
[[nodiscard]] bool is_wrong_region(const S3Failure &failure) noexcept;

// The error for the failure: its code, whether it passes by itself (rules G2), the request id, and what to do about it.
[[nodiscard]] Error s3_error(const S3Failure &failure, const S3Context &context);

struct S3Listing {
    std::vector<ObjectInfo> objects;      // keys as the bucket has them
    std::vector<std::string> directories; // likewise
    bool truncated = false;
};
[[nodiscard]] S3Listing read_listing(const HttpResponse &response, const S3Context &context);

// The body of DeleteObjects.
[[nodiscard]] std::string delete_document(const std::vector<std::string> &bucket_keys);
// The keys it could not delete; keys that were absent are left out.
[[nodiscard]] std::vector<DeleteFailure> read_delete_result(const HttpResponse &response, const S3Context &context);

// Whether the bucket keeps what is deleted, of the answer to GetBucketVersioning.
[[nodiscard]] bool read_versioning(const HttpResponse &response, const S3Context &context);
// Of the answer to GetObjectLockConfiguration, refusals included: the part of the rules that it tells.
void read_object_lock(const HttpResponse &response, const S3Context &context, BucketRules &rules);
// Of the answer to GetBucketLifecycleConfiguration, refusals included: whether a rule that holds for every key below
// `root` removes noncurrent versions; nullopt when the answer does not tell.
[[nodiscard]] std::optional<bool> read_noncurrent_end(const HttpResponse &response, std::string_view root,
                                                      const S3Context &context);

} // namespace pgvigil::s3
