// Decides what expiry keeps and what it lets go: backups with the rules that hold them, and WAL by ranges on every
// timeline. A backup stays as long as a rule names it or a backup that stays is built on it; WAL stays as long as a
// moment in the recovery window, or a backup that stays, needs it. The newest backup that can be restored stays
// whatever the settings and the clock say (rules D3). Threading: pure functions and values.
#pragma once

#include "plan/recovery_windows.h"
#include "repo/keeps.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct RetentionRules {
    int64_t window_ms = int64_t{7} * 24 * 3600 * 1000; // every moment younger than this can be restored
    unsigned fulls = 2;                                // so many newest full backups
    // The newest backup of each of so many newest days, weeks, months and years (UTC) that have one.
    unsigned daily = 0;
    unsigned weekly = 0;
    unsigned monthly = 0;
    unsigned yearly = 0;
};

// A backup that is being made: what it builds on stays, and WAL from its start on.
struct RunningBackup {
    std::string id;
    std::vector<std::string> parents;
    TimelineId timeline = 0;
    Lsn start_lsn;
};

struct RetentionInput {
    const Catalog &catalog;
    // When each commit appeared, by the store's clock; where it is missing the backup's own stop time counts.
    std::map<std::string, int64_t, std::less<>> stored_ms;
    Keeps keeps;
    std::vector<RunningBackup> running;
    RetentionRules rules;
    int64_t now_ms = 0; // the store's clock
    // The backups that go have been decided and are not in the catalog any more: all others stay. What is asked is
    // which WAL may go with them.
    bool decided = false;
};

struct BackupVerdict {
    std::string id;
    bool keep = false;
    std::string reason; // for people: the rules that hold it, or why none does
};

inline constexpr uint64_t kOpenEnd = UINT64_MAX;

// Segments that stay, whether they are stored or not. `last` is kOpenEnd for "all that come".
struct KeptWal {
    uint64_t first = 0;
    uint64_t last = 0;
    std::string reason;
};

// Stored segments of one timeline that share a verdict.
struct WalVerdict {
    TimelineId timeline = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    bool keep = false;
    std::string reason;
};

struct RetentionPlan {
    std::vector<BackupVerdict> backups;              // in the catalog's order
    std::map<TimelineId, std::vector<KeptWal>> kept; // ascending, not overlapping
    std::vector<WalVerdict> wal;                     // ascending
    // History files of older timelines may go. Not one between others: the server looks for the newest timeline by
    // counting up until a history file is missing.
    TimelineId lowest_history = 0;

    [[nodiscard]] bool keeps_backup(std::string_view id) const noexcept;
    // Whether every segment from `first` to `last` stays.
    [[nodiscard]] bool keeps_segments(TimelineId timeline, uint64_t first, uint64_t last) const noexcept;
    // Whether any of them does.
    [[nodiscard]] bool keeps_some(TimelineId timeline, uint64_t first, uint64_t last) const noexcept;
    [[nodiscard]] bool keeps_segment(TimelineId timeline, uint64_t segment) const noexcept {
        return keeps_segments(timeline, segment, segment);
    }
};

[[nodiscard]] RetentionPlan plan_retention(const RetentionInput &input);

} // namespace pgvigil
