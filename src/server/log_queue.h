// What the core's threads say, kept until the main thread writes it to the server log. Bounded: when it is full, what
// comes is counted and reported as a number.
// Threading: emit() from any thread; flush() on the main thread.
#pragma once

#include "base/log.h"

#include <deque>
#include <mutex>
#include <string>

namespace pgvigil {

class LogQueue : public LogSink {
  public:
    void emit(LogLevel level, const std::string &message, const std::string &detail) noexcept override;
    // Writes what has gathered: warnings as WARNING, information as LOG, the rest as DEBUG1.
    void flush();

  private:
    struct Entry {
        LogLevel level;
        std::string message;
        std::string detail;
    };
    std::mutex mutex_;
    std::deque<Entry> entries_;
    size_t dropped_ = 0;
};

// One per process.
[[nodiscard]] LogQueue &process_log();

} // namespace pgvigil
