#include "storage/s3/sigv4.h"

#include "storage/url_text.h"

#include <algorithm>
#include <ctime>
#include <fmt/format.h>

namespace pgvigil::s3 {

namespace {

// "20130524T000000Z"
std::string amz_date(int64_t time_s) {
    const auto time = static_cast<time_t>(time_s);
    tm parts = {};
    gmtime_r(&time, &parts);
    return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                       parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string scope_text(const SigningScope &scope) {
    return fmt::format("{}/{}/{}/aws4_request", amz_date(scope.time_s).substr(0, 8), scope.region, scope.service);
}

// Leading and trailing white space goes, runs of spaces become one.
std::string trimmed(std::string_view value) {
    std::string result;
    for (const char c : value) {
        if ((c == ' ' || c == '\t') && (result.empty() || result.back() == ' '))
            continue;
        result += c == '\t' ? ' ' : c;
    }
    if (result.ends_with(' '))
        result.pop_back();
    return result;
}

std::string signed_names(const NameValues &sorted) {
    std::string names;
    for (const auto &[name, value] : sorted)
        names += (names.empty() ? "" : ";") + name;
    return names;
}

NameValues sorted_by_name(NameValues headers) {
    std::sort(headers.begin(), headers.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
    return headers;
}

} // namespace

std::string canonical_query(const NameValues &query) {
    NameValues encoded;
    for (const auto &[name, value] : query)
        encoded.emplace_back(percent_encode(name), percent_encode(value));
    std::sort(encoded.begin(), encoded.end());
    std::string text;
    for (const auto &[name, value] : encoded)
        text += (text.empty() ? "" : "&") + name + "=" + value;
    return text;
}

std::string canonical_request(const RequestToSign &request, const NameValues &headers) {
    const NameValues sorted = sorted_by_name(headers);
    std::string text = fmt::format("{}\n{}\n{}\n", request.method, request.path, canonical_query(request.query));
    for (const auto &[name, value] : sorted)
        text += fmt::format("{}:{}\n", name, trimmed(value));
    text += fmt::format("\n{}\n{}", signed_names(sorted), request.payload_sha256);
    return text;
}

std::string signature_of(std::string_view canonical, const SigningKey &key, const SigningScope &scope) {
    const std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", amz_date(scope.time_s), scope_text(scope),
                                            to_hex(sha256(as_view(canonical))));
    Sha256Digest derived = hmac_sha256(as_view("AWS4" + key.secret_key), as_view(amz_date(scope.time_s).substr(0, 8)));
    for (const std::string_view part : {std::string_view(scope.region), std::string_view(scope.service),
                                        std::string_view("aws4_request"), std::string_view(to_sign)})
        derived = hmac_sha256(derived, as_view(part));
    return to_hex(derived);
}

NameValues sign(const RequestToSign &request, const SigningKey &key, const SigningScope &scope) {
    NameValues added = {{"x-amz-date", amz_date(scope.time_s)}, {"x-amz-content-sha256", request.payload_sha256}};
    if (!key.session_token.empty())
        added.emplace_back("x-amz-security-token", key.session_token);
    NameValues all = request.headers;
    all.insert(all.end(), added.begin(), added.end());
    const std::string signature = signature_of(canonical_request(request, all), key, scope);
    added.emplace_back("authorization",
                       fmt::format("AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={},Signature={}", key.access_key,
                                   scope_text(scope), signed_names(sorted_by_name(all)), signature));
    return added;
}

} // namespace pgvigil::s3
