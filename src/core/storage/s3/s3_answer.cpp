#include "storage/s3/s3_answer.h"

#include "base/time.h"
#include "storage/url_text.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <pugixml.hpp>

namespace pgvigil::s3 {

namespace {

bool is_one_of(std::string_view code, std::initializer_list<std::string_view> codes) noexcept {
    return std::find(codes.begin(), codes.end(), code) != codes.end();
}

[[noreturn]] void not_s3(const S3Context &context, const std::string &why) {
    throw Error(ErrorCode::kUnavailable, fmt::format("could not {}: the answer is not an S3 server's", context.what))
        .detail(fmt::format("The answer from {} {}.", context.endpoint, why))
        .hint("Check the endpoint, and proxies on the way.")
        .retryable();
}

pugi::xml_node parse(pugi::xml_document &document, const HttpResponse &response, const char *root,
                     const S3Context &context) {
    const auto result = document.load_buffer(response.body.data(), response.body.size());
    const pugi::xml_node node = document.child(root);
    if (!result || !node)
        not_s3(context, fmt::format("has no element {}", root));
    return node;
}

bool is_true(const char *text) noexcept {
    return std::string_view(text) == "true";
}

// Keys in listings are form-encoded where encoding-type=url was understood: "+" is a space there.
std::string decode_key(std::string_view text, bool encoded, const S3Context &context) {
    if (!encoded)
        return std::string(text);
    std::string spaced(text);
    std::replace(spaced.begin(), spaced.end(), '+', ' ');
    auto decoded = percent_decode(spaced);
    if (!decoded)
        not_s3(context, fmt::format("has the undecodable key \"{}\"", text));
    return *std::move(decoded);
}

// The prefix of the keys for which a rule holds; nullopt when it depends on more than that.
std::optional<std::string_view> rule_prefix(const pugi::xml_node &rule) {
    const pugi::xml_node filter = rule.child("Filter");
    const pugi::xml_node terms = filter.child("And") ? filter.child("And") : filter;
    for (const char *const narrower : {"Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"})
        if (terms.child(narrower))
            return std::nullopt;
    return terms.child("Prefix") ? terms.child_value("Prefix") : rule.child_value("Prefix");
}

struct Explanation {
    ErrorCode code;
    bool retryable;
    std::string hint;
};

std::string region_hint(const S3Failure &failure, const S3Context &context) {
    if (failure.region.empty())
        return fmt::format("Check region=… in the repository's URL; \"{}\" was used.", context.region);
    return fmt::format("Use region={} in the repository's URL; \"{}\" was used.", failure.region, context.region);
}

Explanation explain_refusal(const S3Failure &failure, const S3Context &context) {
    const std::string_view code = failure.code;
    if (code == "SignatureDoesNotMatch")
        return {ErrorCode::kAccessDenied, false,
                "The secret access key does not belong to the access key id, or a proxy changes requests."};
    if (code == "InvalidAccessKeyId")
        return {ErrorCode::kAccessDenied, false,
                "The server does not know the access key id: check the credentials and the endpoint."};
    if (code == "RequestTimeTooSkewed")
        return {ErrorCode::kAccessDenied, false, "Set this machine's clock, for example with an NTP service."};
    if (is_one_of(code, {"AccountProblem", "AllAccessDisabled", "InvalidObjectState"}))
        return {ErrorCode::kAccessDenied, false, ""};
    if (code == "QuotaExceeded")
        return {ErrorCode::kDiskFull, false, "The bucket's or the user's quota is used up."};
    return {ErrorCode::kAccessDenied, false,
            fmt::format("Check that the credentials may get, put and list objects in bucket \"{}\".", context.bucket)};
}

Explanation explain(const S3Failure &failure, const S3Context &context) {
    const std::string_view code = failure.code;
    const int status = failure.status;
    if (is_expired_credentials(failure))
        return {ErrorCode::kAccessDenied, true, "The credentials have ended and no fresh ones were found."};
    if (is_wrong_region(failure))
        return {ErrorCode::kInvalidArgument, false, region_hint(failure, context)};
    if (is_one_of(code, {"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted",
                         "ConditionalRequestConflict"}))
        return {ErrorCode::kUnavailable, true, ""};
    if (is_one_of(code, {"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"}))
        return {ErrorCode::kUnavailable, true, "The data changed on its way to the server."};
    if (code == "NoSuchBucket")
        return {ErrorCode::kNotFound, false,
                fmt::format("Create bucket \"{}\", or correct its name or the endpoint in the repository's URL.",
                            context.bucket)};
    if (code == "InvalidBucketName")
        return {ErrorCode::kInvalidArgument, false, ""};
    if (code == "InvalidStorageClass")
        return {ErrorCode::kInvalidArgument, false, "Correct storage_class=… in the repository's URL."};
    if (status == 401 || status == 403)
        return explain_refusal(failure, context);
    if (status == 507)
        return {ErrorCode::kDiskFull, false, "The server has no space left."};
    if (status == 501 || status == 405)
        return {ErrorCode::kUnsupported, false, "The server does not support this request."};
    if (is_one_of(std::to_string(status), {"408", "409", "429", "500", "502", "503", "504"}))
        return {ErrorCode::kUnavailable, true, ""};
    if (status >= 300 && status < 400)
        return {ErrorCode::kUnavailable, false,
                "Redirects are not followed: write the server's own address into endpoint=…."};
    if (status == 404)
        return {ErrorCode::kNotFound, false, "Check that the endpoint is an S3 server."};
    return {status >= 500 ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument, status >= 500, ""};
}

std::string sentence(std::string text) {
    if (!text.empty() && text.back() != '.')
        text += '.';
    return text;
}

} // namespace

S3Failure read_failure(const HttpResponse &response) {
    S3Failure failure;
    failure.status = response.status;
    failure.request_id = response.header("x-amz-request-id");
    failure.region = response.header("x-amz-bucket-region");
    if (const auto time = parse_http_date(response.header("date")))
        failure.server_time = iso_time_ms(*time);
    pugi::xml_document document;
    if (!document.load_buffer(response.body.data(), response.body.size()))
        return failure;
    const pugi::xml_node error = document.child("Error");
    failure.code = error.child_value("Code");
    failure.message = error.child_value("Message");
    if (const pugi::xml_node time = error.child("ServerTime"))
        failure.server_time = time.child_value();
    if (failure.request_id.empty())
        failure.request_id = error.child_value("RequestId");
    if (failure.region.empty())
        failure.region = error.child_value("Region");
    return failure;
}

bool is_expired_credentials(const S3Failure &failure) noexcept {
    return is_one_of(failure.code, {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"});
}

bool is_wrong_region(const S3Failure &failure) noexcept {
    return is_one_of(failure.code, {"PermanentRedirect", "TemporaryRedirect", "Redirect",
                                    "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}) ||
           ((failure.status == 301 || failure.status == 307 || failure.status == 400) && failure.code.empty() &&
            !failure.region.empty());
}

Error s3_error(const S3Failure &failure, const S3Context &context) {
    const Explanation explanation = explain(failure, context);
    std::string reason = fmt::format("HTTP status {}", failure.status);
    if (!failure.request_id.empty())
        reason += ", request id " + failure.request_id;
    std::string message = failure.code.empty()
                              ? fmt::format("could not {}: {}", context.what, reason)
                              : fmt::format("could not {}: {} ({})", context.what, failure.code, reason);
    std::string detail = failure.message.empty() ? "" : "The server says: " + sentence(failure.message);
    if (failure.code == "RequestTimeTooSkewed") {
        detail += fmt::format("{}This machine's clock says {}", detail.empty() ? "" : " ", iso_time_ms(context.now_ms));
        detail += failure.server_time.empty() ? "." : fmt::format(", the server's {}.", failure.server_time);
    }
    return Error(explanation.code, std::move(message))
        .detail(std::move(detail))
        .hint(explanation.hint)
        .retryable(explanation.retryable);
}

S3Listing read_listing(const HttpResponse &response, const S3Context &context) {
    pugi::xml_document document;
    const pugi::xml_node root = parse(document, response, "ListBucketResult", context);
    const bool encoded = std::string_view(root.child_value("EncodingType")) == "url";
    S3Listing listing;
    listing.truncated = is_true(root.child_value("IsTruncated"));
    for (const pugi::xml_node node : root.children("Contents")) {
        ObjectInfo object;
        object.key = decode_key(node.child_value("Key"), encoded, context);
        const std::string_view size = node.child_value("Size");
        if (std::from_chars(size.data(), size.data() + size.size(), object.size).ec != std::errc{})
            not_s3(context, fmt::format("lists \"{}\" without a size", object.key));
        const auto time = parse_time_us(node.child_value("LastModified"));
        if (!time)
            not_s3(context, fmt::format("lists \"{}\" without a time", object.key));
        object.modified_ms = *time / 1000;
        listing.objects.push_back(std::move(object));
    }
    for (const pugi::xml_node node : root.children("CommonPrefixes"))
        listing.directories.push_back(decode_key(node.child_value("Prefix"), encoded, context));
    return listing;
}

std::string delete_document(const std::vector<std::string> &bucket_keys) {
    std::string text = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>";
    for (const std::string &key : bucket_keys) {
        text += "<Object><Key>";
        for (const char c : key)
            switch (c) {
            case '&':
                text += "&amp;";
                break;
            case '<':
                text += "&lt;";
                break;
            case '>':
                text += "&gt;";
                break;
            default:
                text += c;
            }
        text += "</Key></Object>";
    }
    return text + "</Delete>";
}

std::vector<DeleteFailure> read_delete_result(const HttpResponse &response, const S3Context &context) {
    pugi::xml_document document;
    const pugi::xml_node root = parse(document, response, "DeleteResult", context);
    std::vector<DeleteFailure> failures;
    for (const pugi::xml_node node : root.children("Error")) {
        S3Failure failure;
        failure.code = node.child_value("Code");
        failure.message = node.child_value("Message");
        failure.status = response.status;
        failure.request_id = response.header("x-amz-request-id");
        if (is_one_of(failure.code, {"NoSuchKey", "NoSuchVersion"}))
            continue;
        failures.push_back(
            {node.child_value("Key"), failure.code == "AccessDenied",
             is_one_of(failure.code, {"InternalError", "SlowDown", "ServiceUnavailable", "OperationAborted"}),
             fmt::format("could not delete \"{}\": {} (request id {}){}{}", node.child_value("Key"), failure.code,
                         failure.request_id, failure.message.empty() ? "" : ": ", failure.message)});
    }
    return failures;
}

bool read_versioning(const HttpResponse &response, const S3Context &context) {
    pugi::xml_document document;
    const pugi::xml_node root = parse(document, response, "VersioningConfiguration", context);
    return std::string_view(root.child_value("Status")) == "Enabled";
}

void read_object_lock(const HttpResponse &response, const S3Context &context, BucketRules &rules) {
    if (!response.is_success()) {
        if (read_failure(response).code == "ObjectLockConfigurationNotFoundError")
            rules.object_lock = false;
        return;
    }
    pugi::xml_document document;
    const pugi::xml_node root = parse(document, response, "ObjectLockConfiguration", context);
    rules.object_lock = std::string_view(root.child_value("ObjectLockEnabled")) == "Enabled";
    const pugi::xml_node retention = root.child("Rule").child("DefaultRetention");
    const std::string_view mode = retention.child_value("Mode");
    for (const auto &[element, unit] : {std::pair{"Days", "days"}, std::pair{"Years", "years"}})
        if (const std::string_view count = retention.child_value(element); !count.empty())
            rules.default_lock = fmt::format("{}, {} {}", mode, count, unit);
}

std::optional<bool> read_noncurrent_end(const HttpResponse &response, std::string_view root, const S3Context &context) {
    if (!response.is_success())
        return read_failure(response).code == "NoSuchLifecycleConfiguration" ? std::optional(false) : std::nullopt;
    pugi::xml_document document;
    for (const pugi::xml_node rule : parse(document, response, "LifecycleConfiguration", context).children("Rule")) {
        const auto prefix = rule_prefix(rule);
        if (std::string_view(rule.child_value("Status")) == "Enabled" && prefix && root.starts_with(*prefix) &&
            rule.child("NoncurrentVersionExpiration").child("NoncurrentDays"))
            return true;
    }
    return false;
}

} // namespace pgvigil::s3
