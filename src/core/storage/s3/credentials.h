// Where the keys come from that sign requests, and how they stay fresh.
//
// Guarantees: secrets appear in no message; credentials that end are fetched anew five minutes before, by one caller
// while the others use the old ones or wait; files are read again when they change.
// Threading: CachedCredentials may be used by many threads; a CredentialsProvider is called by one at a time.
// Errors: kAccessDenied when there are none, kInvalidArgument for a broken file, kUnavailable (retryable) when a
// service that hands them out does not answer.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "storage/http/http_client.h"
#include "storage/s3/sigv4.h"

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil::s3 {

struct Credentials {
    SigningKey key;
    int64_t expires_ms = 0; // milliseconds since 1970 UTC; 0 for never
};

class CredentialsProvider {
  public:
    virtual ~CredentialsProvider() = default;
    // nullopt when this source is not configured here.
    virtual std::optional<Credentials> fetch(const CancelToken &cancel) = 0;
    // For "none found in …": what was looked at, as a noun.
    [[nodiscard]] virtual std::string source() const = 0;
    // True when what fetch() read has changed since, so that cached credentials are old.
    [[nodiscard]] virtual bool has_changed() const { return false; }
};

// The environment variables that matter here, read once: getenv() is not safe beside other threads.
class Environment {
  public:
    Environment() = default;
    explicit Environment(std::map<std::string, std::string> values) : values_(std::move(values)) {}
    // AWS_… and HOME (from the user database when unset).
    [[nodiscard]] static Environment of_process();
    // nullopt when unset or empty.
    [[nodiscard]] std::optional<std::string> get(const std::string &name) const;

  private:
    std::map<std::string, std::string> values_;
};

struct CredentialsOptions {
    std::string credentials_file; // "" for the usual places
    std::string profile;          // "" for AWS_PROFILE or "default"
    Environment environment;
    LogSink *log = &null_log();
};

// Asks the providers in order, remembers what the first one had, and renews it.
class CachedCredentials {
  public:
    explicit CachedCredentials(std::vector<std::unique_ptr<CredentialsProvider>> providers, LogSink &log);

    [[nodiscard]] SigningKey get(const CancelToken &cancel);
    // The server says that `key` has ended: the next get() fetches anew.
    void invalidate(const SigningKey &key);

  private:
    [[nodiscard]] bool is_fresh() const;
    [[nodiscard]] Credentials fetch(const CancelToken &cancel);
    void renew(const CancelToken &cancel);

    const std::vector<std::unique_ptr<CredentialsProvider>> providers_;
    LogSink &log_;
    // Held by one caller at a time, also while it asks a service; a flag, because others must be able to give up
    // waiting.
    class Turn;
    std::mutex mutex_;
    std::condition_variable free_;
    bool busy_ = false;
    std::optional<Credentials> current_;
    CredentialsProvider *origin_ = nullptr;
    int64_t no_renewal_before_ms_ = 0;
};

// The usual chain: the credentials file when one is set; otherwise environment, ~/.aws, web identity, container,
// IMDSv2. A profile leaves out the environment.
[[nodiscard]] std::unique_ptr<CachedCredentials> make_credentials(const CredentialsOptions &options);

// The region that the environment or ~/.aws/config says; "" when neither does.
[[nodiscard]] std::string configured_region(const CredentialsOptions &options);

} // namespace pgvigil::s3
