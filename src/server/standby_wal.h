// The WAL that makes a backup consistent, seen from the server: which ranges of which timelines, and, on a standby, its
// bytes from pg_wal (rules E6). Threading: the backup worker's main thread.
#pragma once

#include "base/bytes.h"
#include "base/lsn.h"
#include "repo/documents.h"

#include <string>
#include <vector>

namespace pgvigil {

// From `start` to `stop`, one range for each timeline in between.
[[nodiscard]] std::vector<WalRange> wal_ranges_between(Lsn start, TimelineId start_timeline, Lsn stop,
                                                       TimelineId stop_timeline);

// A segment of pg_wal, its bytes at and after `end` zeroed: what stands there was never part of the WAL. Throws
// kNotFound when it has been removed or is being reused.
[[nodiscard]] Bytes read_local_segment(const std::string &name, Lsn end);

} // namespace pgvigil
