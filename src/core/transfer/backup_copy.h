// The threads that copy a data directory: one walks it, several read, check and compress.
//
// Guarantees: when run() returns every file is in the table and every extent in a pack that was given to the uploader;
// when it throws, no thread is left. Threading: one owner.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "transfer/backup_adopt.h"
#include "transfer/backup_delta.h"
#include "transfer/backup_pack.h"
#include "transfer/backup_scan.h"
#include "transfer/backup_table.h"
#include "transfer/backup_throttle.h"
#include "transfer/backup_writer.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace pgvigil {

// The key of the block hashes, and the repository it belongs to: every repository has its own, and all get the same
// objects.
struct BlockHashKey {
    Bytes key;
    Uuid repository{};
};

class BackupCopy {
  public:
    // What of a backup outlives its copy.
    struct Target {
        BackupObjects &objects;
        BackupTable &table;
        const std::optional<BlockHashKey> &hash_key;
        const BackupParents *parents; // null for a full backup
        const AdoptedPacks &adopted;
    };
    BackupCopy(const BackupSource &source, const BackupOptions &options, const Target &target, BackupProgress &progress,
               LogSink &log);

    // Throws kCancelled soon after `cancel` fired.
    void run(const CancelToken &cancel);
    // Fires when the copy ends early, for whatever reason.
    [[nodiscard]] const CancelToken &stop_token() const noexcept { return stop_; }

  private:
    // Work for one thread: small files together, or a part of a large one.
    struct Unit {
        std::vector<BackupFilePtr> files;
        std::vector<ReadRange> part; // of the only file; empty = all that is read of each file
    };
    struct Worker;
    void scan_all();
    void take_scanned(ScannedFile &&scanned);
    void flush_batch();
    void enqueue(Unit unit);
    void work();
    void enqueue_parts(const BackupFilePtr &file, const std::vector<ReadRange> &ranges);
    void copy_unit(const Unit &unit, Worker &worker);
    void copy_ranges(const BackupFilePtr &file, const std::vector<ReadRange> &ranges, bool close, Worker &worker);
    void store(const BackupFilePtr &file, uint64_t offset, ByteView plain, Worker &worker);
    void store_extent(uint64_t offset, ByteView plain, std::span<const BlockHash> hashes, Worker &worker);
    bool open(BackupFile &file, bool at_scanned_size);
    void finish_piece(const BackupFilePtr &file);
    void fail(std::exception_ptr failure) noexcept;
    template <class Body> void guarded(Body &&body) noexcept;
    void wait_for_end(const CancelToken &cancel);

    const BackupSource &source_;
    const BackupOptions &options_;
    const Target target_;
    BackupTable &table_;
    BackupProgress &progress_;
    std::optional<BackupDelta> delta_;
    BackupScan scan_;
    BackupThrottle throttle_;
    FileHandle root_;
    CancelToken stop_;
    Unit batch_; // of the scanning thread
    uint64_t batch_bytes_ = 0;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Unit> units_;
    bool scanned_ = false;
    size_t running_ = 0;
    std::exception_ptr failure_;
};

} // namespace pgvigil
