// How far this server's WAL is flushed, seen from a worker: told at once where the release has a signal for it, and
// since when the oldest byte that matters waits. Threading: the process's main thread.
#pragma once

#include "base/lsn.h"

#include <cstdint>
#include <deque>
#include <optional>

namespace pgvigil {

// When positions were first seen to be flushed: the age of what the store lacks. Times are boot time, ms.
class FlushAges {
  public:
    void note(Lsn flushed, int64_t now_ms);
    // Nothing below is asked for any more.
    void forget_below(Lsn durable);
    // When the oldest flushed byte from `durable` on was seen; nullopt when there is none.
    [[nodiscard]] std::optional<int64_t> oldest_ms() const;
    [[nodiscard]] Lsn flushed() const noexcept { return flushed_; }
    void clear();

  private:
    struct Sample {
        Lsn flushed; // up to here by then
        int64_t time_ms;
    };
    std::deque<Sample> samples_; // ascending
    Lsn flushed_;
};

struct FlushPosition {
    Lsn lsn;
    TimelineId timeline = 0;
};

// nullopt in recovery.
[[nodiscard]] std::optional<FlushPosition> flush_position();

// While it lives, a flush of WAL sets this process's latch, once; to be made before the position is read. Does nothing
// where the release, or max_wal_senders = 0, has no such signal.
class FlushSignal {
  public:
    explicit FlushSignal(bool wanted);
    ~FlushSignal();
    FlushSignal(const FlushSignal &) = delete;
    FlushSignal &operator=(const FlushSignal &) = delete;

    [[nodiscard]] bool armed() const noexcept { return armed_; }

  private:
    bool armed_ = false;
};

} // namespace pgvigil
