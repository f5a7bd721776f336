// What the view of the jobs says, put into shared memory. Threading: the scheduler's main thread.
#pragma once

#include "plan/job_log.h"

#include <array>
#include <cstdint>
#include <string>

namespace pgvigil {

// Of one kind; times in seconds or milliseconds since 1970 UTC, 0 = none.
struct ScheduleStatus {
    std::string schedule;
    int64_t next_run_s = 0;
    int64_t due_s = 0;
    int64_t retry_at_ms = 0;
    std::string note;
};

void publish_schedules(const std::array<ScheduleStatus, kJobKinds> &all, const std::string &time_zone,
                       const JobLog &log);

} // namespace pgvigil
