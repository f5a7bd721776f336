#include "server/pg.h"

#include "server/backup_worker.h"

#include "server/backup_job.h"
#include "server/boundary.h"
#include "server/catalog_store.h"
#include "server/log_queue.h"
#include "server/progress.h"
#include "server/shared_state.h"
#include "server/stream_settings.h"
#include "server/wal_gaps.h"

#include "base/json.h"

#include <fmt/format.h>

namespace pgvigil {

namespace {

BackupSlot *own_slot = nullptr;

// SIGTERM ends a backup as a cancel does, by an error that unwinds: threads are joined, backup mode is left, and only
// then the process ends. (PostgreSQL's own handlers would end it on the spot.)
void handle_terminate(SIGNAL_ARGS) {
    const int saved = errno;
    (void)postgres_signal_arg;
    if (!proc_exit_inprogress) {
        ShutdownRequestPending = true;
        InterruptPending = true;
        QueryCancelPending = true;
    }
    SetLatch(MyLatch);
    errno = saved;
}

// Whatever ended the process: nobody waits for it any longer.
void release_slot(int /*code*/, Datum /*argument*/) {
    SharedState *const shared = shared_state();
    LWLockReleaseAll();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (own_slot->state == BackupState::kRequested || own_slot->state == BackupState::kRunning) {
        own_slot->state = BackupState::kFailed;
        own_slot->ended_at = GetCurrentTimestamp();
        describe_error(Error(ErrorCode::kCancelled, "the backup worker was ended").hint("The server log says why."),
                       own_slot->error);
    }
    own_slot->worker_pid = 0;
    LWLockRelease(shared->lock);
    ConditionVariableBroadcast(&shared->backup_changed);
}

BackupOrder read_order() {
    BackupOrder order;
    order.wal_timeout_s = backup_wal_timeout_s();
    std::string annotations(kAnnotationBytes, '\0');
    char *target = annotations.data();
    bool fast = true;
    WantedKind kind = WantedKind::kAuto;
    with_lock(LW_SHARED, [&](SharedState & /*shared*/) noexcept {
        strlcpy(target, own_slot->annotations, kAnnotationBytes);
        fast = own_slot->fast;
        kind = own_slot->wanted;
    });
    annotations.resize(strlen(annotations.c_str()));
    order.fast = fast;
    order.kind = kind;
    const Json object = parse_json(annotations, "annotations");
    for (const auto &[name, value] : object.items())
        order.annotations[name] = value.dump();
    return order;
}

void publish_name(const BackupName &name) {
    const char *id = name.id.c_str();
    const char *parent = name.parent.c_str();
    const char *reason = name.reason.c_str();
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        set_text(own_slot->id, id);
        set_text(own_slot->parent, parent);
        set_text(own_slot->reason, reason);
        ConditionVariableBroadcast(&shared.backup_changed);
    });
}

void publish_end(const ErrorReport *error) {
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        own_slot->state = error == nullptr ? BackupState::kDone : BackupState::kFailed;
        own_slot->ended_at = GetCurrentTimestamp();
        if (error != nullptr)
            own_slot->error = *error;
        shared.keeper.catalog_requested = true;
        if (shared.keeper.latch != nullptr)
            SetLatch(shared.keeper.latch);
        if (shared.scheduler.latch != nullptr)
            SetLatch(shared.scheduler.latch);
        ConditionVariableBroadcast(&shared.backup_changed);
    });
}

void log_damage(const BackupResult &result) {
    uint64_t pages = 0;
    std::string files;
    for (const PageDamage &damage : result.damage) {
        pages += damage.bad_pages;
        if (files.size() < 400)
            files += (files.empty() ? "" : ", ") + damage.path + " (" + std::to_string(damage.bad_pages) + ")";
    }
    if (pages == 0)
        return;
    const char *id = result.id.c_str();
    const char *names = files.c_str();
    pg_section([=]() noexcept {
        ereport(
            WARNING,
            (errcode(ERRCODE_DATA_CORRUPTED),
             errmsg("backup %s holds %llu pages that do not match their checksum", id,
                    static_cast<unsigned long long>(pages)),
             errdetail("Files (damaged pages): %s.", names),
             errhint("The pages were read twice. Restore these relations from an earlier backup, or check the disk.")));
    });
}

void log_end(const BackupResult &result) {
    const BackupProgress &progress = own_slot->progress;
    const std::string text = fmt::format(
        "pgvigil backup {} is complete: {}, {} blocks changed, {} bytes read, {} stored, {} reused", result.id,
        result.parent.empty() ? "full" : "incremental on " + result.parent, progress.blocks_changed.load(),
        progress.bytes_done.load(), progress.bytes_stored.load(), progress.bytes_reused.load());
    const char *message = text.c_str();
    pg_section([=]() noexcept { ereport(LOG, (errmsg("%s", message))); });
}

void run_backup() {
    with_lock(LW_EXCLUSIVE, [](SharedState & /*shared*/) noexcept {
        own_slot->state = BackupState::kRunning;
        own_slot->started_at = GetCurrentTimestamp();
        own_slot->worker_pid = MyProcPid;
    });
    if (own_slot->cancel.load())
        throw Error(ErrorCode::kCancelled, "the backup was cancelled");
    start_progress();
    BackupJob job(read_order(), own_slot->progress, publish_name);
    const BackupResult result = job.run();
    process_log().flush();
    log_damage(result);
    // An incremental would leave the gap where it is: between its parent and itself.
    if (result.parent.empty())
        drop_gaps_before(DataDir, result.start, static_cast<uint64_t>(wal_segment_size));
    log_end(result);
}

// A cancel arrives as PostgreSQL's own "canceling statement" or as the core's: both mean the same here.
void reword(ErrorReport &report) {
    if (strcmp(report.sqlstate, "57014") != 0 || strstr(report.message, "did not reach") != nullptr)
        return;
    describe_error(Error(ErrorCode::kCancelled, ShutdownRequestPending ? "the backup was ended by a shutdown request"
                                                                       : "the backup was cancelled"),
                   report);
}

void serve_slot(unsigned number) {
    own_slot = &shared_state()->slots[number];
    before_shmem_exit(release_slot, 0);
    ErrorReport report;
    const bool complete = cpp_attempt([] { run_backup(); }, report);
    ErrorReport second;
    if (complete) {
        // Whoever waits for the backup finds it in the views.
        refresh_catalog_file();
        if (!cpp_attempt([] { publish_end(nullptr); }, second))
            warn(second, "could not report a backup's end");
        return;
    }
    reword(report);
    if (!cpp_attempt(
            [&] {
                process_log().flush();
                publish_end(&report);
            },
            second))
        warn(second, "could not report a backup's end");
    warn(report, "pgvigil backup failed");
}

} // namespace

} // namespace pgvigil

void pgv_backup_worker_main(Datum argument) {
    pqsignal(SIGTERM, pgvigil::handle_terminate);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    pgvigil::commit_without_waiting();
    // Files opened by the server's backup functions belong to an owner.
    if (CurrentResourceOwner == nullptr)
        CreateAuxProcessResourceOwner();
    pgvigil::serve_slot(static_cast<unsigned>(DatumGetInt32(argument)));
    proc_exit(0);
}
