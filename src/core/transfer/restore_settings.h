// The recovery settings a restore leaves in postgresql.auto.conf (rules E2), and their quoting.
// Threading: pure functions. Errors: kInvalidArgument for text that a settings file cannot hold.
#pragma once

#include "plan/restore_plan.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

enum class TargetAction { kPause, kPromote, kShutdown };

// How the server's restore_command is to call this program.
struct RestoreCommand {
    std::string program;                   // absolute path
    std::vector<std::string> repositories; // normalised URLs
    std::string credentials_file;          // absolute path; "" = the usual chain of the server's environment
    uint64_t system_identifier = 0;
    TimelinePath path;             // empty: no limits, as for a standby
    uint64_t wal_segment_size = 0; // bytes
};

struct RecoverySettings {
    RestoreCommand command;
    bool standby = false;
    TargetAction action = TargetAction::kPause;
    std::string target_setting; // of RestorePlan; "" = none
    std::string target_value;
    bool inclusive = true;
    TimelineId timeline = 0;
};

// The shell command, with % doubled where it does not stand for PostgreSQL's placeholders.
[[nodiscard]] std::string restore_command(const RestoreCommand &command);

// `auto_conf` without any recovery setting of an earlier life, followed by `settings`: every target empty first, the
// chosen one last, because the server applies lines in order and refuses two targets.
[[nodiscard]] std::string with_recovery_settings(std::string_view auto_conf, const RecoverySettings &settings);

// One line for pg_tblspc's map file, as the server escapes it.
[[nodiscard]] std::string tablespace_map_line(uint32_t oid, std::string_view path);

} // namespace pgvigil
