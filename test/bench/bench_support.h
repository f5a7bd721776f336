// What the data plane's own benchmarks share: opening a repository, and what a run cost the process.
#pragma once

#include "repo/repository.h"
#include "storage/open_store.h"

#include <chrono>
#include <cstdio>
#include <fmt/format.h>
#include <memory>
#include <string>
#include <sys/resource.h>

namespace pgvigil::bench {

class StandardErrorLog : public LogSink {
  public:
    void emit(LogLevel level, const std::string &message, const std::string &detail) noexcept override {
        if (level == LogLevel::kWarning)
            std::fprintf(stderr, "warning: %s %s\n", message.c_str(), detail.c_str());
    }
};

inline std::shared_ptr<Repository> open_repository(const std::string &url, const std::string &credentials_file,
                                                   uint64_t system_identifier, LogSink &log) {
    StoreOptions options;
    options.credentials_file = credentials_file;
    options.log = &log;
    std::shared_ptr<ObjectStore> store = open_store(parse_repository_url(url), options);
    const RepositoryDocument document = create_repository_document(*store, CancelToken());
    return std::make_shared<Repository>(store, document, store->display_name(), system_identifier);
}

// Wall-clock and processor time since construction, and the process's largest memory.
class Cost {
  public:
    Cost() : begin_(std::chrono::steady_clock::now()), cpu_begin_(cpu_seconds()) {}
    [[nodiscard]] double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    }
    [[nodiscard]] double cpu() const { return cpu_seconds() - cpu_begin_; }
    static double memory_mib() {
        rusage usage{};
        getrusage(RUSAGE_SELF, &usage);
        return static_cast<double>(usage.ru_maxrss) / 1024;
    }

  private:
    static double cpu_seconds() {
        rusage usage{};
        getrusage(RUSAGE_SELF, &usage);
        const auto seconds = [](const timeval &time) {
            return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
        };
        return seconds(usage.ru_utime) + seconds(usage.ru_stime);
    }
    std::chrono::steady_clock::time_point begin_;
    double cpu_begin_;
};

} // namespace pgvigil::bench
