#include "server/pg.h"

#include "server/job_worker.h"

#include "server/boundary.h"
#include "server/expire_job.h"
#include "server/log_queue.h"
#include "server/server_facts.h"
#include "server/settings.h"
#include "server/shared_state.h"
#include "server/stream_settings.h"
#include "server/verify_job.h"
#include "server/waiting.h"

#include <csignal>
#include <new>

namespace pgvigil {

namespace {

BackgroundWorkerHandle *handles[kJobWorkers] = {nullptr, nullptr};
constexpr JobKind kWorkerKinds[kJobWorkers] = {JobKind::kExpire, JobKind::kVerify};
JobKind own_kind = JobKind::kVerify; // of this worker

BackgroundWorkerHandle *&handle_of(JobKind kind) noexcept {
    return handles[kind == JobKind::kExpire ? 0 : 1];
}

bool is_live(const JobSlot &slot) noexcept {
    return slot.state == BackupState::kRequested || slot.state == BackupState::kRunning;
}

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

void finish_slot(const ErrorReport *error, const char *message, uint64_t bytes, bool in_vain) {
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        JobSlot &slot = shared.worker_job(own_kind);
        slot.state = error == nullptr ? BackupState::kDone : BackupState::kFailed;
        slot.ended_at = GetCurrentTimestamp();
        slot.bytes = bytes;
        slot.in_vain = in_vain;
        set_text(slot.message, message);
        if (error != nullptr)
            slot.error = *error;
        shared.keeper.catalog_requested = true;
        if (shared.scheduler.latch != nullptr)
            SetLatch(shared.scheduler.latch);
    });
}

// Whatever ended the process: nobody waits for it any longer.
void release_slot(int /*code*/, Datum /*argument*/) {
    SharedState *const shared = shared_state();
    LWLockReleaseAll();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    JobSlot &slot = shared->worker_job(own_kind);
    if (is_live(slot)) {
        slot.state = BackupState::kFailed;
        slot.ended_at = GetCurrentTimestamp();
        describe_error(Error(ErrorCode::kCancelled, "the job's worker was ended").hint("The server log says why."),
                       slot.error);
    }
    slot.worker_pid = 0;
    LWLockRelease(shared->lock);
}

JobResult expire(const std::function<bool()> &stop) {
    JobResult result;
    ExpireOrder order;
    order.dry_run = false;
    try {
        const ExpireResult done = run_expire_job(order, stop);
        result.bytes = done.deleted_bytes();
        result.message = done.summary();
    } catch (const Error &error) {
        // It waits for an operator's word: to ask again in a minute would help nobody.
        if (error.code() != ErrorCode::kRefused)
            throw;
        result.problem = error;
    }
    return result;
}

JobResult run_job() {
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        JobSlot &slot = shared.worker_job(own_kind);
        slot.state = BackupState::kRunning;
        slot.started_at = GetCurrentTimestamp();
        slot.worker_pid = MyProcPid;
    });
    const auto stop = [] { return ShutdownRequestPending != 0 || shared_state()->worker_job(own_kind).cancel.load(); };
    return own_kind == JobKind::kExpire ? expire(stop) : run_verify_job(current_settings(), server_facts(), stop);
}

// A cancel arrives as PostgreSQL's own "canceling statement" or as the core's: both mean the same here.
void reword(ErrorReport &report) {
    if (strcmp(report.sqlstate, "57014") != 0)
        return;
    describe_error(Error(ErrorCode::kCancelled,
                         ShutdownRequestPending ? "the job was ended by a shutdown request" : "the job was cancelled"),
                   report);
}

void serve() {
    before_shmem_exit(release_slot, 0);
    JobResult result;
    ErrorReport report;
    const bool complete = cpp_attempt(
        [&] {
            result = run_job();
            process_log().flush();
        },
        report);
    ErrorReport second;
    if (!complete)
        reword(report);
    else if (result.problem)
        describe_error(*result.problem, report);
    const bool failed = !complete || result.problem.has_value();
    const char *message = result.message.c_str();
    if (!cpp_attempt(
            [&] {
                process_log().flush();
                finish_slot(failed ? &report : nullptr, message, result.bytes, result.problem.has_value());
            },
            second))
        warn(second, "could not report a job's end");
    if (failed)
        warn(report, own_kind == JobKind::kVerify ? "pgvigil verification failed" : "pgvigil expiry failed");
}

} // namespace

