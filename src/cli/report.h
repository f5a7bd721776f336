// What the program says: errors and warnings to standard error, results to standard output.
// Threading: StandardErrorLog and ProgressLine may be used by any thread.
#pragma once

#include "base/error.h"
#include "base/log.h"

#include <cstdint>
#include <mutex>
#include <string>

namespace pgvigil::cli {

// "pgvigil: error: …", "pgvigil: detail: …", "pgvigil: hint: …".
void report_error(const Error &error) noexcept;
// The same as a JSON object for programs that read standard output.
[[nodiscard]] std::string error_json(const Error &error);

class StandardErrorLog final : public LogSink {
  public:
    void emit(LogLevel level, const std::string &message, const std::string &detail) noexcept override;
};

// One line that is written over again, on a terminal only.
class ProgressLine {
  public:
    explicit ProgressLine(bool enabled) noexcept;
    ~ProgressLine();
    ProgressLine(const ProgressLine &) = delete;
    ProgressLine &operator=(const ProgressLine &) = delete;

    void show(const std::string &text) noexcept;
    void clear() noexcept;

  private:
    const bool enabled_;
    std::mutex mutex_;
    bool shown_ = false;
};

// "1.5 GB" (powers of 1024, as PostgreSQL's pg_size_pretty writes them), "2 h 05 min".
[[nodiscard]] std::string pretty_bytes(uint64_t bytes);
[[nodiscard]] std::string pretty_seconds(uint64_t seconds);

} // namespace pgvigil::cli
