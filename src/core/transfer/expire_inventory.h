// What expiry must know of a repository before it decides: backups with and without a tombstone, attempts that run or
// died, keeps. Used by transfer/expire. Threading: load_inventory() blocks and reads with threads of its own; the
// result is a value.
#pragma once

#include "base/cancel.h"
#include "plan/retention.h"
#include "repo/catalog.h"
#include "repo/keeps.h"
#include "transfer/expire_delete.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace pgvigil {

struct CommitFacts {
    CommitDocument document;       // without packs and table
    int64_t stored_ms = 0;         // the store's clock
    uint64_t size = 0;             // bytes of the document as stored
    uint64_t objects = 0;          // that the backup consists of
    std::set<std::string> adopted; // keys of packs in other attempts' directories
};

struct AttemptFacts {
    std::vector<DoomedObject> objects; // the document and its renewals
    int64_t newest_ms = 0;             // of those, and, where they are old, of what it stored; the store's clock
    bool has_commit = false;
    bool running = false; // no commit, no tombstone, and younger than the time of grace
    std::vector<std::string> parents;
    std::vector<std::string> continues; // dead attempts whose packs it uses
    TimelineId timeline = 0;
    Lsn start_lsn;
};

struct ExpireInventory {
    int64_t now_ms = 0;
    // Backups that are offered, and those with a tombstone that a running backup builds on.
    Catalog catalog;
    size_t offered = 0;
    std::map<std::string, CommitFacts> commits;             // all there are
    std::map<std::string, int64_t, std::less<>> tombstones; // with their age by the store's clock
    Keeps keeps;
    std::map<std::string, AttemptFacts> attempts; // also what has no document, only directories

    [[nodiscard]] uint64_t newest_epoch() const { return catalog.epochs.empty() ? 0 : catalog.epochs.back().number; }
    [[nodiscard]] bool is_in_catalog(const std::string &id) const { return catalog.backup(id) != nullptr; }
    // Whether a running backup uses what the attempt stored.
    [[nodiscard]] bool is_continued(const std::string &id) const;
    // Packs that commits other than those in `going` refer to in directories that are not theirs.
    [[nodiscard]] std::set<std::string> adopted_packs(const std::set<std::string> &going) const;
    // For plan_retention(); refers to this.
    [[nodiscard]] RetentionInput retention_input(const RetentionRules &rules) const;
};

// Throws kCorrupt or kUnsupported for a document that may say what must stay and cannot be read.
[[nodiscard]] ExpireInventory load_inventory(const Repository &repository, int64_t now_ms, int64_t grace_ms,
                                             const CancelToken &cancel);

[[nodiscard]] std::vector<ObjectInfo> list_objects(const Repository &repository, const std::string &prefix,
                                                   const CancelToken &cancel);

} // namespace pgvigil
