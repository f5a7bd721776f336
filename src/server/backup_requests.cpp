#include "server/pg.h"

#include "server/backup_requests.h"

#include <csignal>
#include <new>

namespace pgvigil {

namespace {

bool is_live(const BackupSlot &slot) noexcept {
    return slot.state == BackupState::kRequested || slot.state == BackupState::kRunning;
}

// The slot for a new request: a free one, else the one that ended longest ago. -1 while a backup runs.
int choose_slot(const SharedState &shared) noexcept {
    int chosen = -1;
    for (unsigned i = 0; i < kBackupSlots; ++i) {
        const BackupSlot &slot = shared.slots[i];
        if (is_live(slot))
            return -1;
        if (slot.awaited)
            continue;
        if (chosen < 0 || slot.request < shared.slots[chosen].request)
            chosen = static_cast<int>(i);
    }
    return chosen;
}

void signal_worker(BackupSlot &slot) noexcept {
    slot.cancel.store(true);
    if (slot.worker_pid != 0)
        ::kill(slot.worker_pid, SIGINT);
}

BackgroundWorkerHandle *start_worker(unsigned slot) {
    BackgroundWorkerHandle *handle = nullptr;
    bool started = false;
    pg_section([&]() noexcept {
        BackgroundWorker worker;
        memset(&worker, 0, sizeof worker);
        strlcpy(worker.bgw_name, "pgvigil backup", BGW_MAXLEN);
        strlcpy(worker.bgw_type, "pgvigil backup", BGW_MAXLEN);
        worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
        worker.bgw_start_time = BgWorkerStart_ConsistentState;
        worker.bgw_restart_time = BGW_NEVER_RESTART;
        strlcpy(worker.bgw_library_name, "pgvigil", sizeof worker.bgw_library_name);
        strlcpy(worker.bgw_function_name, "pgv_backup_worker_main", BGW_MAXLEN);
        worker.bgw_main_arg = Int32GetDatum(static_cast<int32>(slot));
        worker.bgw_notify_pid = MyProcPid;
        // The handle is looked at until the backup has ended.
        const MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
        started = RegisterDynamicBackgroundWorker(&worker, &handle);
        MemoryContextSwitchTo(before);
    });
    return started ? handle : nullptr;
}

void mark_failed(unsigned slot_number, uint64_t request, const Error &error) {
    ErrorReport report;
    describe_error(error, report);
    const ErrorReport *source = &report;
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        BackupSlot &slot = shared.slots[slot_number];
        if (slot.request != request || !is_live(slot))
            return;
        slot.state = BackupState::kFailed;
        slot.ended_at = GetCurrentTimestamp();
        slot.error = *source;
        ConditionVariableBroadcast(&shared.backup_changed);
    });
}

} // namespace

BackupTicket::BackupTicket(const BackupRequest &request) {
    (void)require_shared_state();
    if (request.annotations.size() >= kAnnotationBytes)
        throw Error(ErrorCode::kInvalidArgument, "annotations are too long")
            .detail("They have " + std::to_string(request.annotations.size()) + " bytes; at most " +
                    std::to_string(kAnnotationBytes - 1) + " are kept.");
    int chosen = -1;
    char running[sizeof(BackupSlot::id)] = "";
    uint64_t number = 0;
    const char *role = request.role.c_str();
    const char *annotations = request.annotations.c_str();
    const bool fast = request.fast;
    const bool automatic = request.automatic;
    const WantedKind kind = request.kind;
    const JobTrigger trigger = request.trigger;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        chosen = choose_slot(shared);
        if (chosen < 0) {
            for (const BackupSlot &slot : shared.slots)
                if (is_live(slot))
                    set_text(running, slot.id);
            return;
        }
        auto *slot = new (&shared.slots[chosen]) BackupSlot{};
        slot->state = BackupState::kRequested;
        slot->wanted = kind;
        slot->fast = fast;
        slot->automatic = automatic;
        slot->awaited = !automatic;
        slot->trigger = trigger;
        slot->request = number = shared.next_request++;
        slot->requested_at = GetCurrentTimestamp();
        set_text(slot->role, role);
        set_text(slot->annotations, annotations);
    });
    if (chosen < 0) {
        const std::string detail = running[0] == '\0' ? std::string() : std::string("It is backup ") + running + ".";
        throw Error(ErrorCode::kBusy, "a backup is already running")
            .detail(detail)
            .hint("pgv_progress shows how far it is; pgv_cancel_backup() ends it.");
    }
    slot_ = static_cast<unsigned>(chosen);
    request_ = number;
    handle_ = start_worker(slot_);
    if (handle_ == nullptr) {
        const Error error = Error(ErrorCode::kBusy, "could not start the backup worker")
                                .detail("All slots for background workers are taken.")
                                .hint("Raise max_worker_processes.");
        mark_failed(slot_, request_, error);
        leave();
        throw Error(error);
    }
}

BackupReport BackupTicket::look() {
    // Asked for before the slot is read: a worker that has stopped has left its result there.
    pid_t pid = 0;
    BgwHandleStatus status = BGWH_NOT_YET_STARTED;
    BackgroundWorkerHandle *const handle = handle_;
    pg_section([&]() noexcept { status = GetBackgroundWorkerPid(handle, &pid); });
    if (status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED)
        mark_failed(
            slot_, request_,
            Error(ErrorCode::kInternal, "the backup worker ended without a result").hint("The server log says why."));
    BackupReport report;
    char id[sizeof(BackupSlot::id)] = "";
    char reason[sizeof(BackupSlot::reason)] = "";
    const unsigned slot_number = slot_;
    const uint64_t number = request_;
    BackupReport *const target = &report;
    with_lock(LW_SHARED, [&, slot_number, number](SharedState &shared) noexcept {
        const BackupSlot &slot = shared.slots[slot_number];
        if (slot.request != number)
            return;
        target->known = true;
        target->state = slot.state;
        target->error = slot.error;
        target->bad_pages = slot.progress.bad_pages.load();
        set_text(id, slot.id);
        set_text(reason, slot.reason);
    });
    report.id = id;
    report.reason = reason;
    return report;
}

void BackupTicket::leave() {
    const unsigned slot_number = slot_;
    const uint64_t number = request_;
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        BackupSlot &slot = shared.slots[slot_number];
        if (slot.request == number)
            slot.awaited = false;
    });
}

void BackupTicket::abandon() noexcept {
    SharedState *const shared = shared_state();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (shared->slots[slot_].request == request_)
        shared->slots[slot_].awaited = false;
    LWLockRelease(shared->lock);
}

CancelledBackup cancel_backup() {
    (void)require_shared_state();
    CancelledBackup result;
    bool found = false;
    char id[sizeof(BackupSlot::id)] = "";
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        for (BackupSlot &slot : shared.slots)
            if (is_live(slot)) {
                signal_worker(slot);
                set_text(id, slot.id);
                found = true;
            }
    });
    result.found = found;
    result.id = id;
    return result;
}

void cancel_request(uint64_t request) noexcept {
    SharedState *const shared = shared_state();
    if (shared == nullptr)
        return;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    for (BackupSlot &slot : shared->slots)
        if (is_live(slot) && slot.request == request)
            signal_worker(slot);
    LWLockRelease(shared->lock);
}

} // namespace pgvigil
