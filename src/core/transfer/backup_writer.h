// The data plane of a backup: reads the data directory with several threads, cuts files into extents, packs them,
// writes the file table and, last of all, the commit document, in every repository. Knows nothing of a running server:
// what only the server can say (start and stop positions, label, pg_control) is given to it.
//
// Guarantees: before commit() returns there is no commit document; after it there is one in at least one repository,
// and every object it names is stored (promise 3). A repository that fails on the way is given up with a warning while
// others remain; when none is left the error is thrown. Memory is bounded whatever the number and size of files: about
// 32 MiB for each thread, 96 MiB of objects being uploaded, and the facts of some ten thousand files.
// An incremental backup stores only what changed since its parents; one that continues backups which died takes over
// what they stored. Both look for tombstones after they named what they need and again before the commit (rules D2).
//
// Order of calls: begin(), copy(), commit(); add_file() anywhere between begin() and commit(). After an exception only
// the destructor may be called. Threading: one owner; copy() blocks and uses threads of its own; `progress` may be read
// by any thread at any time.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "codec/compression.h"
#include "pgdata/block_changes.h"
#include "plan/backup_kind.h"
#include "repo/documents.h"
#include "repo/repository.h"
#include "transfer/backup_adopt.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pgvigil {

struct BackupSource {
    std::string data_directory;          // absolute
    std::vector<Tablespace> tablespaces; // with in-place ones (empty path)
    uint32_t block_size = 8192;          // bytes
    uint32_t relation_segment_blocks = 131072;
    unsigned server_major_version = 0;
    bool page_checksums = false;
    Lsn start_lsn;                            // pages changed at or after it are not checked
    std::string tablespace_version_directory; // PG_15_202209061
    bool group_access = false;
    // Of an incremental backup: how it finds what changed. With summaries, `changes` holds what they say of the WAL
    // from the nearest parent's start to this backup's, without a gap.
    ChangeMethod method = ChangeMethod::kHashes;
    std::shared_ptr<const BlockChanges> changes;
};

struct BackupOptions {
    Compression compression{};
    unsigned threads = 2;
    uint64_t max_rate = 0; // bytes of files read a second, all threads together; 0 = no limit
    uint64_t epoch = 0;
    bool block_hashes = true;      // keyed hashes of the blocks, for later backups to compare with (rules A4)
    bool continue_attempts = true; // reuse what backups that died have stored (rules A7); needs block_hashes
    DeadAttemptRules dead_attempts{};
    std::chrono::milliseconds renewal_period{std::chrono::minutes(1)};
};

enum class BackupPhase : uint8_t {
    kStarting,
    kCheckpoint,
    kWaitingForSummaries,
    kEstimating,
    kCopying,
    kFinishing,
    kWaitingForWal,
    kCommitting,
    kDone
};

struct BackupProgress {
    std::atomic<BackupPhase> phase{BackupPhase::kStarting};
    std::atomic<uint64_t> bytes_total{0}; // estimate; 0 until known
    std::atomic<uint64_t> bytes_done{0};  // plain bytes read
    std::atomic<uint64_t> bytes_stored{0};
    std::atomic<uint64_t> files_total{0};
    std::atomic<uint64_t> files_done{0};
    std::atomic<uint32_t> tablespaces_total{0};
    std::atomic<uint32_t> tablespaces_done{0};
    std::atomic<uint64_t> bad_pages{0};
    std::atomic<uint64_t> blocks_changed{0}; // of extents of this backup, those it found stored among them
    std::atomic<uint64_t> bytes_reused{0};   // plain bytes that a backup which died had stored already
};

class BackupWriter {
  public:
    BackupWriter(std::vector<std::shared_ptr<Repository>> repositories, BackupOptions options, BackupProgress &progress,
                 LogSink &log);
    ~BackupWriter();

    // Creates attempts/<id>.json everywhere, with the first free id from `attempt.started_ms` on; returns the id. A
    // repository that cannot be written to is given up. Of an incremental backup `attempt.parents` are the chain it
    // builds on (KindDecision.parents); a repository without them, or that expires one of them, is given up: with
    // kConflict, retryable, when it is the last one.
    std::string begin(AttemptDocument attempt, bool full, const CancelToken &cancel);

    // Copies everything but pg_control, backup_label, tablespace_map and what pg_wal holds. Directories are recorded,
    // those of tablespaces from pg_tblspc/<oid>/<version directory> on; what pg_tblspc/<oid> points to is for the
    // commit document.
    void copy(const BackupSource &source, const CancelToken &cancel);

    // Adds a file that the scan does not find, from its bytes: WAL that the backup brings itself (rules E6). After
    // copy() its path must sort behind "pg_wal"; copy() leaves that part of the table open.
    void add_file(const std::string &path, ByteView content, uint32_t mode, int64_t mtime_ms,
                  const CancelToken &cancel);

    // Writes the rest of the table, waits until everything is stored, looks that it still is, fills in what the writer
    // knows (id, totals, damage, packs, table, compression; host, instance and times where they are not set) and writes
    // the commit document. Returns the URLs of the repositories that have it.
    std::vector<std::string> commit(CommitDocument document, const CancelToken &cancel);

    // Pages whose checksum did not match even after a second read, after copy().
    [[nodiscard]] const std::vector<PageDamage> &damage() const noexcept;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace pgvigil
