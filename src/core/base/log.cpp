#include "base/log.h"

namespace pgvigil {

LogSink &null_log() noexcept {
    class NullLog final : public LogSink {
        void emit(LogLevel /*level*/, const std::string & /*message*/,
                  const std::string & /*detail*/) noexcept override {}
    };
    static NullLog sink;
    return sink;
}

} // namespace pgvigil
