// Whether the next backup is full or incremental, on which parent it builds and how it finds what changed (rules A5).
// Threading: pure functions.
#pragma once

#include "base/lsn.h"
#include "pgdata/history_file.h"
#include "repo/documents.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

enum class WantedKind : uint8_t { kAuto, kFull, kIncremental };

[[nodiscard]] std::optional<WantedKind> parse_wanted_kind(std::string_view text) noexcept; // auto, full, incremental

enum class ChangeMethod : uint8_t {
    kSummaries, // only what WAL summaries list is read
    kHashes,    // everything is read and compared with the hashes of the parent's blocks
};

// The cluster as the backup will find it.
struct ClusterFacts {
    uint64_t system_identifier = 0;
    unsigned major_version = 0;
    uint32_t checksum_version = 0;
    uint32_t block_size = 8192; // bytes
    uint32_t relation_segment_blocks = 131072;
    TimelineId timeline = 0;
    std::vector<TimelineSwitch> ancestors; // of `timeline`, oldest first; empty for timeline 1
    Lsn start_lsn;                         // the new backup's, or the end of WAL when that is not known yet
    std::vector<EpochDocument> epochs;     // of the repositories, ascending
};

struct KindRequest {
    WantedKind wanted = WantedKind::kAuto;
    // More incrementals in a row than this are not made; 0 = no limit.
    uint32_t chain_max = 50;
    // Whether WAL summaries cover everything from the parent's start on; else why not, a sentence.
    bool summaries_available = false;
    std::string no_summaries_reason;
    // Whether blocks may be compared by their hashes.
    bool block_hashes = true;
};

struct KindDecision {
    bool full = true;
    std::vector<std::string> parents; // of an incremental: nearest first, down to the full backup
    ChangeMethod method = ChangeMethod::kHashes;
    std::string reason; // a sentence for the log: why full, or why this method
};

// A backup that an incremental may build on, or the reason why there is none.
struct ParentChoice {
    const CommitDocument *parent = nullptr; // into `backups`
    std::string reason;                     // a sentence, when there is none
};

// The newest of `backups` (ascending by id, all that the repositories offer) that an incremental may build on;
// `expired` are the ids with a tombstone.
[[nodiscard]] ParentChoice choose_parent(const std::vector<CommitDocument> &backups,
                                         const std::set<std::string, std::less<>> &expired, const ClusterFacts &now);

// Why `parent` does not allow an incremental, as a sentence; nullopt when it does.
[[nodiscard]] std::optional<std::string> objection_to(const CommitDocument &parent, const ClusterFacts &now);

[[nodiscard]] KindDecision decide_kind(const KindRequest &request, const ParentChoice &choice,
                                       const std::vector<CommitDocument> &backups);

} // namespace pgvigil
