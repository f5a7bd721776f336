#include "server/pg.h"

#include "server/schedule_status.h"

#include "server/pg_time.h"
#include "server/shared_state.h"

namespace pgvigil {

namespace {

TimestampTz timestamp(int64_t unix_ms) noexcept {
    return unix_ms == 0 ? 0 : timestamp_from_unix_us(unix_ms * 1000);
}

// The newest failure, as long as nothing has succeeded since.
std::string last_error(const JobLog &log, JobKind kind) {
    const JobRun *const last = log.last_run(kind);
    return last != nullptr && last->outcome != JobOutcome::kSucceeded ? last->message : std::string();
}

} // namespace

void publish_schedules(const std::array<ScheduleStatus, kJobKinds> &all, const std::string &time_zone,
                       const JobLog &log) {
    for (const JobKind kind : kEveryJobKind) {
        const ScheduleStatus &status = all[static_cast<size_t>(kind)];
        SharedJob job{};
        set_text(job.schedule, status.schedule.c_str());
        set_text(job.note, status.note.c_str());
        job.next_run = timestamp(status.next_run_s * 1000);
        job.due_since = timestamp(status.due_s * 1000);
        job.retry_at = timestamp(status.retry_at_ms);
        for (const OpenJob &open : log.open_jobs())
            if (open.kind == kind)
                job.running_since = timestamp(open.started_ms);
        if (const JobRun *const last = log.last_run(kind)) {
            job.last_run = timestamp(last->started_ms);
            set_text(job.last_outcome, std::string(outcome_name(last->outcome)).c_str());
        }
        if (const JobRun *const success = log.last_success(kind))
            job.last_success = timestamp(success->ended_ms);
        job.failures = log.failures(kind);
        set_text(job.last_error, last_error(log, kind).c_str());
        const SharedJob *const source = &job;
        const char *const zone = time_zone.c_str();
        const auto index = static_cast<size_t>(kind);
        with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
            shared.scheduler.jobs[index] = *source;
            set_text(shared.scheduler.time_zone, zone);
        });
    }
}

} // namespace pgvigil
