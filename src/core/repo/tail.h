// The streamed tail of the WAL (rules B7): which bytes of segments that are not complete yet a repository holds, who
// streamed them, and which of them count.
//
// A run is one life of a streaming process. It ships each segment in pieces, in order, from offset 0; a piece of a
// segment is written only when the segment before is finished: stored complete, or whole as a tail. A piece at offset 0
// holds everything an earlier run had of the segment, so the highest run that has one holds the segment. A run that is
// open ends the earlier ones behind the segment in which the WAL ended when it began.
// Threading: pure functions and values; list_tail() and claim_tail_run() block on the store.
// Errors: what the store throws; kCorrupt for a document that cannot be read.
#pragma once

#include "base/cancel.h"
#include "base/random.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct TailRunId {
    uint64_t epoch = 0;
    uint32_t number = 0; // within the epoch, from 1
    friend constexpr auto operator<=>(const TailRunId &, const TailRunId &) noexcept = default;
};

// tail/<timeline>/runs/<epoch>-<number>.json
struct TailRun {
    TailRunId id;
    Uuid instance{};
    std::string host;
    TimelineId timeline = 0;
    Lsn from; // start of the segment in which the WAL ended when the run began
    uint64_t segment_size = 0;
    int64_t created_ms = 0;
};

// tail/<timeline>/<segment>/<epoch>-<number>-<from>-<to>: bytes [from, to) of the segment.
struct TailPiece {
    TailRunId run;
    uint64_t segment = 0;
    uint32_t from = 0;
    uint32_t to = 0;
    uint64_t stored_bytes = 0;
    int64_t modified_ms = 0; // store's clock
};

struct TimelineTail {
    TimelineId timeline = 0;
    uint64_t segment_size = 0;                           // bytes; 0 when nothing is there
    std::vector<TailRun> runs;                           // ascending
    std::map<uint64_t, std::vector<TailPiece>> segments; // each sorted by run, from, to
};

// What decides beside the tail itself.
struct TailContext {
    const std::vector<EpochDocument> &epochs; // the repository's, complete
    // Whether readers find the complete segment, or it has expired.
    std::function<bool(uint64_t segment)> is_stored;
};

struct TailCover {
    TailRunId run;
    std::vector<TailPiece> pieces; // in order; each begins at or before the end of the one before
    uint32_t end = 0;              // bytes [0, end) are there
    uint32_t known_end = 0;        // where the run's last piece ends
    bool hole = false;             // that is behind `end`: damage
};

// The bytes that count of a segment that is not stored complete; nullopt when there are none.
[[nodiscard]] std::optional<TailCover> tail_cover(const TimelineTail &tail, const TailContext &context,
                                                  uint64_t segment);
// Whether a tail that counts begins in a segment behind `segment`.
[[nodiscard]] bool has_later_tail(const TimelineTail &tail, const TailContext &context, uint64_t segment);
// Whether the run's beginning is there: from then on it ends earlier runs behind its first segment.
[[nodiscard]] bool is_open(const TimelineTail &tail, const TailContext &context, const TailRun &run);

// What is there of a timeline from `first_segment` on; 0 lists everything. `segment_size` may be 0 then: the runs tell
// it. Run documents that are in `known` are not read again. Of runs that began before `first_segment` the first piece
// is there too where it decides about what is listed.
[[nodiscard]] TimelineTail list_tail(const Repository &repository, TimelineId timeline, uint64_t segment_size,
                                     uint64_t first_segment, const CancelToken &cancel,
                                     const TimelineTail *known = nullptr);
// The same from the segment of this name on (24 digits; "" lists everything), whatever the size of segments is.
[[nodiscard]] TimelineTail list_tail_from(const Repository &repository, TimelineId timeline,
                                          std::string_view first_segment, const CancelToken &cancel);
// The timelines that have a tail, ascending.
[[nodiscard]] std::vector<TimelineId> list_tail_timelines(const Repository &repository, const CancelToken &cancel);

// Creates the next run of run.id.epoch; sets run.id.number.
void claim_tail_run(const Repository &repository, TailRun &run, const CancelToken &cancel);

[[nodiscard]] std::string tail_piece_key(const ClusterLayout &layout, TimelineId timeline, uint64_t segment_size,
                                         const TailPiece &piece);
[[nodiscard]] std::string tail_run_key(const ClusterLayout &layout, TimelineId timeline, TailRunId run);

[[nodiscard]] std::string encode(const TailRun &run);
[[nodiscard]] TailRun decode_tail_run(std::string_view json, std::string_view key);

} // namespace pgvigil
