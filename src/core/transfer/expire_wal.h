// Which objects of the WAL expiry may delete, once the retention plan says which segments stay: everything that belongs
// to other segments, and in those that stay what a writer left that was replaced or died. Directories whose segments
// all stay are not listed. Used by transfer/expire. Threading: blocks; lists with threads of its own.
#pragma once

#include "base/cancel.h"
#include "plan/retention.h"
#include "repo/repository.h"
#include "transfer/expire_delete.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pgvigil {

// Stored segments of one timeline that go, without one between them that stays.
struct DoomedWal {
    TimelineId timeline = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    std::vector<DoomedObject> objects; // by name, and so by segment
};

struct WalRemains {
    std::vector<DoomedWal> segments;     // ascending
    std::vector<DoomedObject> histories; // history files of timelines that nothing leads to
    std::vector<DoomedObject> gaps;      // documents about files that were let go, of segments that go
    // Parts of segments whose writer died, and objects that one of a later epoch replaced.
    std::vector<DoomedObject> leftovers;
};

// `grace_ms`: what may be a writer's work at this moment must be older by the store's clock.
[[nodiscard]] WalRemains find_wal_remains(const Repository &repository, const Catalog &catalog,
                                          const RetentionPlan &plan, int64_t now_ms, int64_t grace_ms,
                                          const CancelToken &cancel);

} // namespace pgvigil
