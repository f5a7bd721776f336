// What the schedule wants done now, and whether this node is the one to do it. Threading: pure. Times are seconds since
// 1970 UTC, but for waits.
#pragma once

#include "plan/cron.h"
#include "repo/job_kind.h"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace pgvigil {

// How long the others leave a due backup to the nodes that are preferred.
inline constexpr int64_t kPreferenceGraceMs = 600000;

struct JobSchedule {
    std::optional<CronExpression> expression; // none: off
    // Slots up to here are done, given up or none of this schedule's business.
    int64_t handled_s = 0;
};
using JobSchedules = std::array<JobSchedule, kJobKinds>; // by JobKind

struct DueJob {
    JobKind kind = JobKind::kFull;
    int64_t slot_s = 0;

    friend bool operator==(const DueJob &, const DueJob &) = default;
};

struct DueJobs {
    // At most one for each kind, its newest slot: however many were missed, one is made up.
    std::vector<DueJob> due;
    // An incremental backup while a full one is due: the full one serves for both.
    std::vector<DueJob> superseded;
};

[[nodiscard]] DueJobs due_jobs(const JobSchedules &schedules, const TimeZone &zone, int64_t now_s);

enum class BackupFrom : uint8_t { kPrimary, kStandby, kAny };
enum class NodeRole : uint8_t { kWriter, kStandby };
enum class MayStart : uint8_t { kNow, kNotYet, kNever };

// `waited_ms`: how long this node has known that the job is due.
[[nodiscard]] MayStart may_start(JobKind kind, BackupFrom from, NodeRole role, int64_t waited_ms) noexcept;

} // namespace pgvigil
