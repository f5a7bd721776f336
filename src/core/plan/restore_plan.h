// Decides what a restore does before anything is fetched: which backup, which timelines, how much WAL, and how the
// target is put into PostgreSQL's settings. A target that cannot be reached is refused here, with the windows and the
// nearest moment that can (rules E2, E3, B10). Threading: pure, but for what the WalFactsSource does.
#pragma once

#include "plan/recovery_windows.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace pgvigil {

struct LatestTarget {};    // everything there is
struct ImmediateTarget {}; // as soon as the backup is consistent
struct TimeTarget {
    int64_t time_us = 0; // µs since 1970 UTC
};
struct LsnTarget {
    Lsn lsn;
};
struct XidTarget {
    uint32_t xid = 0;
};
struct NameTarget {
    std::string name;
};
using RecoveryTarget = std::variant<LatestTarget, ImmediateTarget, TimeTarget, LsnTarget, XidTarget, NameTarget>;

struct RestoreRequest {
    RecoveryTarget target;
    bool inclusive = true;
    std::optional<TimelineId> timeline; // unset: as `current_timeline` says
    bool current_timeline = false;      // stay on the backup's timeline; otherwise the newest that it leads to
    std::string backup;                 // "" = the newest that serves
};

struct RestorePlan {
    std::string backup;             // its id
    std::vector<std::string> chain; // the backup, its parent, … down to the full one
    TimelineId target_timeline = 0;
    TimelinePath path;           // up to the target timeline
    Lsn wal_from;                // the backup's start
    Lsn consistent_at;           // the backup's stop
    Lsn wal_to;                  // the end of what may be replayed
    Lsn replay_to;               // where replay has reached the target at the latest; at most wal_to
    uint64_t wal_segments = 0;   // at most, from wal_from to replay_to
    uint64_t backup_bytes = 0;   // stored bytes of the chain, more than is fetched where newer backups replace some
    uint64_t restored_bytes = 0; // logical size
    // The setting recovery_target… and its value; both empty when recovery runs to wal_to, its natural end.
    std::string target_setting; // recovery_target, recovery_target_time, _lsn, _xid, _name
    std::string target_value;
    bool inclusive = true;
    bool to_planned_end = false; // a time behind the last commit: everything up to wal_to is restored instead
    RecoveryWindow window;       // the one that holds the target
};

// Throws kNotFound (no such backup, no backup at all, no such timeline) or kUnreachableTarget, with detail (the
// windows) and hint (the nearest moment).
[[nodiscard]] RestorePlan plan_restore(const Catalog &catalog, const RestoreRequest &request, WalFactsSource &facts);

} // namespace pgvigil
