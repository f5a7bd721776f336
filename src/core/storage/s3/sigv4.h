// AWS Signature Version 4 for S3: turns a request and a key into the Authorization header. Pure: no clock, no network.
//
// S3's flavour: the path is encoded once, the payload's SHA-256 travels as x-amz-content-sha256 and is signed.
// Threading: pure functions.
#pragma once

#include "crypto/digest.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgvigil::s3 {

struct SigningKey {
    std::string access_key;
    std::string secret_key;
    std::string session_token; // "" for long-lived keys
};

using NameValues = std::vector<std::pair<std::string, std::string>>;

struct RequestToSign {
    std::string method;
    std::string path; // encoded, starts with '/'
    NameValues query; // not encoded, any order
    // Every header that is to be signed, lower-case names; host among them. x-amz-date, x-amz-content-sha256 and
    // x-amz-security-token are added by sign().
    NameValues headers;
    std::string payload_sha256; // hexadecimal
};

struct SigningScope {
    std::string region;
    std::string service = "s3";
    int64_t time_s = 0; // seconds since 1970 UTC
};

// SHA-256 of nothing, hexadecimal.
inline constexpr std::string_view kEmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// The headers to send beside request.headers: x-amz-date, x-amz-content-sha256, x-amz-security-token (with a session
// token) and authorization.
[[nodiscard]] NameValues sign(const RequestToSign &request, const SigningKey &key, const SigningScope &scope);

// "a=1&b=%20": sorted by encoded name, then value; the query string as it is both signed and sent.
[[nodiscard]] std::string canonical_query(const NameValues &query);

// What is signed, for tests against published vectors. `headers` includes everything to be signed.
[[nodiscard]] std::string canonical_request(const RequestToSign &request, const NameValues &headers);
[[nodiscard]] std::string signature_of(std::string_view canonical, const SigningKey &key, const SigningScope &scope);

} // namespace pgvigil::s3
