// Which segments of a range a repository holds complete, as readers see it: of an epoch that counts there (rules C2).
// Threading: free functions; they block on the store. Errors: what the store throws.
#pragma once

#include "base/cancel.h"
#include "repo/documents.h"
#include "repo/repository.h"
#include "repo/segment_runs.h"

#include <cstdint>
#include <vector>

namespace pgvigil {

// `epochs`: the repository's, complete. One listing; headers are read only where an older epoch's object may stand.
[[nodiscard]] SegmentRuns stored_segments(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                          TimelineId timeline, uint64_t segment_size, SegmentRun range,
                                          const CancelToken &cancel);

// The same of one segment, by one or two small reads and no listing.
[[nodiscard]] bool is_segment_stored(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                     TimelineId timeline, uint64_t segment_size, uint64_t segment,
                                     const CancelToken &cancel);

} // namespace pgvigil
