// What the storage tests share: temporary directories, a log that remembers, short ways to call a store.
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "storage/object_store.h"
#include "storage/repository_url.h"
#include "storage/s3/s3_store.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <mutex>
#include <stdlib.h>
#include <string>
#include <vector>

namespace pgvigil::test {

// A directory that goes with the object.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string name = (std::filesystem::temp_directory_path() / "pgvigil-test-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr)
            throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    TemporaryDirectory(const TemporaryDirectory &) = delete;
    TemporaryDirectory &operator=(const TemporaryDirectory &) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string &path() const noexcept { return path_; }

  private:
    std::string path_;
};

class RememberingLog : public LogSink {
  public:
    void emit(LogLevel level, const std::string &message, const std::string &) noexcept override {
        const std::lock_guard lock(mutex_);
        (level == LogLevel::kWarning ? warnings_ : others_).push_back(message);
    }
    [[nodiscard]] std::vector<std::string> warnings() const {
        const std::lock_guard lock(mutex_);
        return warnings_;
    }
    [[nodiscard]] std::vector<std::string> others() const {
        const std::lock_guard lock(mutex_);
        return others_;
    }

  private:
    mutable std::mutex mutex_;
    std::vector<std::string> warnings_;
    std::vector<std::string> others_;
};

inline PutOutcome put(ObjectStore &store, std::string_view key, std::string_view body) {
    const CancelToken never;
    return store.put_new({.key = key, .body = as_view(body)}, never);
}

inline std::optional<std::string> get(ObjectStore &store, std::string_view key) {
    const CancelToken never;
    const auto body = store.get(key, 64 * kMiB, never);
    if (!body)
        return std::nullopt;
    return std::string(as_text(*body));
}

// The S3 server the test runner started (scripts/rados-gateway); nullopt without one.
struct S3Server {
    std::string endpoint;
    std::string virtual_endpoint;
    std::string plain_endpoint;
    std::string bucket;
    std::string ca_file;
    std::string access_key;
    std::string secret_key;
};

inline std::string environment_value(const char *name) {
    const char *value = getenv(name);
    return value == nullptr ? "" : value;
}

inline std::optional<S3Server> s3_server() {
    S3Server server{
        environment_value("PGVIGIL_TEST_S3_ENDPOINT"),       environment_value("PGVIGIL_TEST_S3_VIRTUAL_ENDPOINT"),
        environment_value("PGVIGIL_TEST_S3_PLAIN_ENDPOINT"), environment_value("PGVIGIL_TEST_S3_BUCKET"),
        environment_value("PGVIGIL_TEST_S3_CA_FILE"),        environment_value("PGVIGIL_TEST_S3_ACCESS_KEY"),
        environment_value("PGVIGIL_TEST_S3_SECRET_KEY")};
    if (server.endpoint.empty())
        return std::nullopt;
    return server;
}

inline constexpr const char *kNoS3Server =
    "no S3 server: run scripts/rados-gateway start DIR and export the variables it prints";

// A prefix in the bucket that no other test uses.
inline std::string fresh_prefix() {
    return "unit/" + to_string(random_uuid());
}

inline std::string s3_url(const S3Server &server, const std::string &parameters = "") {
    return "s3://" + server.bucket + "/" + fresh_prefix() + "?endpoint=" + server.endpoint +
           "&ca_file=" + server.ca_file + parameters;
}

inline s3::S3Options s3_options(const S3Server &server) {
    s3::S3Options options;
    options.credentials.environment =
        s3::Environment({{"AWS_ACCESS_KEY_ID", server.access_key}, {"AWS_SECRET_ACCESS_KEY", server.secret_key}});
    return options;
}

inline std::unique_ptr<ObjectStore> open_s3(const std::string &url, const S3Server &server) {
    return std::make_unique<s3::S3Store>(parse_repository_url(url), s3_options(server));
}

// The Error that `body` throws; fails the test when it throws none.
template <class Body> Error error_of(Body &&body) {
    try {
        static_cast<void>(body());
    } catch (const Error &error) {
        return error;
    }
    ADD_FAILURE() << "no error was thrown";
    return {ErrorCode::kInternal, ""};
}

} // namespace pgvigil::test
