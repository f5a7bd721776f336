// What pgvigil's processes tell each other in shared memory: the archiver's counters, the keeper's view of the world,
// the writer's role, and slots for requested backups. Exists only when pgvigil stands in shared_preload_libraries.
// Fixed in size; texts are cut. Threading: main threads only, below `lock`, but for atomics, which any thread may use.
#pragma once

#include "server/pg.h"

#include "plan/backup_kind.h"
#include "plan/job_log.h"
#include "server/boundary.h"
#include "server/catalog_overlay.h"
#include "server/lease_state.h"
#include "server/settings.h"
#include "server/shared_stream.h"
#include "transfer/backup_writer.h"

#include <atomic>

namespace pgvigil {

inline constexpr size_t kUrlBytes = 512;
inline constexpr size_t kTextBytes = 768;
inline constexpr size_t kAnnotationBytes = 4096;
inline constexpr size_t kReasonBytes = 256; // why a backup is full or incremental
inline constexpr unsigned kBackupSlots = 4;

struct SharedArchiver {
    int pid;
    uint64_t archived;
    uint64_t failed;
    uint64_t let_go;
    uint64_t plain_bytes;
    uint64_t stored_bytes;
    uint64_t retries;
    uint32_t in_flight;
    uint32_t owed;
    char last_file[MAX_XFN_CHARS + 1];
    TimestampTz last_time;
    char last_failed_file[MAX_XFN_CHARS + 1];
    TimestampTz last_failed_time;
    char last_error[kTextBytes];
    TimestampTz failing_since; // 0 while all is well
    // The position up to which the archiver has acknowledged everything it was given, and the timeline of it.
    XLogRecPtr durable_lsn;
    TimeLineID durable_timeline;
    uint64_t durable_settings; // Settings::repositories_hash() that it rests on
    TimestampTz reset_time;
};

// Rules C: what this server may do with the repository.
enum class WriterRole : uint8_t {
    kUnknown,    // not looked at yet
    kOff,        // pgvigil.repository is empty
    kWriter,     // holds the highest epoch
    kStandby,    // in recovery; registered standbys may take over at promotion
    kInRecovery, // in recovery and no registered standby
    kDetached,   // a copy, or never told to write
    kStale,      // its WAL ends before what the repository has
    kFenced,     // another server took over
    kForeign,    // the repository is not the one this server knows
    kUnreachable // the repository does not answer
};
[[nodiscard]] const char *role_name(WriterRole role) noexcept;

struct SharedWriter {
    WriterRole role;
    bool fenced; // found to be so, and not found to be the writer since: also while the repository does not answer
    uint64_t epoch;
    TimeLineID epoch_timeline;
    XLogRecPtr epoch_start;
    TimestampTz checked_at;
    uint64_t decisions;       // counts what operators have decided
    char writer_instance[40]; // who the repository says is the writer; empty: nobody, or not known
    char writer_host[256];
    bool known_current; // this run of the server was found to be no stale copy
    // Where the WAL of this run ended when it was found to be one, and on which timeline; 0: it was not.
    XLogRecPtr stale_end;
    TimeLineID stale_timeline;
    char message[kTextBytes];
    char hint[kTextBytes];
};
// The role, as far as it is known: a server that was fenced stays so while the repository does not answer.
[[nodiscard]] WriterRole known_role(const SharedWriter &writer) noexcept;

struct SharedRepository {
    char url[kUrlBytes];
    char id[40];
    bool conditional_create;
    TimestampTz last_ok;
    TimestampTz failing_since;
    char last_error[kTextBytes];
    uint32_t backups;
};

struct SharedKeeper {
    int pid;
    Latch *latch;
    TimestampTz last_cycle;
    bool shutting_down;     // the postmaster is ending its workers: nobody waits long any more
    bool catalog_requested; // something changed: read the catalog again soon
    uint32_t gaps;          // WAL files let go since the newest full backup
    uint64_t behind_a_gap;  // stored WAL that no backup leads to begins here; 0 when there is none
    char last_error[kTextBytes];
    TimestampTz last_error_time;
    // The WAL that waits, and the disk it stands on.
    uint64_t queue_files;
    uint64_t queue_bytes;
    TimestampTz oldest_waiting;
    uint64_t disk_free_bytes;
    uint64_t disk_total_bytes;
    double wal_bytes_per_second;
    int64_t disk_seconds_left; // -1: not filling up
    // The catalog, as last read.
    TimestampTz catalog_time;
    uint32_t backups;
    char last_backup[40];
    TimestampTz last_backup_stopped;
    bool has_window;
    TimestampTz window_from;
    TimestampTz window_to;
    XLogRecPtr window_from_lsn;
    XLogRecPtr window_to_lsn;
    TimeLineID window_timeline;
    uint64_t bad_pages; // of the newest backup
};

// One kind of scheduled job, as the scheduler last left it.
struct SharedJob {
    char schedule[128];
    TimestampTz next_run;  // 0: none
    TimestampTz due_since; // the slot that waits to be run; 0: none
    TimestampTz running_since;
    TimestampTz last_run;
    char last_outcome[16];
    TimestampTz last_success;
    uint32_t failures; // in a row
    char last_error[kTextBytes];
    TimestampTz retry_at;
    char note[256]; // why a due job has not been started
};

struct SharedScheduler {
    int pid;
    Latch *latch;
    char time_zone[128];
    SharedJob jobs[kJobKinds]; // by JobKind
    // Backups whose end stands in the history have request numbers up to this.
    uint64_t recorded_backup;
    TimestampTz webhook_ok;
    TimestampTz webhook_failing_since;
    char webhook_error[kTextBytes];
};

enum class BackupState : uint8_t { kFree, kRequested, kRunning, kDone, kFailed };

struct BackupSlot {
    BackupState state;
    WantedKind wanted;
    bool fast;
    bool automatic;
    bool awaited; // a session waits for the end and frees the slot
    JobTrigger trigger;
    uint64_t request;
    int worker_pid;
    TimestampTz requested_at;
    TimestampTz started_at;
    TimestampTz ended_at;
    char role[NAMEDATALEN];
    char annotations[kAnnotationBytes]; // JSON
    char id[40];
    char parent[40]; // of an incremental; empty for a full one
    char reason[kReasonBytes];
    std::atomic<bool> cancel;
    ErrorReport error;
    BackupProgress progress;
};

inline constexpr unsigned kJobWorkers = 2;
inline constexpr unsigned kJobSlots = kJobWorkers + 6; // the others are for sessions

// A job other than a backup that runs, or ran last: in a worker of its own, or in a session.
struct JobSlot {
    BackupState state;
    JobKind kind;
    JobTrigger trigger;
    bool recorded; // its end stands in the history
    uint64_t request;
    int worker_pid;
    TimestampTz requested_at;
    TimestampTz started_at;
    TimestampTz ended_at;
    std::atomic<bool> cancel;
    bool in_vain; // it failed, and would fail in the same way again
    uint64_t bytes;
    char id[40]; // of the backup that was asked for; empty for all
    char message[kTextBytes];
    ErrorReport error;
};

struct SharedState {
    LWLock *lock;
    ConditionVariable backup_changed;
    ConditionVariable archiver_changed;
    uint64_t next_request;
    SharedArchiver archiver;
    SharedWriter writer;
    SharedLease lease;
    SharedKeeper keeper;
    SharedCatalog catalog;
    SharedStream stream;
    uint32_t repository_count;
    SharedRepository repositories[kMaxRepositories];
    BackupSlot slots[kBackupSlots];
    SharedScheduler scheduler;
    JobSlot jobs[kJobSlots];

    // The worker of each kind has a slot of its own, so that an expiry does not wait for a verification.
    [[nodiscard]] JobSlot &worker_job(JobKind kind) noexcept { return jobs[kind == JobKind::kExpire ? 0 : 1]; }
};

// Installs the hooks; called from _PG_init while shared_preload_libraries is being loaded.
void install_shared_memory_hooks();

// nullptr when pgvigil is not in shared_preload_libraries.
[[nodiscard]] SharedState *shared_state() noexcept;
// Throws where shared_state() is nullptr.
[[nodiscard]] SharedState &require_shared_state();

// Runs `body` with the lock held; body must be noexcept and hold nothing that needs a destructor.
template <class F> void with_lock(LWLockMode mode, F body) {
    SharedState *const shared = shared_state();
    if (shared == nullptr)
        return;
    pg_section([&]() noexcept {
        LWLockAcquire(shared->lock, mode);
        body(*shared);
        LWLockRelease(shared->lock);
    });
}

// Copies text into a fixed field, cut to its size.
template <size_t N> void set_text(char (&field)[N], const char *text) noexcept {
    strlcpy(field, text, N);
}

} // namespace pgvigil
