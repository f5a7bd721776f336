// The streamed tail of one segment in one repository: what there is of it, and its bytes (rules B7).
//
// Guarantees: what copy_tail() writes is the segment's first cover.end bytes as one writer streamed them, each piece
// checked against its name, its frames and its digest and the first page against cluster and address, and zeroes
// behind. It is never shorter than what look_for_tail() found.
// Threading: free functions; they block on the store. Memory: two pieces, at most 64 MiB.
// Errors: what the store throws; kCorrupt for damage.
#pragma once

#include "base/cancel.h"
#include "base/wal_name.h"
#include "repo/documents.h"
#include "repo/repository.h"
#include "repo/tail.h"
#include "transfer/wal_read.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace pgvigil {

struct TailFinding {
    bool streamed = false;          // something was ever streamed on this timeline
    uint64_t segment_size = 0;      // bytes
    std::optional<TailCover> cover; // unset: nothing of this segment counts
};

// `epochs`: the repository's, complete. `name` is a segment's.
[[nodiscard]] TailFinding look_for_tail(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                        std::string_view name, const CancelToken &cancel);

// Whether a tail that counts begins behind the segment `name`, or, for a history file, anywhere on its timeline.
[[nodiscard]] bool is_streamed_behind(const Repository &repository, const std::vector<EpochDocument> &epochs,
                                      std::string_view name, const CancelToken &cancel);

// False when a piece is gone: then the segment may have been stored complete. `finding.cover` is set.
[[nodiscard]] bool copy_tail(const Repository &repository, const TailFinding &finding, std::string_view name,
                             uint64_t system_identifier, WalSink &sink, const CancelToken &cancel);

} // namespace pgvigil
