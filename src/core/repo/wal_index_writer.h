// Writes the index objects of the WAL (repo/wal_index.h) for ranges that are complete, or have been left behind with
// holes. Created once: what arrives late is told by an object of the next generation.
// Threading: blocks; reads headers with threads of its own. Errors: what the store throws; nothing is left half done.
#pragma once

#include "base/cancel.h"
#include "repo/catalog.h"

#include <cstdint>

namespace pgvigil {

struct WalIndexLimits {
    int64_t now_ms = 0; // the store's clock
    // A timeline that another has followed, and that got nothing new for so long, is complete.
    int64_t grace_ms = int64_t{15} * 60 * 1000;
    size_t objects = 4; // at most, in one call
};

// The ranges that are due by what the catalog shows, oldest first.
[[nodiscard]] std::vector<WalBlock> due_wal_blocks(const Catalog &catalog, const WalIndexLimits &limits);

// Returns how many objects were created.
size_t write_due_wal_index(const Repository &repository, const Catalog &catalog, const WalIndexLimits &limits,
                           const CancelToken &cancel);

} // namespace pgvigil
