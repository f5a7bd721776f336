// Whether a repository has the WAL that something needs: listed, and not marked as expired (repo/expired_wal.h).
// Threading: free functions, any thread; they block. Errors: what the store throws.
#pragma once

#include "base/cancel.h"
#include "base/lsn.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <string>
#include <vector>

namespace pgvigil {

struct WalNeed {
    std::vector<WalRange> ranges;
    uint64_t segment_size = 0; // bytes
    unsigned required = 0;     // repositories; 0 = all
};

// The names of needed segments that `repository` does not hold, or that are going there, at most `limit`.
[[nodiscard]] std::vector<std::string> missing_segments(const Repository &repository, const WalNeed &need, size_t limit,
                                                        const CancelToken &cancel);
// Those that expiry has marked, whether they are there yet or not.
[[nodiscard]] std::vector<std::string> expired_segments(const Repository &repository, const WalNeed &need, size_t limit,
                                                        const CancelToken &cancel);

} // namespace pgvigil
