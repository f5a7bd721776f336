// Which WAL of one timeline a repository holds: from the names of index objects, and from listings of what those leave
// open (the newest segments, ranges without an object, holes). Threading: blocks; WalListing belongs to one thread.
// Errors: what the store throws.
#pragma once

#include "repo/catalog.h"

namespace pgvigil {

struct WalListingInput {
    uint64_t segment_size = 0;    // bytes
    std::vector<WalBlock> blocks; // of this timeline and the largest span, as listed
    SegmentRuns expired;          // of this timeline
    const std::vector<EpochDocument> *epochs = nullptr;
    const TimelineWal *known = nullptr; // an earlier reading; the beginning of the WAL is then not looked at again
};

// Fills in runs, newest_object_ms, blocks, epoch_names and header_epochs of `wal`. Appends to `unreadable` the index
// objects that cannot be read: their ranges are listed instead.
void list_wal(const Repository &repository, const WalListingInput &input, TimelineWal &wal,
              std::vector<UnreadableDocument> &unreadable, const CancelToken &cancel);

// The length of a segment of the timeline, from the header of one; 0 when there is none.
[[nodiscard]] uint64_t sample_segment_size(const Repository &repository, TimelineId timeline,
                                           const CancelToken &cancel);

// An index object's segments; nullopt when it is gone. Throws kCorrupt naming the key.
[[nodiscard]] std::optional<std::vector<IndexedSegment>>
read_wal_block(const Repository &repository, const WalBlock &block, const CancelToken &cancel);

} // namespace pgvigil
