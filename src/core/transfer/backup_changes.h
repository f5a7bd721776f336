// The WAL summaries that an incremental backup goes by, read from the server's directory.
// Threading: free function; blocks while it reads.
#pragma once

#include "base/cancel.h"
#include "pgdata/block_changes.h"

#include <string>
#include <vector>

namespace pgvigil {

// What the files in `paths` (absolute; together they cover the WAL from the parent's start to this backup's) say.
// Throws when one cannot be read (the server removes old ones) or is damaged: then the summaries are of no use.
[[nodiscard]] BlockChanges load_wal_summaries(const std::vector<std::string> &paths, const CancelToken &cancel);

} // namespace pgvigil
