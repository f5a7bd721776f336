// tombstones/<id>: the decision that a backup, or what a dead attempt left, goes (rules D2). It is made known before
// anything is deleted: from then on the backup is not offered any more, and no new backup may build on it. It stays for
// a day after everything else is gone, so that whoever still has the backup in mind finds it.
// Threading: free functions, any thread. Errors: what the store throws.
#pragma once

#include "base/cancel.h"
#include "repo/documents.h"
#include "repo/keeps.h"
#include "repo/repository.h"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct TombstoneDocument {
    std::string id;
    std::string reason;
    std::string host; // of whoever decided it
    int64_t created_ms = 0;
};

[[nodiscard]] std::string encode(const TombstoneDocument &document);
[[nodiscard]] TombstoneDocument decode_tombstone(std::string_view json, std::string_view key);

// The ids that have a tombstone. Names only; nothing is read.
[[nodiscard]] std::set<std::string, std::less<>> list_tombstones(const Repository &repository,
                                                                 const CancelToken &cancel);
[[nodiscard]] bool has_tombstone(const Repository &repository, std::string_view id, const CancelToken &cancel);
// One that is there already is as good.
void create_tombstone(const Repository &repository, const TombstoneDocument &document, uint64_t epoch,
                      const CancelToken &cancel);

// Takes out the backups that are not offered any more: those with a tombstone, unless they were kept before expiry
// could begin, or another one that is offered is built on them.
void drop_tombstoned(std::vector<CommitDocument> &backups, const std::set<std::string, std::less<>> &tombstones,
                     const Keeps &keeps);
// The same with what the repository says. The backups must have been read before: a tombstone comes before the first
// deletion.
void drop_tombstoned(const Repository &repository, std::vector<CommitDocument> &backups, const CancelToken &cancel);

} // namespace pgvigil
