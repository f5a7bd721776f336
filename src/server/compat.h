// Every difference between PostgreSQL's major versions that this module meets, each with the release it follows.
// Included by pg.h only, after PostgreSQL's common headers.
#pragma once

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 200000
#error "pgvigil supports PostgreSQL 15 to 19"
#endif

extern "C" {
#if PG_VERSION_NUM >= 160000
// 16 moved the archive module interface out of postmaster/pgarch.h and gave its callbacks a state.
#include "archive/archive_module.h"
// 16 gathered what a running backup knows in a BackupState.
#include "access/xlogbackup.h"
#endif
#if PG_VERSION_NUM >= 180000
// 18 moved the process signal flags of SIGHUP and SIGTERM's companions; 19 no longer includes them by other headers.
#include "utils/wait_event.h"
#endif
#if PG_VERSION_NUM >= 170000
// 17 brought WAL summaries.
#include "postmaster/walsummarizer.h"
#endif
#include "replication/message.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
}

namespace pgvigil::compat {

// The archiver's callbacks take a module state from 16 on, and the module hands them over as a constant.
inline constexpr bool kArchiveErrorsAreFatal = PG_VERSION_NUM < 170000;

// backup/basebackup.h (16; 15: the same) is not installed beside the other headers. 17 made the OID a number; before,
// it was decimal text.
struct TablespaceInfo {
#if PG_VERSION_NUM >= 170000
    Oid oid;
#else
    char *oid;
#endif
    char *path;
    char *rpath;
    int64 size;
};

inline uint32 tablespace_oid(const TablespaceInfo *space) {
#if PG_VERSION_NUM >= 170000
    return space->oid;
#else
    return static_cast<uint32>(strtoul(space->oid, nullptr, 10));
#endif
}

// 17 gave extensions wait events of their own names.
inline uint32 new_wait_event([[maybe_unused]] const char *name) {
#if PG_VERSION_NUM >= 170000
    return WaitEventExtensionNew(name);
#else
    return PG_WAIT_EXTENSION;
#endif
}

// What do_pg_backup_start() and do_pg_backup_stop() say, in one shape. 16 replaced the label text and the separate
// positions by a BackupState.
struct BackupRun {
#if PG_VERSION_NUM >= 160000
    BackupState *state;
#else
    StringInfo label;
#endif
    StringInfo tablespace_map;
    List *tablespaces;
    XLogRecPtr start;
    TimeLineID start_timeline;
    XLogRecPtr stop;
    TimeLineID stop_timeline;
};

// Allocates in the current memory context, which must live until the backup has stopped.
inline void backup_start(BackupRun *run, const char *label, bool fast) {
    run->tablespace_map = makeStringInfo();
    run->tablespaces = NIL;
#if PG_VERSION_NUM >= 160000
    run->state = static_cast<BackupState *>(palloc0(sizeof(BackupState)));
    do_pg_backup_start(label, fast, &run->tablespaces, run->state, run->tablespace_map);
    run->start = run->state->startpoint;
    run->start_timeline = run->state->starttli;
#else
    run->label = makeStringInfo();
    run->start =
        do_pg_backup_start(label, fast, &run->start_timeline, run->label, &run->tablespaces, run->tablespace_map);
#endif
}

// Returns the backup_label's text.
inline char *backup_stop(BackupRun *run) {
#if PG_VERSION_NUM >= 160000
    char *label = build_backup_content(run->state, false);
    do_pg_backup_stop(run->state, false);
    run->stop = run->state->stoppoint;
    run->stop_timeline = run->state->stoptli;
    return label;
#else
    run->stop = do_pg_backup_stop(run->label->data, false, &run->stop_timeline);
    return run->label->data;
#endif
}

// 16 tells by a condition variable when WAL was flushed, where there may be WAL senders; before, it has to be looked
// at.
inline ConditionVariable *flush_signal() {
#if PG_VERSION_NUM >= 160000
    return max_wal_senders > 0 ? &WalSndCtl->wal_flush_cv : nullptr;
#else
    return nullptr;
#endif
}

// A replication connection through the server's own module libpqwalreceiver. 16 can insist on a password, 17 can
// connect without replication.
inline WalReceiverConn *connect_for_replication(const char *conninfo, const char *name, char **error) {
#if PG_VERSION_NUM >= 170000
    return walrcv_connect(conninfo, true, false, false, name, error);
#elif PG_VERSION_NUM >= 160000
    return walrcv_connect(conninfo, false, false, name, error);
#else
    return walrcv_connect(conninfo, false, name, error);
#endif
}

inline constexpr bool kHasWalSummaries = PG_VERSION_NUM >= 170000;

struct SummarizerState {
    bool on;
    XLogRecPtr summarized; // on disk
    XLogRecPtr pending;    // read, though perhaps not written yet
};

inline SummarizerState summarizer_state() {
    SummarizerState state = {false, InvalidXLogRecPtr, InvalidXLogRecPtr};
#if PG_VERSION_NUM >= 170000
    TimeLineID timeline = 0;
    int pid = 0;
    state.on = summarize_wal;
    GetWalSummarizerState(&timeline, &state.summarized, &state.pending, &pid);
#endif
    return state;
}

// 18 gave the function that wakes the summarizer another name.
inline void wake_summarizer() {
#if PG_VERSION_NUM >= 180000
    WakeupWalSummarizer();
#elif PG_VERSION_NUM >= 170000
    SetWalSummarizerLatch();
#endif
}

// A WAL record without a meaning for anybody; 17 added the choice to flush it at once.
inline void write_empty_record() {
#if PG_VERSION_NUM >= 170000
    (void)LogLogicalMessage("pgvigil", "", 0, false, false);
#else
    (void)LogLogicalMessage("pgvigil", "", 0, false);
#endif
}

} // namespace pgvigil::compat
