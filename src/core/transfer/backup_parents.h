// The chain that an incremental backup builds on: its commit documents, the nearest parent's file table, and the hashes
// of its blocks. Each object is read from whichever live repository delivers it.
//
// Guarantees: what is opened was committed, the same in every live repository, and had no tombstone after the attempt
// that names it was created (rules D2). Threading: made and checked by the owner of the backup; hashes() by any thread.
#pragma once

#include "base/cancel.h"
#include "repo/block_hashes.h"
#include "repo/chain_table.h"
#include "repo/documents.h"
#include "transfer/backup_upload.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace pgvigil {

class BackupParents {
  public:
    // `ids`: nearest first, down to the full backup. A live repository that lacks one of them, holds another or expires
    // one is given up. Throws kConflict when the ids are no chain.
    BackupParents(BackupUploader &uploader, const std::vector<std::string> &ids, const CancelToken &cancel);

    [[nodiscard]] const CommitDocument &nearest() const noexcept { return commits_.front(); }
    [[nodiscard]] const std::map<std::string, std::string> &digests() const noexcept { return digests_; }
    // Whether a backup of the chain found damaged pages in the file: then nothing of it is inherited.
    [[nodiscard]] bool is_damaged(const std::string &path) const { return damaged_.contains(path); }

    // The nearest parent's file table.
    [[nodiscard]] FileTableReader table(const CancelToken &cancel) const;
    // The files of the nearest parent with all they inherit.
    [[nodiscard]] ChainTable chain(const CancelToken &cancel) const;

    // Whether the `backup`th parent's blocks have hashes that were made with `repository`'s key.
    [[nodiscard]] bool has_hashes(size_t backup, const Uuid &repository) const noexcept;
    // The hashes of the blocks [first, first + count) of the `backup`th parent's extents, appended to `out`.
    void hashes(size_t backup, uint64_t first, size_t count, std::vector<BlockHash> &out) const;

    // Throws kConflict unless `repository` still has every parent as it was opened, with all its packs and parts.
    void check(const Repository &repository, const CancelToken &cancel) const;

  private:
    [[nodiscard]] FileTableReader table_of(const CommitDocument &commit, const CancelToken &cancel) const;
    [[nodiscard]] Bytes fetch(const std::string &key, std::optional<ByteRange> range, const CancelToken &cancel) const;
    void open_in(const Repository &repository, const std::vector<std::string> &ids, const CancelToken &cancel);

    BackupUploader &uploader_;
    const ClusterLayout layout_;
    std::vector<CommitDocument> commits_; // nearest first
    std::map<std::string, std::string> digests_;
    std::set<std::string> damaged_;
    std::vector<std::unique_ptr<BlockHashReader>> hash_readers_;
};

// Throws kConflict naming what `repository` lacks of `expected` (key → size in bytes).
void check_objects(const Repository &repository, std::map<std::string, uint64_t> expected, const CancelToken &cancel);

} // namespace pgvigil
