// WAL that was let go: a small file in the data directory that survives restarts, so that every gap reaches the
// repository as a document and forces a full backup (rules H1), however long the store is away.
// Threading: add_gap() by the archiver, the rest by the keeper's threads; the file is replaced whole.
#pragma once

#include "base/lsn.h"

#include <cstdint>
#include <string>
#include <vector>

namespace pgvigil {

struct WalGap {
    std::string file;   // as in pg_wal
    std::string reason; // one word: queue, skipped
    int64_t time_ms = 0;
    bool recorded = false; // the repositories know
};

// Appends and syncs. The archiver lets a file go only after this returned.
void add_gap(const std::string &data_directory, const WalGap &gap);
// Empty when there is no such file.
[[nodiscard]] std::vector<WalGap> read_gaps(const std::string &data_directory);
// Marks the first `count` gaps as recorded.
void mark_gaps_recorded(const std::string &data_directory, size_t count);
// Removes the gaps that lie wholly before `start`: a full backup begins there.
void drop_gaps_before(const std::string &data_directory, Lsn start, uint64_t segment_size);

} // namespace pgvigil
