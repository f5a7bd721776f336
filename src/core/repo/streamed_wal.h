// What the streamed tail adds to the WAL of a timeline: how far segments reach that are not stored complete (rules B7).
// Threading: list_streamed() blocks on the store; the others are pure. Errors: what the store throws; what cannot be
// read of the tail is listed as unreadable, and the tail then counts as absent.
#pragma once

#include "repo/catalog.h"

namespace pgvigil {

// Fills in tail_runs and streamed of `wal`, whose runs are known. `expired`: of this timeline. `known`: an earlier
// reading, whose run documents are not asked for again; or null. One listing, and a document for each new run.
void list_streamed(const Repository &repository, const std::vector<EpochDocument> &epochs, uint64_t segment_size,
                   const SegmentRuns &expired, const TimelineWal *known, TimelineWal &wal,
                   std::vector<UnreadableDocument> &unreadable, const CancelToken &cancel);

// The size of the timeline's segments, from the newest run; 0 when there is none.
[[nodiscard]] uint64_t segment_size_of_tail(const Repository &repository, TimelineId timeline,
                                            const CancelToken &cancel);

// How many bytes from its start a segment that is not stored complete has; 0 for none, or none that can be relied on.
[[nodiscard]] uint64_t streamed_bytes(const TimelineWal &wal, uint64_t segment) noexcept;

// When the last byte before `end` was stored, the store's clock; nullopt where it is not known: of complete segments
// only the newest one's time is.
[[nodiscard]] std::optional<int64_t> stored_ms_of(const TimelineWal &wal, Lsn end, uint64_t segment_size) noexcept;

} // namespace pgvigil
