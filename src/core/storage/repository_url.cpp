#include "storage/repository_url.h"

#include "base/error.h"
#include "storage/object_key.h"
#include "storage/url_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <fmt/format.h>
#include <utility>

namespace pgvigil {

namespace {

constexpr uint16_t kHttpsPort = 443;
constexpr uint16_t kHttpPort = 80;

constexpr std::string_view kExamples = "Examples: file:///var/backups/pgvigil, s3://bucket/prefix?region=eu-west-1.";
constexpr std::string_view kS3Parameters =
    "endpoint, region, path_style, profile, ca_file, insecure, storage_class, conditional_create";
constexpr std::string_view kWhereSecretsGo =
    "Put credentials into a file that pgvigil.credentials_file names, into the "
    "environment, or use a role of the machine.";

[[noreturn]] void refuse(std::string message) {
    throw Error(ErrorCode::kInvalidArgument, "invalid repository URL: " + std::move(message));
}

[[noreturn]] void refuse_secret(std::string message) {
    throw Error(ErrorCode::kInvalidArgument, "invalid repository URL: " + std::move(message))
        .detail("URLs are shown in settings, views, logs and process lists.")
        .hint(std::string(kWhereSecretsGo));
}

std::string decode(std::string_view text, std::string_view what) {
    auto decoded = percent_decode(text);
    if (!decoded)
        refuse(fmt::format("{} \"{}\" has a \"%\" that is not followed by two hexadecimal digits", what, text));
    for (const char c : *decoded)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            refuse(fmt::format("{} \"{}\" contains a control character", what, text));
    if (!is_valid_utf8(*decoded))
        refuse(fmt::format("{} \"{}\" is not UTF-8", what, text));
    return *std::move(decoded);
}

bool consists_of(std::string_view text, std::string_view punctuation) noexcept {
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               punctuation.find(c) != std::string_view::npos;
    });
}

