#include "storage/s3/s3_client.h"

#include "base/time.h"
#include "storage/url_text.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil::s3 {

namespace {

constexpr const char *kDefaultRegion = "us-east-1";

std::string first_region(const RepositoryUrl &url, const S3Options &options) {
    if (!url.region.empty())
        return url.region;
    const std::string configured = configured_region(options.credentials);
    return configured.empty() ? kDefaultRegion : configured;
}

HttpOptions http_options(const RepositoryUrl &url, HttpOptions options) {
    options.ca_file = url.ca_file;
    return options;
}

CredentialsOptions credentials_options(const RepositoryUrl &url, CredentialsOptions options) {
    options.profile = url.profile;
    return options;
}

} // namespace

S3Client::S3Client(const RepositoryUrl &url, S3Options options)
    : url_(url), options_(std::move(options)), region_is_given_(!url.region.empty()),
      region_(first_region(url, options_)), http_(http_options(url, options_.http)),
      credentials_(make_credentials(credentials_options(url, options_.credentials))) {}

int64_t S3Client::now_ms() const {
    return options_.now ? options_.now() : unix_time_ms();
}

std::string S3Client::region() const {
    const std::lock_guard lock(mutex_);
    return region_;
}

S3Client::Address S3Client::address() const {
    Address address;
    address.region = region();
    if (url_.endpoint) {
        address.host = url_.endpoint->authority();
        address.bypass_proxy = url_.endpoint->is_loopback() || url_.endpoint->host.ends_with(".localhost");
    } else {
        address.host =
            fmt::format("s3.{}.amazonaws.com{}", address.region, address.region.starts_with("cn-") ? ".cn" : "");
        address.bypass_proxy = false;
    }
    if (url_.path_style)
        address.prefix = "/" + url_.bucket;
    else
        address.host = url_.bucket + "." + address.host;
    address.base = (url_.endpoint && !url_.endpoint->tls ? "http://" : "https://") + address.host;
    return address;
}

S3Context S3Client::context(const std::string &what) const {
    const Address here = address();
    return {what, url_.bucket, here.region, here.base, now_ms()};
}

HttpResponse S3Client::send(const S3Call &call, const SigningKey &key, const std::string &payload_sha256,
                            const CancelToken &cancel) {
    const Address here = address();
    RequestToSign to_sign{call.method, here.prefix + "/" + percent_encode(call.bucket_key, "/"), call.query,
                          call.headers, payload_sha256};
    to_sign.headers.emplace_back("host", here.host);
    HttpRequest request{.method = call.method,
                        .url = here.base + to_sign.path,
                        .headers = call.headers,
                        .body = call.body,
                        .body_limit = call.body_limit,
                        .bypass_proxy = here.bypass_proxy};
    if (!call.query.empty())
        request.url += "?" + canonical_query(call.query);
    for (auto &header : sign(to_sign, key, {.region = here.region, .time_s = now_ms() / 1000}))
        request.headers.push_back(std::move(header));
    return http_.perform(request, cancel);
}

// Follows the bucket to the region the server names, within Amazon's own domain, unless the user named a region.
bool S3Client::correct_region(const S3Failure &failure) {
    const bool usable =
        !failure.region.empty() && std::all_of(failure.region.begin(), failure.region.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        });
    if (!is_wrong_region(failure) || region_is_given_ || !usable)
        return false;
    const std::lock_guard lock(mutex_);
    if (failure.region == region_)
        return false;
    options_.log->emit(
        LogLevel::kInfo,
        fmt::format("bucket \"{}\" is in region \"{}\", not \"{}\"", url_.bucket, failure.region, region_),
        "Name the region in the repository's URL to save a request.");
    region_ = failure.region;
    return true;
}

HttpResponse S3Client::call(const S3Call &call, const CancelToken &cancel) {
    std::string payload(kEmptySha256);
    if (call.body)
        payload = to_hex(call.sha256 != nullptr ? *call.sha256 : sha256(*call.body));
    bool may_correct = true;
    for (;;) {
        HttpResponse response;
        SigningKey key;
        try {
            key = credentials_->get(cancel);
            response = send(call, key, payload, cancel);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            throw error.with_context("could not " + call.what);
        }
        if (response.is_success() ||
            std::find(call.accepted.begin(), call.accepted.end(), response.status) != call.accepted.end())
            return response;
        const S3Failure failure = read_failure(response);
        if (may_correct && correct_region(failure)) {
            may_correct = false;
            continue;
        }
        if (is_expired_credentials(failure))
            credentials_->invalidate(key);
        throw s3_error(failure, context(call.what));
    }
}

} // namespace pgvigil::s3
