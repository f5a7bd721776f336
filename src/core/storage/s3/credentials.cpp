#include "storage/s3/credentials.h"

#include "base/error.h"
#include "base/time.h"
#include "storage/s3/credentials_file.h"
#include "storage/s3/credentials_remote.h"

#include <array>
#include <cstdlib>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

namespace pgvigil::s3 {

namespace {

constexpr int64_t kRenewBeforeMs = 5 * 60 * 1000;
// After a failed renewal of credentials that still work.
constexpr int64_t kRenewalPauseMs = 10 * 1000;

class EnvironmentCredentials : public CredentialsProvider {
  public:
    explicit EnvironmentCredentials(Environment environment) : environment_(std::move(environment)) {}

    std::optional<Credentials> fetch(const CancelToken &) override {
        const auto access_key = environment_.get("AWS_ACCESS_KEY_ID");
        const auto secret_key = environment_.get("AWS_SECRET_ACCESS_KEY");
        if (!access_key && !secret_key)
            return std::nullopt;
        if (!access_key || !secret_key)
            throw Error(ErrorCode::kInvalidArgument, "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set")
                .hint("Set both in the environment, or neither.");
        return Credentials{{*access_key, *secret_key, environment_.get("AWS_SESSION_TOKEN").value_or("")}, 0};
    }
    [[nodiscard]] std::string source() const override { return "the environment"; }

  private:
    const Environment environment_;
};

} // namespace

Environment Environment::of_process() {
    constexpr std::array kNames = {"AWS_ACCESS_KEY_ID",
                                   "AWS_SECRET_ACCESS_KEY",
                                   "AWS_SESSION_TOKEN",
                                   "AWS_PROFILE",
                                   "AWS_REGION",
                                   "AWS_DEFAULT_REGION",
                                   "AWS_SHARED_CREDENTIALS_FILE",
                                   "AWS_CONFIG_FILE",
                                   "AWS_ROLE_ARN",
                                   "AWS_ROLE_SESSION_NAME",
                                   "AWS_WEB_IDENTITY_TOKEN_FILE",
                                   "AWS_ENDPOINT_URL_STS",
                                   "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                   "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                   "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                   "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                   "AWS_EC2_METADATA_DISABLED",
                                   "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                                   "HOME"};
    std::map<std::string, std::string> values;
    for (const char *name : kNames)
        if (const char *value = std::getenv(name); value != nullptr) // NOLINT(concurrency-mt-unsafe)
            values[name] = value;
    if (values["HOME"].empty()) {
        passwd entry = {};
        passwd *found = nullptr;
        std::array<char, 4096> buffer{};
        if (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
            values["HOME"] = found->pw_dir;
    }
    return Environment(std::move(values));
}

std::optional<std::string> Environment::get(const std::string &name) const {
    const auto found = values_.find(name);
    if (found == values_.end() || found->second.empty())
        return std::nullopt;
    return found->second;
}

class CachedCredentials::Turn {
  public:
    // Without a token it waits however long it takes.
    Turn(CachedCredentials &owner, const CancelToken *cancel) : owner_(owner) {
        constexpr std::chrono::milliseconds kStep{100};
        std::unique_lock lock(owner_.mutex_);
        while (owner_.busy_) {
            owner_.free_.wait_for(lock, kStep);
            if (cancel != nullptr)
                cancel->check();
        }
        owner_.busy_ = true;
    }
    Turn(const Turn &) = delete;
    Turn &operator=(const Turn &) = delete;
    ~Turn() {
        {
            const std::lock_guard lock(owner_.mutex_);
            owner_.busy_ = false;
        }
        owner_.free_.notify_one();
    }

  private:
    CachedCredentials &owner_;
};

CachedCredentials::CachedCredentials(std::vector<std::unique_ptr<CredentialsProvider>> providers, LogSink &log)
    : providers_(std::move(providers)), log_(log) {}

Credentials CachedCredentials::fetch(const CancelToken &cancel) {
    std::string sources;
    for (const auto &provider : providers_) {
        if (auto credentials = provider->fetch(cancel)) {
            origin_ = provider.get();
            return *std::move(credentials);
        }
        sources += (sources.empty() ? "" : ", ") + provider->source();
    }
    throw Error(ErrorCode::kAccessDenied, "found no credentials for S3")
        .detail(fmt::format("Looked in: {}.", sources))
        .hint("Name a file in AWS shared-credentials format in pgvigil.credentials_file, or give this machine a role.")
        .retryable(origin_ != nullptr); // a service that had some before
}

bool CachedCredentials::is_fresh() const {
    return current_ && (current_->expires_ms == 0 || unix_time_ms() + kRenewBeforeMs < current_->expires_ms) &&
           !origin_->has_changed();
}

void CachedCredentials::renew(const CancelToken &cancel) {
    const bool still_valid = current_ && (current_->expires_ms == 0 || unix_time_ms() < current_->expires_ms);
    if (still_valid && unix_time_ms() < no_renewal_before_ms_)
        return;
    try {
        current_ = fetch(cancel);
    } catch (const Error &error) {
        if (!still_valid || error.code() == ErrorCode::kCancelled)
            throw;
        log_.emit(LogLevel::kWarning, "could not renew credentials for S3, using the previous ones: " + error.message(),
                  error.detail());
        no_renewal_before_ms_ = unix_time_ms() + kRenewalPauseMs;
    }
}

SigningKey CachedCredentials::get(const CancelToken &cancel) {
    const Turn turn(*this, &cancel);
    if (!is_fresh())
        renew(cancel);
    return current_->key;
}

void CachedCredentials::invalidate(const SigningKey &key) {
    const Turn turn(*this, nullptr);
    if (current_ && current_->key.access_key == key.access_key && current_->key.session_token == key.session_token) {
        current_.reset();
        no_renewal_before_ms_ = 0;
    }
}

std::unique_ptr<CachedCredentials> make_credentials(const CredentialsOptions &options) {
    std::vector<std::unique_ptr<CredentialsProvider>> providers;
    const Environment &environment = options.environment;
    if (!options.credentials_file.empty()) {
        providers.push_back(make_file_credentials(options));
        return std::make_unique<CachedCredentials>(std::move(providers), *options.log);
    }
    if (options.profile.empty())
        providers.push_back(std::make_unique<EnvironmentCredentials>(environment));
    providers.push_back(make_file_credentials(options));
    providers.push_back(make_web_identity_credentials(options, configured_region(options)));
    if (options.profile.empty()) {
        providers.push_back(make_container_credentials(environment));
        providers.push_back(make_instance_credentials(environment));
    }
    return std::make_unique<CachedCredentials>(std::move(providers), *options.log);
}

} // namespace pgvigil::s3
