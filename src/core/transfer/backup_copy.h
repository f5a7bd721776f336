// The threads that copy a data directory: one walks it, several read, check and compress.
//
// Guarantees: when run() returns every file is in the table and every extent in a pack that was given to the uploader;
// when it throws, no thread is left. Threading: one owner.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "transfer/backup_pack.h"
#include "transfer/backup_scan.h"
#include "transfer/backup_table.h"
#include "transfer/backup_throttle.h"
#include "transfer/backup_writer.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <vector>

namespace pgvigil {

class BackupCopy {
  public:
    BackupCopy(const BackupSource &source, const BackupOptions &options, BackupObjects &objects, BackupTable &table,
               BackupProgress &progress, LogSink &log);

    // Throws kCancelled soon after `cancel` fired.
    void run(const CancelToken &cancel);
    // Fires when the copy ends early, for whatever reason.
    [[nodiscard]] const CancelToken &stop_token() const noexcept { return stop_; }

  private:
    // Work for one thread: small files together, or a part of a large one.
    struct Unit {
        std::vector<BackupFilePtr> files;
        uint64_t offset = 0;
        uint64_t length = 0; // of a part; 0 = the whole files
    };
    void scan_all();
    void take_scanned(ScannedFile &&scanned);
    void flush_batch();
    void enqueue(Unit unit);
    void work();
    void copy_unit(const Unit &unit, BackupReader &reader, BackupPacker &packer);
    void copy_range(const BackupFilePtr &file, uint64_t offset, uint64_t length, BackupReader &reader,
                    BackupPacker &packer);
    bool open(BackupFile &file, bool whole);
    void finish_piece(const BackupFilePtr &file);
    void fail(std::exception_ptr failure) noexcept;
    template <class Body> void guarded(Body &&body) noexcept;
    void wait_for_end(const CancelToken &cancel);

    const BackupSource &source_;
    const BackupOptions &options_;
    BackupObjects &objects_;
    BackupTable &table_;
    BackupProgress &progress_;
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
