#include "storage/http/http_error.h"

#include <fmt/format.h>

namespace pgvigil {

namespace {

std::string host_of(const std::string &url) {
    const size_t start = url.find("://") == std::string::npos ? 0 : url.find("://") + 3;
    return url.substr(start, url.find_first_of("/?", start) - start);
}

Error certificate_error(const std::string &host, const std::string &what, const std::string &ca_file) {
    std::string hint;
    if (what.find("match") != std::string::npos)
        hint = "The certificate is for another host name; use that name in endpoint=….";
    else if (ca_file.empty())
        hint = "If the server's certificate is signed by your own authority, name its certificate with ca_file=/path "
               "in the repository's URL.";
    else
        hint =
            fmt::format("Check that \"{}\" holds the certificate of the authority that signed the server's.", ca_file);
    return Error(ErrorCode::kAccessDenied, fmt::format("certificate of \"{}\" is not trusted: {}", host, what))
        .hint(std::move(hint));
}

} // namespace

Error transport_error(CURLcode code, const char *text, const std::string &url, const HttpOptions &options) {
    const std::string host = host_of(url);
    const std::string what = *text != '\0' ? text : curl_easy_strerror(code);
    const std::string said = fmt::format("libcurl says: {}.", what);
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
        return certificate_error(host, what, options.ca_file);
    case CURLE_SSL_CACERT_BADFILE:
        return Error(ErrorCode::kInvalidArgument,
                     fmt::format("could not read certificates from \"{}\"", options.ca_file))
            .detail(said)
            .hint("ca_file must name a readable file of certificates in PEM format.");
    case CURLE_OPERATION_TIMEDOUT:
        return Error(ErrorCode::kTimeout, fmt::format("timeout talking to \"{}\"", host)).detail(said).retryable();
    case CURLE_COULDNT_RESOLVE_HOST:
        return Error(ErrorCode::kUnavailable, fmt::format("could not find the address of \"{}\"", host))
            .detail(said)
            .hint("Check the endpoint's name and this machine's name service.")
            .retryable();
    case CURLE_COULDNT_CONNECT:
        return Error(ErrorCode::kUnavailable, fmt::format("could not connect to \"{}\"", host))
            .detail(said)
            .hint("Check that the server is running and that the endpoint's host and port are right.")
            .retryable();
    case CURLE_OUT_OF_MEMORY:
        return {ErrorCode::kOutOfMemory, "out of memory"};
    case CURLE_SSL_CONNECT_ERROR:
        if (what.find("wrong version number") != std::string::npos)
            return Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" does not speak TLS", host))
                .detail(said)
                .hint("Check the port, or write endpoint=http://… for a server without TLS.");
        [[fallthrough]];
    default:
        return Error(ErrorCode::kUnavailable, fmt::format("connection to \"{}\" failed", host))
            .detail(said)
            .retryable();
    }
}

} // namespace pgvigil
