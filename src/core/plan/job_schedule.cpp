#include "plan/job_schedule.h"

namespace pgvigil {

DueJobs due_jobs(const JobSchedules &schedules, const TimeZone &zone, int64_t now_s) {
    DueJobs result;
    bool full_is_due = false;
    for (const JobKind kind : kEveryJobKind) {
        const JobSchedule &schedule = schedules[static_cast<size_t>(kind)];
        if (!schedule.expression)
            continue;
        const auto slot = schedule.expression->last_between(schedule.handled_s, now_s, zone);
        if (!slot)
            continue;
        if (kind == JobKind::kIncremental && full_is_due) {
            result.superseded.push_back({kind, *slot});
            continue;
        }
        full_is_due = full_is_due || kind == JobKind::kFull;
        result.due.push_back({kind, *slot});
    }
    return result;
}

MayStart may_start(JobKind kind, BackupFrom from, NodeRole role, int64_t waited_ms) noexcept {
    // Expiry is the writer's (rules C5), and one node is enough to verify.
    if (!is_backup_job(kind))
        return role == NodeRole::kWriter ? MayStart::kNow : MayStart::kNever;
    if (role == NodeRole::kStandby)
        return from == BackupFrom::kPrimary ? MayStart::kNever : MayStart::kNow;
    if (from != BackupFrom::kStandby)
        return MayStart::kNow;
    // A backup from the primary is better than none.
    return waited_ms >= kPreferenceGraceMs ? MayStart::kNow : MayStart::kNotYet;
}

} // namespace pgvigil
