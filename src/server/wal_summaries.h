// The server's WAL summaries (17 and later), as an incremental backup needs them: whether they can be had for a stretch
// of WAL, waiting until the summarizer has got there, and the files. Where they cannot be had it is said why, as a
// sentence; that is no error: changes are then found by block hashes.
// Threading: the backup worker's main thread.
#pragma once

#include "base/lsn.h"
#include "repo/documents.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct WalSummaries {
    std::vector<std::string> paths; // absolute
    std::string problem;            // a sentence; empty when the paths cover everything
};

// Whether the summaries of `ranges` are there, or will be once the summarizer has got there. For before a backup.
[[nodiscard]] WalSummaries expect_wal_summaries(const std::vector<WalRange> &ranges);

// Waits while the summarizer comes nearer to the end of `ranges`, then looks for the files. `tick` is asked meanwhile;
// true ends the waiting by an error.
[[nodiscard]] WalSummaries await_wal_summaries(const std::vector<WalRange> &ranges, const std::function<bool()> &tick);

} // namespace pgvigil
