// Waiting until repositories hold the WAL that makes a backup consistent. Threading: any one thread.
#pragma once

#include "base/cancel.h"
#include "repo/repository.h"
#include "transfer/wal_presence.h"

#include <chrono>
#include <memory>
#include <vector>

namespace pgvigil {

// Returns once `need.required` repositories hold all of it; kTimeout names the first missing segment.
void wait_until_stored(const std::vector<std::shared_ptr<Repository>> &repositories, const WalNeed &need,
                       std::chrono::milliseconds timeout, const CancelToken &cancel);

} // namespace pgvigil
