// Where the core says things that are not errors. The core never prints: it hands events to a LogSink; the server
// queues them for its main thread, the program writes them to standard error. Threading: emit() may be called from any
// thread.
#pragma once

#include <string>

namespace pgvigil {

enum class LogLevel { kDebug, kInfo, kWarning };

class LogSink {
  public:
    virtual ~LogSink() = default;
    // `message` in PostgreSQL's style; `detail` may be empty.
    virtual void emit(LogLevel level, const std::string &message, const std::string &detail) noexcept = 0;
};

// Swallows everything.
LogSink &null_log() noexcept;

} // namespace pgvigil
