// What the streamer shows of itself in shared memory, and what it says in the log: each trouble once, and its end.
// Threading: the streamer's main thread.
#pragma once

#include "server/boundary.h"
#include "server/shared_stream.h"
#include "server/stream_session.h"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace pgvigil {

class StreamStatus {
  public:
    void enter();
    // `session` and `oldest_ms` (boot time) may be absent. Cheap while nothing has changed.
    void publish(StreamMode mode, const StreamSession *session, std::optional<int64_t> oldest_ms);
    // A durable position that rests on something else is no longer shown. True when it was not one of this session's
    // basis. Says so when WAL was let go between that position and the session.
    bool session_begun(const StreamSession &session);
    // Streaming could not begin, or ended: `report` says why. Written to the log when it is news.
    void failed(const ErrorReport &report);
    // Nothing is wrong, yet nothing can be streamed: shown, and called a failure when it lasts.
    void waiting(const std::string &what);
    // The next session counts from zero.
    void session_ended(const StreamSession &session);

  private:
    struct Sample {
        int64_t time_ms;
        uint64_t pieces;
        uint64_t bytes;
        uint64_t requests;
    };
    void look_for_trouble(const StreamSession &session);
    void set_error(const std::string &text, bool failing);
    void clear_error();
    [[nodiscard]] TailCounters total(const StreamSession *session) const;

    TailCounters earlier_;
    std::deque<Sample> samples_;
    std::map<std::string, std::string> troubles_; // by repository, as last said
    std::string last_failure_;
    StreamMode mode_ = StreamMode::kOff;
    Lsn durable_;
    bool waits_ = false;
    bool failing_ = false;
    int64_t waiting_since_ms_ = 0;
    int64_t published_ms_ = 0;
};

} // namespace pgvigil
