#include "storage/s3/credentials_remote.h"

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "storage/s3/credentials_file.h"
#include "storage/url_text.h"

#include <array>
#include <fmt/format.h>
#include <pugixml.hpp>

namespace pgvigil::s3 {

namespace {

constexpr uint64_t kAnswerLimit = 256 * kKiB;

HttpOptions metadata_options() {
    HttpOptions options;
    // Where there is no metadata service its address leads nowhere: do not wait long for that.
    options.connect_timeout = std::chrono::milliseconds(1000);
    options.stall_timeout = std::chrono::milliseconds(5000);
    options.max_connections = 1;
    return options;
}

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view kSpace = " \t\r\n";
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

Error refused(std::string_view service, const HttpResponse &response) {
    return Error(ErrorCode::kAccessDenied,
                 fmt::format("could not get credentials from {}: HTTP status {}", service, response.status))
        .retryable(response.status >= 500 || response.status == 429);
}

int64_t expiry_of(std::string_view text, std::string_view service) {
    const auto time = parse_time_us(text);
    if (!time)
        throw Error(ErrorCode::kUnavailable, fmt::format("credentials from {} have no usable time of expiry", service));
    return *time / 1000;
}

// The document of both the container's and the instance's service.
Credentials from_json(const HttpResponse &response, const std::string &service) {
    const Json document = parse_json(as_text(response.body), "answer of " + service);
    const auto member = [&](const char *name) { return json_member_or<std::string>(document, name, "", service); };
    Credentials credentials{{member("AccessKeyId"), member("SecretAccessKey"), member("Token")}, 0};
    if (credentials.key.access_key.empty() || credentials.key.secret_key.empty())
        throw Error(ErrorCode::kAccessDenied, fmt::format("{} handed out no credentials", service))
            .detail(fmt::format("It answered with code \"{}\".", member("Code")));
    if (const std::string expiration = member("Expiration"); !expiration.empty())
        credentials.expires_ms = expiry_of(expiration, service);
    return credentials;
}

// Hosts that may be asked over plain http: this machine and the addresses reserved for metadata.
bool is_metadata_host(const std::string &url) {
    for (const char *start : {"http://127.", "http://localhost", "http://[::1]", "http://169.254.170.2",
                              "http://169.254.170.23", "http://[fd00:ec2::23]"}) {
        const std::string_view host(start);
        if (!url.starts_with(host))
            continue;
        const char next = url.size() > host.size() ? url[host.size()] : '/';
        if (next == '/' || next == ':' || host == "http://127.")
            return true;
    }
    return false;
}

class WebIdentityCredentials : public CredentialsProvider {
  public:
    WebIdentityCredentials(const CredentialsOptions &options, std::string region)
        : options_(options), region_(region.empty() ? "us-east-1" : std::move(region)), http_(HttpOptions{}) {}

    std::optional<Credentials> fetch(const CancelToken &cancel) override {
        std::string token_file;
        std::string role;
        if (options_.profile.empty()) {
            token_file = options_.environment.get("AWS_WEB_IDENTITY_TOKEN_FILE").value_or("");
            role = options_.environment.get("AWS_ROLE_ARN").value_or("");
        }
        if (token_file.empty()) {
            IniSection section = config_section(options_);
            token_file = section["web_identity_token_file"];
            role = section["role_arn"];
        }
        if (token_file.empty() || role.empty())
            return std::nullopt;
        const auto token = read_small_file(token_file);
        if (!token)
            throw Error(ErrorCode::kNotFound, fmt::format("web identity token file \"{}\" does not exist", token_file));
        return ask(role, trimmed(*token), cancel);
    }

    [[nodiscard]] std::string source() const override { return "AWS_WEB_IDENTITY_TOKEN_FILE"; }

  private:
    [[nodiscard]] std::string endpoint() const {
        const auto url = options_.environment.get("AWS_ENDPOINT_URL_STS");
        if (!url)
            return fmt::format("https://sts.{}.amazonaws.com{}/", region_, region_.starts_with("cn-") ? ".cn" : "");
        if (!url->starts_with("https://") && !is_metadata_host(*url))
            throw Error(ErrorCode::kInvalidArgument, fmt::format("AWS_ENDPOINT_URL_STS=\"{}\" is not https://", *url));
        return *url;
    }

    [[nodiscard]] Credentials ask(const std::string &role, std::string_view token, const CancelToken &cancel) {
        const std::string session = options_.environment.get("AWS_ROLE_SESSION_NAME").value_or("pgvigil");
        // In the body, because URLs end up in the logs of proxies.
        const std::string form =
            fmt::format("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName={}&RoleArn={}"
                        "&WebIdentityToken={}",
                        percent_encode(session), percent_encode(role), percent_encode(token));
        HttpRequest request{.method = "POST",
                            .url = endpoint(),
                            .headers = {{"content-type", "application/x-www-form-urlencoded"}},
                            .body = as_view(form),
                            .body_limit = kAnswerLimit};
        request.bypass_proxy = is_metadata_host(request.url);
        const HttpResponse response = http_.perform(request, cancel);
        pugi::xml_document document;
        document.load_buffer(response.body.data(), response.body.size());
        if (!response.is_success()) {
            const pugi::xml_node error = document.child("ErrorResponse").child("Error");
            throw Error(ErrorCode::kAccessDenied,
                        fmt::format("could not assume role \"{}\" with the web identity token: {} (HTTP status {})",
                                    role, error.child_value("Code"), response.status))
                .detail(error.child_value("Message"))
                .retryable(response.status >= 500 || response.status == 429);
        }
        const pugi::xml_node answer = document.child("AssumeRoleWithWebIdentityResponse")
                                          .child("AssumeRoleWithWebIdentityResult")
                                          .child("Credentials");
        Credentials credentials{{answer.child_value("AccessKeyId"), answer.child_value("SecretAccessKey"),
                                 answer.child_value("SessionToken")},
                                0};
        if (credentials.key.access_key.empty() || credentials.key.secret_key.empty())
            throw Error(ErrorCode::kUnavailable, "the token service's answer holds no credentials");
        credentials.expires_ms = expiry_of(answer.child_value("Expiration"), "the token service");
        return credentials;
    }

