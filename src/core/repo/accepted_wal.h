// The object of a segment that readers accept in one repository (rules C2), by its header; and what a timeline's newest
// WAL there is, the streamed tail included. Used where the writer's role is decided.
// Threading: free functions, any thread; they block on the store. Errors: what the store throws.
#pragma once

#include "base/cancel.h"
#include "repo/envelope.h"
#include "repo/epochs.h"
#include "repo/repository.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct AcceptedSegment {
    std::string key;
    ObjectHeader header;
};

// A key of the WAL directory that holds a complete segment; nullopt for parts, partial and other files.
struct SegmentKey {
    TimelineId timeline = 0;
    uint64_t segment = 0;
    uint64_t epoch = 0; // of <segment>~<epoch>; 0 for the plain name
};
[[nodiscard]] std::optional<SegmentKey> parse_segment_key(std::string_view key, uint64_t segment_size);

// `epochs`: all of the repository. nullopt when no object there counts.
[[nodiscard]] std::optional<AcceptedSegment> accepted_segment(const Repository &repository,
                                                              const std::vector<EpochDocument> &epochs,
                                                              TimelineId timeline, uint64_t segment,
                                                              uint64_t segment_size, const CancelToken &cancel);

// Whether anything is stored of the timeline before `segment`, in whatever epoch.
[[nodiscard]] bool has_wal_before(const Repository &repository, TimelineId timeline, uint64_t segment,
                                  uint64_t segment_size, const CancelToken &cancel);

// The end of a complete record in the streamed tail of the timeline that lies behind `end`; nullopt when there is none.
[[nodiscard]] std::optional<Lsn> tail_record_behind(const Repository &repository,
                                                    const std::vector<EpochDocument> &epochs, TimelineId timeline,
                                                    Lsn end, uint64_t segment_size, const CancelToken &cancel);

} // namespace pgvigil
