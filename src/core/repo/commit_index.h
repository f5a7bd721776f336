// Index documents of backups (rules F3): commitindex/<first id>-<last id>.json holds the summaries of up to 64 commit
// documents, so that a catalog of many backups is read in few requests. Created once; whether a backup exists is said
// by commits/ and tombstones/ alone. A summary is a commit document without the packs, the table and the files that are
// kept in it. Threading: pure functions, but for those that take a Repository, which block.
#pragma once

#include "base/cancel.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

inline constexpr size_t kCommitsPerIndex = 64;

// Leaves of `document` what a summary has.
void summarise(CommitDocument &document);

struct CommitIndexName {
    std::string first;
    std::string last;

    [[nodiscard]] bool covers(std::string_view id) const noexcept { return first <= id && id <= last; }
};
[[nodiscard]] std::string commit_index_key(const ClusterLayout &layout, const CommitIndexName &name);
[[nodiscard]] std::optional<CommitIndexName> parse_commit_index_key(const ClusterLayout &layout, std::string_view key);

[[nodiscard]] std::string encode_commit_index(const std::vector<CommitDocument> &summaries);
[[nodiscard]] std::vector<CommitDocument> decode_commit_index(std::string_view json, std::string_view key);

// Index documents by name, ascending.
[[nodiscard]] std::vector<CommitIndexName> list_commit_index(const Repository &repository, const CancelToken &cancel);

// Writes documents for as many of `backups` (ascending by id) as fill whole ones and stand in none yet; returns how
// many documents were created.
size_t write_due_commit_index(const Repository &repository, const std::vector<CommitDocument> &backups,
                              const CancelToken &cancel);

// Keys of index documents that speak of no backup in `existing` (ascending ids): expiry may delete them.
[[nodiscard]] std::vector<std::string> list_needless_commit_index(const Repository &repository,
                                                                  const std::vector<std::string> &existing,
                                                                  const CancelToken &cancel);

} // namespace pgvigil
