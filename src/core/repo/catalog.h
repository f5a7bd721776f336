// The catalog of one cluster as a repository shows it: backups that exist, timelines, and which WAL segments are there.
// Read from small documents that never change, from the names of index objects (repo/wal_index.h) and from listings of
// what those do not cover and of the streamed tail; no WAL or backup data is fetched. What expiry takes away
// (tombstones, expired WAL) is left out. Threading: load_catalog() reads with threads of its own and blocks; a Catalog
// is a value. Errors: what the store throws; a document that cannot be read is not fatal: it is listed in `unreadable`.
#pragma once

#include "base/cancel.h"
#include "base/lsn.h"
#include "pgdata/history_file.h"
#include "repo/documents.h"
#include "repo/keeps.h"
#include "repo/repository.h"
#include "repo/segment_runs.h"
#include "repo/tail.h"
#include "repo/wal_index.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct TimelineWal {
    TimelineId timeline = 0;
    SegmentRuns runs;                      // of complete segments
    std::vector<TimelineSwitch> ancestors; // from <timeline>.history, oldest first; empty for timeline 1
    bool has_history = false;
    int64_t newest_object_ms = 0;      // store's clock, of the last segment of the last run
    std::vector<WalBlock> blocks = {}; // index objects that tell of these segments, ascending, no two of one segment
    // Segments outside of `blocks` that are read from <segment>~<epoch>.
    std::map<uint64_t, uint64_t> epoch_names = {};
    // Epochs that the headers of segments behind the start of an epoch named: asked once (rules C2).
    std::map<uint64_t, uint64_t> header_epochs = {};
    std::vector<TailRun> tail_runs = {}; // of the streamed tail, ascending
    // Segments that are not stored complete, as far as they were streamed (repo/streamed_wal.h).
    std::map<uint64_t, TailCover> streamed = {};
};

struct Catalog {
    uint64_t system_identifier = 0;
    uint64_t segment_size = 0;           // bytes; 0 when there is neither a backup nor a segment
    std::vector<CommitDocument> backups; // ascending by id; summaries: see repo/commit_index.h
    std::vector<TimelineWal> timelines;  // ascending
    std::vector<EpochDocument> epochs;   // ascending
    Keeps keeps;
    std::vector<UnreadableDocument> unreadable;

    [[nodiscard]] const TimelineWal *timeline(TimelineId id) const noexcept;
    [[nodiscard]] const CommitDocument *backup(std::string_view id) const noexcept;
    // Whether every backup that `backup` inherits from is here.
    [[nodiscard]] bool has_whole_chain(const CommitDocument &backup) const noexcept;
};

// `known`: an earlier catalog of the same repository and cluster. What it holds of documents and names that never
// change is not asked for again; timelines older than the two newest are taken over as they are.
[[nodiscard]] Catalog load_catalog(const Repository &repository, const CancelToken &cancel,
                                   const Catalog *known = nullptr);

// A single commit document with everything in it; nullopt when there is no such backup.
[[nodiscard]] std::optional<CommitDocument> load_commit(const Repository &repository, std::string_view id,
                                                        const CancelToken &cancel);

} // namespace pgvigil