std::string lower(std::string_view text) {
    std::string result(text);
    for (char &c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

std::vector<std::string> path_components(std::string_view path) {
    std::vector<std::string> components;
    for (size_t start = 0; start < path.size();) {
        const size_t end = std::min(path.find('/', start), path.size());
        const std::string_view component = path.substr(start, end - start);
        if (component == "..")
            refuse(fmt::format("path \"{}\" contains \"..\"", path));
        if (!component.empty() && component != ".")
            components.emplace_back(component);
        start = end + 1;
    }
    return components;
}

RepositoryUrl parse_file(std::string_view rest, std::string_view query) {
    if (!query.empty())
        refuse(fmt::format("a file:// URL takes no parameters, but \"{}\" has \"?\"", rest));
    if (!rest.starts_with('/'))
        throw Error(ErrorCode::kInvalidArgument,
                    fmt::format("invalid repository URL: \"file://{}\" has no absolute path", rest))
            .hint(fmt::format("Write three slashes: file:///{}.", rest));
    RepositoryUrl url;
    url.kind = StoreKind::kFile;
    for (const std::string &component : path_components(decode(rest, "path")))
        url.path += "/" + component;
    if (url.path.empty())
        refuse("the root directory cannot be a repository; a directory of its own is expected, as in "
               "file:///var/backups/pgvigil");
    return url;
}

bool parse_switch(std::string_view name, std::string_view value) {
    for (const std::string_view yes : {"on", "true", "yes", "1"})
        if (lower(value) == yes)
            return true;
    for (const std::string_view no : {"off", "false", "no", "0"})
        if (lower(value) == no)
            return false;
    refuse(fmt::format("{}=\"{}\"; \"on\" or \"off\" is expected", name, value));
}

// Splits "host:port" and "[v6]:port".
S3Endpoint parse_authority(std::string_view authority, bool tls, std::string_view whole) {
    S3Endpoint endpoint;
    endpoint.tls = tls;
    endpoint.port = tls ? kHttpsPort : kHttpPort;
    const size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
    const size_t colon = bracket == std::string_view::npos ? bracket : authority.find(':', bracket);
    endpoint.host = lower(authority.substr(0, colon));
    if (colon != std::string_view::npos) {
        const std::string_view digits = authority.substr(colon + 1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
        if (error != std::errc{} || end != digits.data() + digits.size() || endpoint.port == 0)
            refuse(fmt::format("endpoint=\"{}\" has the port \"{}\"; a number from 1 to 65535 is expected", whole,
                               digits));
    }
    const std::string_view host = endpoint.host;
    const bool is_v6 =
        host.size() > 2 && host.front() == '[' && host.back() == ']' &&
        host.substr(1, host.size() - 2).find_first_not_of("0123456789abcdef:.") == std::string_view::npos;
    if (!is_v6 && (host.empty() || !consists_of(host, ".-_") || host.front() == '.' || host.front() == '-'))
        refuse(fmt::format("endpoint=\"{}\" has no valid host name; https://HOST[:PORT] is expected", whole));
    return endpoint;
}

S3Endpoint parse_endpoint(std::string_view value) {
    std::string_view rest = value;
    bool tls = true;
    if (const size_t scheme_end = value.find("://"); scheme_end != std::string_view::npos) {
        const std::string scheme = lower(value.substr(0, scheme_end));
        if (scheme != "https" && scheme != "http")
            refuse(fmt::format("endpoint=\"{}\"; https://HOST[:PORT] is expected", value));
        tls = scheme == "https";
        rest.remove_prefix(scheme_end + 3);
    }
    if (rest.find('@') != std::string_view::npos)
        refuse_secret("its endpoint contains a user name or password");
    while (rest.ends_with('/'))
        rest.remove_suffix(1);
    if (rest.find_first_of("/?#") != std::string_view::npos)
        refuse(fmt::format("endpoint=\"{}\" has a path; https://HOST[:PORT] is expected", value));
    return parse_authority(rest, tls, value);
}

// Names under which people write secrets; separators do not count.
bool is_secret_name(std::string_view name) {
    std::string bare = lower(name);
    std::erase_if(bare, [](char c) { return c == '_' || c == '-' || c == '.'; });
    for (const std::string_view part : {"accesskey", "secret", "token", "password", "passwd", "credential", "apikey"})
        if (bare.find(part) != std::string::npos)
            return true;
    return bare == "key" || bare == "user" || bare == "username" || bare == "keyid";
}

void set_parameter(RepositoryUrl &url, std::optional<bool> &path_style, std::string_view name,
                   const std::string &value) {
    if (name == "endpoint") {
        url.endpoint = parse_endpoint(value);
    } else if (name == "region") {
        if (!consists_of(value, "-_"))
            refuse(fmt::format("region=\"{}\"; a name like eu-west-1 is expected", value));
        url.region = value;
    } else if (name == "path_style") {
        path_style = parse_switch(name, value);
    } else if (name == "profile") {
        if (value.find_first_of("[]") != std::string::npos)
            refuse(fmt::format("profile=\"{}\"; the name of a section of the credentials file is expected", value));
        url.profile = value;
    } else if (name == "ca_file") {
        if (!value.starts_with('/'))
            refuse(fmt::format("ca_file=\"{}\"; an absolute path is expected", value));
        url.ca_file = value;
    } else if (name == "insecure") {
        url.insecure = parse_switch(name, value);
    } else if (name == "storage_class") {
        if (!consists_of(value, "-_"))
            refuse(fmt::format("storage_class=\"{}\"; a name like STANDARD_IA is expected", value));
        url.storage_class = value;
    } else if (name == "conditional_create") {
        if (lower(value) == "auto")
            url.conditional_create = ConditionalCreate::kAuto;
        else if (lower(value) == "on" || lower(value) == "off")
            url.conditional_create = lower(value) == "on" ? ConditionalCreate::kOn : ConditionalCreate::kOff;
        else
            refuse(fmt::format("conditional_create=\"{}\"; \"auto\", \"on\" or \"off\" is expected", value));
    } else {
        throw Error(ErrorCode::kInvalidArgument, fmt::format("invalid repository URL: unknown parameter \"{}\"", name))
            .hint(fmt::format("Known parameters: {}.", kS3Parameters));
    }
}

void parse_query(RepositoryUrl &url, std::optional<bool> &path_style, std::string_view query) {
    std::vector<std::string> seen;
    while (!query.empty()) {
        const size_t end = std::min(query.find('&'), query.size());
        const std::string_view item = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        const size_t equals = item.find('=');
        const std::string name(item.substr(0, equals));
        if (is_secret_name(name))
            refuse_secret(fmt::format("parameter \"{}\" would hold a secret", name));
        if (equals == std::string_view::npos)
            refuse(fmt::format("\"{}\" has no value; NAME=VALUE is expected", item));
        const std::string value = decode(item.substr(equals + 1), name);
        if (value.empty())
            refuse(fmt::format("parameter \"{}\" has an empty value", name));
        if (std::find(seen.begin(), seen.end(), name) != seen.end())
            refuse(fmt::format("parameter \"{}\" is given twice", name));
        seen.push_back(name);
        set_parameter(url, path_style, name, value);
    }
}

RepositoryUrl parse_s3(std::string_view rest, std::string_view query) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    RepositoryUrl url;
    url.kind = StoreKind::kS3;
    url.bucket = rest.substr(0, slash);
    const bool length_fits = url.bucket.size() >= 3 && url.bucket.size() <= 63;
    if (!length_fits || !consists_of(url.bucket, ".-_") || !consists_of(url.bucket.substr(0, 1), "") ||
        url.bucket.find("..") != std::string::npos)
        refuse(
            fmt::format("\"{}\" is no bucket name; 3 to 63 letters, digits, dots and hyphens are expected after s3://",
                        url.bucket));
    for (const std::string &component : path_components(decode(rest.substr(slash), "prefix")))
        url.prefix += (url.prefix.empty() ? "" : "/") + component;
    constexpr size_t kLongestPrefix = 512;
    if (url.prefix.size() > kLongestPrefix)
        refuse(fmt::format("its prefix has {} bytes; at most {} are expected", url.prefix.size(), kLongestPrefix));

    std::optional<bool> path_style;
    parse_query(url, path_style, query);
    // A dot in the bucket's name makes a host name that the certificate's wildcard does not cover.
    url.path_style = path_style.value_or(url.endpoint.has_value() || url.bucket.find('.') != std::string::npos);
    if (url.endpoint && !url.endpoint->tls && !url.endpoint->is_loopback() && !url.insecure)
        throw Error(ErrorCode::kInvalidArgument,
                    fmt::format("invalid repository URL: endpoint \"{}\" is not encrypted", url.endpoint->url()))
            .detail("Over http everyone on the way can read and change the backups.")
            .hint("Use https://, or add insecure=on to the URL where the network is trusted.");
    return url;
}

} // namespace

std::string S3Endpoint::authority() const {
    return port == (tls ? kHttpsPort : kHttpPort) ? host : fmt::format("{}:{}", host, port);
}

std::string S3Endpoint::url() const {
    return (tls ? "https://" : "http://") + authority();
}

bool S3Endpoint::is_loopback() const {
    if (host == "localhost" || host == "[::1]")
        return true;
    return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos;
}

std::string RepositoryUrl::display_name() const {
    constexpr std::string_view kKeep = "/:@!$'()*;+= ";
    if (kind == StoreKind::kFile)
        return "file://" + percent_encode(path, kKeep);
    std::string text = "s3://" + bucket;
    if (!prefix.empty())
        text += "/" + percent_encode(prefix, kKeep);
    if (endpoint)
        text += "?endpoint=" + endpoint->url();
    return text;
}

std::string RepositoryUrl::normalised() const {
    std::string text = display_name();
    const auto add = [&](std::string_view name, std::string_view value) {
        text += fmt::format("{}{}={}", text.find('?') == std::string::npos ? "?" : "&", name,
                            percent_encode(value, "/:+ "));
    };
    if (!region.empty())
        add("region", region);
    if (kind == StoreKind::kS3 && path_style != (endpoint.has_value() || bucket.find('.') != std::string::npos))
        add("path_style", path_style ? "on" : "off");
    if (!profile.empty())
        add("profile", profile);
    if (!ca_file.empty())
        add("ca_file", ca_file);
    if (insecure)
        add("insecure", "on");
    if (!storage_class.empty())
        add("storage_class", storage_class);
    if (conditional_create != ConditionalCreate::kAuto)
        add("conditional_create", conditional_create == ConditionalCreate::kOn ? "on" : "off");
    return text;
}

RepositoryUrl parse_repository_url(std::string_view text) {
    const size_t scheme_end = text.find("://");
    if (scheme_end == std::string_view::npos) {
        Error error(ErrorCode::kInvalidArgument,
                    fmt::format("invalid repository URL: \"{}\" does not start with file:// or s3://", text));
        throw std::move(error).hint(text.starts_with('/') ? fmt::format("Write file://{}.", text)
                                                          : std::string(kExamples));
    }
    const std::string scheme = lower(text.substr(0, scheme_end));
    std::string_view rest = text.substr(scheme_end + 3);
    const size_t question = std::min(rest.find('?'), rest.size());
    const std::string_view query = rest.substr(std::min(question + 1, rest.size()));
    if (rest.find('#') != std::string_view::npos)
        refuse("it contains \"#\"; write %23 for that character");
    const std::string_view place = rest.substr(0, question);
    if (place.substr(0, place.find('/')).find('@') != std::string_view::npos)
        refuse_secret("it contains a user name or password before \"@\"");
    if (scheme == "file")
        return parse_file(place, rest.substr(question));
    if (scheme == "s3")
        return parse_s3(place, query);
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("invalid repository URL: unknown kind of store \"{}://\"; file:// or s3:// is expected", scheme))
        .hint(std::string(kExamples));
}

std::vector<RepositoryUrl> parse_repository_list(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    std::vector<RepositoryUrl> urls;
    if (text.find_first_not_of(kSpace) == std::string_view::npos)
        return urls;
    for (size_t start = 0; start <= text.size();) {
        const size_t end = std::min(text.find(',', start), text.size());
        std::string_view item = text.substr(start, end - start);
        start = end + 1;
        item.remove_prefix(std::min(item.find_first_not_of(kSpace), item.size()));
        item = item.substr(0, item.find_last_not_of(kSpace) + 1);
        if (item.empty())
            throw Error(ErrorCode::kInvalidArgument, "invalid list of repositories: an item is empty")
                .hint("Separate repository URLs by one comma; write %2C for a comma inside of a URL.");
        RepositoryUrl url = parse_repository_url(item);
        for (const RepositoryUrl &other : urls)
            if (other.display_name() == url.display_name())
                throw Error(ErrorCode::kInvalidArgument,
                            fmt::format("invalid list of repositories: \"{}\" is named twice", url.display_name()));
        urls.push_back(std::move(url));
    }
    return urls;
}

} // namespace pgvigil
