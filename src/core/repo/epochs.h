// Epochs: who writes into a cluster's directory of a repository, and from where on (rules C2). The documents
// epochs/<n>.json are created once, numbered from 1 without a hole; the highest is the writer.
// Threading: free functions, any thread. Errors: what the store throws; kCorrupt for a document that cannot be read.
#pragma once

#include "base/cancel.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace pgvigil {

// The documents with numbers above `after`, ascending.
[[nodiscard]] std::vector<EpochDocument> list_epochs(const Repository &repository, uint64_t after,
                                                     const CancelToken &cancel);

// The highest epoch; nullopt when nobody ever wrote. Reads one document.
[[nodiscard]] std::optional<EpochDocument> highest_epoch(const Repository &repository, const CancelToken &cancel);

// Claims document.number: creates it and every lower number that is still missing, in ascending order. nullopt when all
// of them are document.instance's own now; otherwise the epoch of the instance that was faster. A number that is taken
// by the same instance already counts as claimed, so that a claim whose answer was lost can be repeated.
[[nodiscard]] std::optional<EpochDocument> claim_epoch(const Repository &repository, const EpochDocument &document,
                                                       const CancelToken &cancel);

// The lowest epoch whose objects readers accept for a segment: older writers' objects there are ignored, whatever they
// wrote late. `epochs` is the complete list of a repository.
[[nodiscard]] uint64_t lowest_accepted_epoch(const std::vector<EpochDocument> &epochs, TimelineId timeline,
                                             uint64_t segment, uint64_t segment_size) noexcept;

// The first segment behind `segment` at which the timeline's history breaks (EpochDocument::breaks): what is before it
// and what begins there do not belong together. An epoch that begins at or before it ends a break. nullopt: none.
[[nodiscard]] std::optional<uint64_t> first_break(const std::vector<EpochDocument> &epochs, TimelineId timeline,
                                                  uint64_t segment, uint64_t segment_size) noexcept;

} // namespace pgvigil
