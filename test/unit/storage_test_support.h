// What the storage tests share: temporary directories, a log that remembers, short ways to call a store.
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "storage/object_store.h"

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
