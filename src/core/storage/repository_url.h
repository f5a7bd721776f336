// The URL of a repository: what a user writes into pgvigil.repository or after --repository.
//
//   file:///directory
//   s3://bucket/prefix?endpoint=https://host:port&region=…&path_style=on|off&profile=…&ca_file=/path&insecure=on|off
//                     &storage_class=…&conditional_create=auto|on|off
//
// Any character may be written as %XX; a comma must be (%2C), because commas separate repositories. URLs hold no
// secrets: user names, passwords and keys in them are refused, without repeating them.
// Threading: values. Errors: kInvalidArgument, naming the value and what was expected.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

enum class StoreKind { kFile, kS3 };

// What an S3 server does with "create only if absent": auto finds out.
enum class ConditionalCreate { kAuto, kOn, kOff };

struct S3Endpoint {
    bool tls = true;
    std::string host; // a name, an IPv4 address, or an IPv6 address in brackets; lower case
    uint16_t port = 0;

    // "host", or "host:port" when the port is not the scheme's own: the Host header.
    [[nodiscard]] std::string authority() const;
    // "https://host" or "https://host:port".
    [[nodiscard]] std::string url() const;
    // localhost, 127.0.0.0/8 or ::1.
    [[nodiscard]] bool is_loopback() const;
};

struct RepositoryUrl {
    StoreKind kind = StoreKind::kFile;

    std::string path; // file: absolute, without "//", "/./" or a trailing slash

    std::string bucket;                 // s3, as all that follow
    std::string prefix;                 // without leading and trailing slash; "" for the bucket's root
    std::optional<S3Endpoint> endpoint; // none: Amazon's, of the region
    std::string region;                 // "" when not given
    bool path_style = false;
    std::string profile;
    std::string ca_file;
    bool insecure = false; // plain http to other machines
    std::string storage_class;
    ConditionalCreate conditional_create = ConditionalCreate::kAuto;

    // One spelling for one meaning: parameters in a fixed order, defaults left out.
    [[nodiscard]] std::string normalised() const;
    // Short, for messages: the normalised URL without parameters other than the endpoint.
    [[nodiscard]] std::string display_name() const;
};

[[nodiscard]] RepositoryUrl parse_repository_url(std::string_view text);

// A comma-separated list, white space around its items ignored; "" is an empty list. Refuses empty items and one
// repository named twice.
[[nodiscard]] std::vector<RepositoryUrl> parse_repository_list(std::string_view text);

} // namespace pgvigil
