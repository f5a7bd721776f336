// A restore into a directory that holds an earlier state of the same cluster (--delta, rules E5): what is there already
// is kept, the rest is written over.
//
// Guarantees: nothing is changed in the directory of a server that may be running or of another cluster. Before the
// first change pg_control gets another name, durably, so that no server starts until the restore has put it back; one
// that was interrupted can be repeated. Local bytes are never trusted: each piece of a file is read and its hash
// compared with the one in the backup's table; of a part of an ancestor's extent, with the hashes of its blocks. A file
// with several names (hard links) is not written to: it is made anew. Threading: one owner; keep_equal() uses threads
// of its own.
#pragma once

#include "base/cancel.h"
#include "transfer/restore_delta_hashes.h"
#include "transfer/restore_extents.h"
#include "transfer/restore_tree.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace pgvigil {

// pg_control's name until a restore is complete.
inline constexpr const char *kControlTemporary = "global/pg_control.pgvigil";

// Whether the directory has content that a restore of this cluster may write over. Throws kBusy when a server may be
// running on it, kConflict when it is no data directory, kForeign when it is another cluster's.
[[nodiscard]] TreeContent check_delta_target(const std::string &data_directory, uint64_t system_identifier);

class RestoreDelta {
  public:
    RestoreDelta(RestoreTree &tree, DeltaHashes &hashes, unsigned threads, const CancelToken &cancel);

    // Keeps the server from starting, then removes pg_wal's content and what else decides how a server starts.
    void begin(const std::vector<std::string_view> &directories);
    // Brings the files to at most their size, zeroes what they have where the backup has nothing, and marks the pieces
    // that are there already.
    void keep_equal(const std::vector<std::shared_ptr<RestoredFile>> &files);

    [[nodiscard]] uint64_t kept_bytes() const noexcept { return kept_bytes_; }
    [[nodiscard]] uint64_t removed_files() const noexcept { return removed_files_; }

  private:
    void compare(RestoredFile &file);
    void clear(const FileHandle &handle, const RestoredFile &file, uint64_t from, uint64_t to);
    bool read(const FileHandle &handle, const RestoredFile &file, uint64_t offset, std::span<std::byte> out) const;

    RestoreTree &tree_;
    DeltaHashes &hashes_;
    const unsigned threads_;
    const CancelToken &cancel_;
    std::atomic<uint64_t> kept_bytes_{0};
    uint64_t removed_files_ = 0;
};

} // namespace pgvigil