std::optional<uint64_t> start_job_worker(JobKind kind) {
    (void)require_shared_state();
    uint64_t number = 0;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        JobSlot &place = shared.worker_job(kind);
        // One whose end was not seen yet is needed for the history.
        if (is_live(place) || (place.state != BackupState::kFree && !place.recorded))
            return;
        auto *slot = new (&place) JobSlot{};
        slot->state = BackupState::kRequested;
        slot->kind = kind;
        slot->trigger = JobTrigger::kSchedule;
        slot->request = number = shared.next_request++;
        slot->requested_at = GetCurrentTimestamp();
    });
    if (number == 0)
        return std::nullopt;
    bool started = false;
    BackgroundWorkerHandle *&handle = handle_of(kind);
    pg_section([&]() noexcept {
        BackgroundWorker worker;
        memset(&worker, 0, sizeof worker);
        strlcpy(worker.bgw_name, "pgvigil job", BGW_MAXLEN);
        strlcpy(worker.bgw_type, "pgvigil job", BGW_MAXLEN);
        worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
        worker.bgw_start_time = BgWorkerStart_ConsistentState;
        worker.bgw_restart_time = BGW_NEVER_RESTART;
        strlcpy(worker.bgw_library_name, "pgvigil", sizeof worker.bgw_library_name);
        strlcpy(worker.bgw_function_name, "pgv_job_worker_main", BGW_MAXLEN);
        worker.bgw_main_arg = Int32GetDatum(static_cast<int32>(kind));
        worker.bgw_notify_pid = MyProcPid;
        const MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
        if (handle != nullptr)
            pfree(handle);
        handle = nullptr;
        started = RegisterDynamicBackgroundWorker(&worker, &handle);
        MemoryContextSwitchTo(before);
    });
    if (!started) {
        const Error error = Error(ErrorCode::kBusy, "could not start the job's worker")
                                .detail("All slots for background workers are taken.")
                                .hint("Raise max_worker_processes.");
        // Nothing has begun that the history should show.
        with_lock(LW_EXCLUSIVE,
                  [=](SharedState &shared) noexcept { shared.worker_job(kind).state = BackupState::kFree; });
        throw Error(error);
    }
    return number;
}

void check_job_workers() {
    for (const JobKind kind : kWorkerKinds) {
        BackgroundWorkerHandle *const handle = handle_of(kind);
        if (handle == nullptr)
            continue;
        pid_t pid = 0;
        BgwHandleStatus status = BGWH_NOT_YET_STARTED;
        pg_section([&]() noexcept { status = GetBackgroundWorkerPid(handle, &pid); });
        if (status != BGWH_STOPPED && status != BGWH_POSTMASTER_DIED)
            continue;
        ErrorReport report;
        describe_error(
            Error(ErrorCode::kInternal, "the job's worker ended without a result").hint("The server log says why."),
            report);
        const ErrorReport *const source = &report;
        with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
            JobSlot &slot = shared.worker_job(kind);
            if (!is_live(slot))
                return;
            slot.state = BackupState::kFailed;
            slot.ended_at = GetCurrentTimestamp();
            slot.error = *source;
        });
    }
}

void cancel_job(uint64_t request) noexcept {
    SharedState *const shared = shared_state();
    if (shared == nullptr)
        return;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    for (const JobKind kind : kWorkerKinds) {
        JobSlot &slot = shared->worker_job(kind);
        if (!is_live(slot) || slot.request != request)
            continue;
        slot.cancel.store(true);
        if (slot.worker_pid != 0)
            ::kill(slot.worker_pid, SIGINT);
    }
    LWLockRelease(shared->lock);
}

} // namespace pgvigil

void pgv_job_worker_main(Datum argument) {
    pgvigil::own_kind = static_cast<pgvigil::JobKind>(DatumGetInt32(argument));
    pqsignal(SIGTERM, pgvigil::handle_terminate);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    pgvigil::commit_without_waiting();
    pgvigil::serve();
    proc_exit(0);
}
