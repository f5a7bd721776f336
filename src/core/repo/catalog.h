// The catalog of one cluster as a repository shows it: backups that exist, timelines, and which WAL segments are there.
// Read from commit documents and listings; no WAL or backup data is fetched.
// Threading: load_catalog() reads documents with threads of its own and blocks; a Catalog is a value.
// Errors: what the store throws; a commit document that cannot be read is not fatal: it is listed in `unreadable`.
#pragma once

#include "base/cancel.h"
#include "base/lsn.h"
#include "pgdata/history_file.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

// Complete segments without a hole between them; both ends belong to it.
struct SegmentRun {
    uint64_t first = 0;
    uint64_t last = 0;

    friend bool operator==(const SegmentRun &, const SegmentRun &) = default;
};

struct TimelineWal {
    TimelineId timeline = 0;
    std::vector<SegmentRun> runs;          // ascending, not touching
    std::vector<TimelineSwitch> ancestors; // from <timeline>.history, oldest first; empty for timeline 1
    bool has_history = false;
    int64_t newest_object_ms = 0; // store's clock, of the last segment of the last run
};

struct UnreadableDocument {
    std::string key;
    std::string message;
};

struct Catalog {
    uint64_t system_identifier = 0;
    uint64_t segment_size = 0;           // bytes; 0 when there is neither a backup nor a segment
    std::vector<CommitDocument> backups; // ascending by id; `packs` and `table` left empty; without those that go
    std::vector<TimelineWal> timelines;  // ascending
    std::vector<EpochDocument> epochs;   // ascending
    std::vector<UnreadableDocument> unreadable;

    [[nodiscard]] const TimelineWal *timeline(TimelineId id) const noexcept;
    [[nodiscard]] const CommitDocument *backup(std::string_view id) const noexcept;
};

[[nodiscard]] Catalog load_catalog(const Repository &repository, const CancelToken &cancel);

// A single commit document with everything in it; nullopt when there is no such backup.
[[nodiscard]] std::optional<CommitDocument> load_commit(const Repository &repository, std::string_view id,
                                                        const CancelToken &cancel);

} // namespace pgvigil
