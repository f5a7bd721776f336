#include "server/pg.h"

#include "server/session_job.h"

#include "server/shared_state.h"

#include <new>

namespace pgvigil {

namespace {

bool is_live(const JobSlot &slot) noexcept {
    return slot.state == BackupState::kRequested || slot.state == BackupState::kRunning;
}

void wake_scheduler(const SharedState &shared) noexcept {
    if (shared.scheduler.latch != nullptr)
        SetLatch(shared.scheduler.latch);
}

// Ends this process's job of that request, or all of them where it is 0; raises nothing.
template <class F> void end_jobs(uint64_t request, F fill) noexcept {
    SharedState *const shared = shared_state();
    if (shared == nullptr)
        return;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    for (unsigned i = kJobWorkers; i < kJobSlots; ++i) {
        JobSlot &slot = shared->jobs[i];
        if (!is_live(slot) || slot.worker_pid != MyProcPid || (request != 0 && slot.request != request))
            continue;
        fill(slot);
        slot.ended_at = GetCurrentTimestamp();
    }
    wake_scheduler(*shared);
    LWLockRelease(shared->lock);
}

// The end of the process unwinds nothing.
void release_at_exit(int /*code*/, Datum /*argument*/) {
    LWLockReleaseAll();
    end_jobs(0, [](JobSlot &slot) noexcept {
        slot.state = BackupState::kFailed;
        describe_error(Error(ErrorCode::kCancelled, "the session that ran it was ended"), slot.error);
    });
}

} // namespace

SessionJob::SessionJob(JobKind kind, const std::string &backup) {
    static bool watched = false;
    if (shared_state() == nullptr)
        return;
    const char *const id = backup.c_str();
    pg_section([&]() noexcept {
        if (!watched)
            before_shmem_exit(release_at_exit, 0);
        watched = true;
    });
    with_lock(LW_EXCLUSIVE, [&, id](SharedState &shared) noexcept {
        for (unsigned i = kJobWorkers; i < kJobSlots; ++i) {
            JobSlot &place = shared.jobs[i];
            if (place.state != BackupState::kFree && (is_live(place) || !place.recorded))
                continue;
            auto *slot = new (&place) JobSlot{};
            slot->state = BackupState::kRunning;
            slot->kind = kind;
            slot->trigger = JobTrigger::kManual;
            slot->request = request_ = shared.next_request++;
            slot->worker_pid = MyProcPid;
            slot->requested_at = slot->started_at = GetCurrentTimestamp();
            set_text(slot->id, id);
            wake_scheduler(shared);
            return;
        }
    });
}

void SessionJob::succeed(uint64_t bytes, const std::string &message) noexcept {
    if (request_ == 0)
        return;
    const char *const text = message.c_str();
    end_jobs(request_, [=](JobSlot &slot) noexcept {
        slot.state = BackupState::kDone;
        slot.bytes = bytes;
        set_text(slot.message, text);
    });
}

void SessionJob::fail(const ErrorReport &report) noexcept {
    if (request_ == 0)
        return;
    const ErrorReport *const source = &report;
    end_jobs(request_, [=](JobSlot &slot) noexcept {
        slot.state = BackupState::kFailed;
        slot.error = *source;
    });
}

void SessionJob::fail_by_current_exception() noexcept {
    ErrorReport report;
    capture_current_exception(report);
    const bool cancelled = report.pg_error || strcmp(report.sqlstate, "57014") == 0;
    if (cancelled)
        describe_error(Error(ErrorCode::kCancelled, "the statement that ran it was cancelled"), report);
    report.pg_error = false;
    if (cancelled && request_ != 0) {
        const uint64_t request = request_;
        end_jobs(request, [&](JobSlot &slot) noexcept {
            slot.state = BackupState::kFailed;
            slot.cancel.store(true);
            slot.error = report;
        });
        return;
    }
    fail(report);
}

} // namespace pgvigil