    const CredentialsOptions options_;
    const std::string region_;
    HttpClient http_;
};

class ContainerCredentials : public CredentialsProvider {
  public:
    explicit ContainerCredentials(Environment environment)
        : environment_(std::move(environment)), http_(metadata_options()) {}

    std::optional<Credentials> fetch(const CancelToken &cancel) override {
        std::string url;
        if (const auto relative = environment_.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))
            url = "http://169.254.170.2" + *relative;
        else if (const auto full = environment_.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
            url = *full;
        else
            return std::nullopt;
        if (!url.starts_with("https://") && !is_metadata_host(url))
            throw Error(
                ErrorCode::kInvalidArgument,
                fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI=\"{}\" is neither https:// nor a metadata address",
                            url));
        HttpRequest request{
            .method = "GET", .url = url, .headers = {}, .body = {}, .body_limit = kAnswerLimit, .bypass_proxy = true};
        if (const std::string token = authorization(); !token.empty())
            request.headers.emplace_back("authorization", token);
        const HttpResponse response = http_.perform(request, cancel);
        if (!response.is_success())
            throw refused(source(), response);
        return from_json(response, source());
    }

    [[nodiscard]] std::string source() const override { return "the container's credentials service"; }

  private:
    // Read each time: the file's content is replaced before it ends.
    [[nodiscard]] std::string authorization() const {
        const auto path = environment_.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        if (!path)
            return environment_.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").value_or("");
        const auto token = read_small_file(*path);
        if (!token)
            throw Error(ErrorCode::kNotFound, fmt::format("container token file \"{}\" does not exist", *path));
        return std::string(trimmed(*token));
    }

    const Environment environment_;
    HttpClient http_;
};

class InstanceCredentials : public CredentialsProvider {
  public:
    explicit InstanceCredentials(Environment environment)
        : environment_(std::move(environment)), http_(metadata_options()),
          base_(environment_.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").value_or("http://169.254.169.254")) {
        while (base_.ends_with('/'))
            base_.pop_back();
    }

    std::optional<Credentials> fetch(const CancelToken &cancel) override {
        const std::string disabled = environment_.get("AWS_EC2_METADATA_DISABLED").value_or("");
        if (disabled == "true" || disabled == "TRUE" || disabled == "True")
            return std::nullopt;
        std::string token;
        try {
            const HttpResponse response =
                ask("PUT", "/latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds", "21600"}, cancel);
            if (!response.is_success())
                return std::nullopt; // something else lives at that address
            token = as_text(response.body);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            return std::nullopt; // not on EC2
        }
        const std::pair<std::string, std::string> header{"x-aws-ec2-metadata-token", token};
        const std::string path = "/latest/meta-data/iam/security-credentials/";
        const HttpResponse roles = ask("GET", path, header, cancel);
        if (roles.status == 404)
            return std::nullopt; // an instance without a role
        if (!roles.is_success())
            throw refused(source(), roles);
        const std::string_view role = trimmed(as_text(roles.body));
        const HttpResponse response = ask("GET", path + std::string(role.substr(0, role.find('\n'))), header, cancel);
        if (!response.is_success())
            throw refused(source(), response);
        return from_json(response, source());
    }

    [[nodiscard]] std::string source() const override { return "the instance's metadata service"; }

  private:
    HttpResponse ask(const char *method, const std::string &path, std::pair<std::string, std::string> header,
                     const CancelToken &cancel) {
        HttpRequest request{.method = method,
                            .url = base_ + path,
                            .headers = {std::move(header)},
                            .body = {},
                            .body_limit = kAnswerLimit,
                            .bypass_proxy = true};
        if (request.method == "PUT")
            request.body = ByteView{};
        return http_.perform(request, cancel);
    }

    const Environment environment_;
    HttpClient http_;
    std::string base_;
};

} // namespace

std::unique_ptr<CredentialsProvider> make_web_identity_credentials(const CredentialsOptions &options,
                                                                   std::string region) {
    return std::make_unique<WebIdentityCredentials>(options, std::move(region));
}

std::unique_ptr<CredentialsProvider> make_container_credentials(const Environment &environment) {
    return std::make_unique<ContainerCredentials>(environment);
}

std::unique_ptr<CredentialsProvider> make_instance_credentials(const Environment &environment) {
    return std::make_unique<InstanceCredentials>(environment);
}

} // namespace pgvigil::s3
