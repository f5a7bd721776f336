// Waiting until repositories hold the WAL that makes a backup consistent. Threading: any one thread.
#pragma once

#include "base/cancel.h"
#include "base/lsn.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct WalNeed {
    std::vector<WalRange> ranges;
    uint64_t segment_size = 0; // bytes
    unsigned required = 0;     // repositories; 0 = all
};

// The names of needed segments that `repository` does not hold yet, at most `limit`.
[[nodiscard]] std::vector<std::string> missing_segments(const Repository &repository, const WalNeed &need, size_t limit,
                                                        const CancelToken &cancel);

// Returns once `need.required` repositories hold all of it; kTimeout names the first missing segment.
void wait_until_stored(const std::vector<std::shared_ptr<Repository>> &repositories, const WalNeed &need,
                       std::chrono::milliseconds timeout, const CancelToken &cancel);

} // namespace pgvigil
