// Chains of backups: a full one and what was built on it. Threading: pure functions and values.
#pragma once

#include "repo/catalog.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct BackupChain {
    std::string id;                    // of the full backup
    std::vector<std::string> backups;  // ascending
    std::vector<TimelineId> timelines; // ascending, those on which its backups ended
    int64_t from_ms = 0;               // when its first backup stopped
    int64_t to_ms = 0;                 // and its last
    uint64_t logical_bytes = 0;        // what its newest backup restores
    uint64_t stored_bytes = 0;         // of all of its backups
    std::vector<std::string> missing;  // backups that others need and that are not here
    std::vector<std::string> usable;   // those that can be restored: with their WAL, and nothing missing
};

// The id of the chain that the backup belongs to: that of its full backup.
[[nodiscard]] std::string chain_of(const CommitDocument &backup);

// Ascending by id.
[[nodiscard]] std::vector<BackupChain> backup_chains(const Catalog &catalog);

// The backups that inherit from this one, ascending.
[[nodiscard]] std::vector<std::string> children_of(const Catalog &catalog, const CommitDocument &backup);

// Whether the backup can be made consistent: its chain is whole and its WAL is there.
[[nodiscard]] bool is_restorable(const Catalog &catalog, const CommitDocument &backup);
// Why not, a sentence without its full stop; nullopt when it is.
[[nodiscard]] std::optional<std::string> why_not_restorable(const Catalog &catalog, const CommitDocument &backup);

} // namespace pgvigil
