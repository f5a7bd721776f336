// The WAL of one timeline as stretches for people: stored segments, what was streamed of others, and what is missing.
// Threading: pure function.
#pragma once

#include "repo/catalog.h"

#include <cstdint>
#include <vector>

namespace pgvigil {

struct WalSpan {
    enum class State : uint8_t { kStored, kStreamed, kMissing };
    State state = State::kStored;
    uint64_t first = 0; // segments; both ends belong to it
    uint64_t last = 0;
    Lsn from;
    Lsn to; // behind the last byte; within `last` where only a part of it was streamed
};
[[nodiscard]] const char *state_name(WalSpan::State state) noexcept; // stored, streamed, missing

// Ascending, without overlap, from the first segment that is there to the last.
[[nodiscard]] std::vector<WalSpan> wal_spans(const TimelineWal &wal, uint64_t segment_size);

} // namespace pgvigil
