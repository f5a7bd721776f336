// The settings of the scheduler, checked when they are written. Threading: the main thread; ScheduleSettings is a
// value.
#pragma once

#include "base/time_zone.h"
#include "plan/job_schedule.h"

#include <array>
#include <string>

namespace pgvigil {

struct ScheduleSettings {
    std::array<std::string, kJobKinds> expressions; // by JobKind; "" = off
    std::string time_zone;                          // the one in force: never empty
    BackupFrom backup_from = BackupFrom::kPrimary;
    std::string webhook_url_file;
};

// Called once, by define_settings().
void define_schedule();

[[nodiscard]] ScheduleSettings current_schedule();
// The zone of that name; looks at the server's own zone files as well. Throws kInvalidArgument.
[[nodiscard]] TimeZone load_schedule_zone(const std::string &name);
[[nodiscard]] const char *webhook_url_file() noexcept;
// How long a node that shows no sign of life keeps a run, milliseconds.
[[nodiscard]] int64_t job_takeover_ms() noexcept;

} // namespace pgvigil
