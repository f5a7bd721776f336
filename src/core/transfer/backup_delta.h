// What an incremental backup stores of each file: only blocks that WAL summaries name (rules A1 to A3), or, comparing
// hashes, only blocks that differ from the parents' (rules A4).
// Threading: plan() by the scanning thread, in the order of the file table; the rest by any thread.
#pragma once

#include "base/cancel.h"
#include "crypto/block_hash.h"
#include "transfer/backup_parents.h"
#include "transfer/backup_table.h"
#include "transfer/backup_writer.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pgvigil {

class BackupDelta {
  public:
    // `hash_repository`: whose key this backup's hashes are made with. All must outlive the delta.
    BackupDelta(const BackupSource &source, const BackupParents &parents, const Uuid &hash_repository,
                const CancelToken &cancel);

    // Decides what is read of a regular file, and how far it inherits.
    void plan(BackupFile &file);
    // How far a file whose blocks are compared inherits; its size may have changed since the scan.
    void inherit(BackupFile &file) const;
    // The blocks of `plain`, which stands at `offset`, that differ from what the file would inherit: runs counted from
    // the first block of `plain`. `hashes`: of all its blocks.
    [[nodiscard]] std::vector<BlockRun> differing(const BackupFile &file, uint64_t offset, ByteView plain,
                                                  std::span<const BlockHash> hashes) const;

  private:
    [[nodiscard]] const FileEntry *summaries_parent(const std::string &path);
    void plan_comparison(BackupFile &file);
    // Known hashes of the parents' blocks in [offset, offset + length), nullopt where it is not known; and whether a
    // parent stores anything of the block.
    struct KnownBlock {
        std::optional<BlockHash> hash;
        bool stored = false;
    };
    [[nodiscard]] std::vector<KnownBlock> known_blocks(const std::vector<ChainPiece> &pieces, uint64_t offset,
                                                       uint64_t length) const;

    const BackupSource &source_;
    const BackupParents &parents_;
    const Uuid hash_repository_;
    std::optional<FileTableReader> table_; // with summaries: the nearest parent's
    std::optional<FileEntry> row_;
    std::optional<ChainTable> chain_; // with hashes
    std::optional<ChainEntry> link_;
    bool at_end_ = false;
};

} // namespace pgvigil
