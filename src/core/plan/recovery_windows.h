// Recovery windows: from which moment to which moment a cluster can be restored (promise 4). A window begins where a
// backup becomes consistent and ends with the last byte of WAL that follows it without a gap.
// Threading: pure, but for what the WalFactsSource does.
#pragma once

#include "plan/timeline_path.h"
#include "plan/wal_facts_source.h"

#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct RecoveryWindow {
    TimelineId timeline = 0;          // the one its end lies on
    Lsn from_lsn;                     // the earliest backup's stop
    Lsn to_lsn;                       // end of the contiguous WAL
    int64_t from_ms = 0;              // when that backup stopped
    std::optional<int64_t> to_us;     // the last transaction's end before to_lsn, µs since 1970; unset: none is known
    std::optional<int64_t> stored_ms; // when the last byte was stored, the store's clock
    std::vector<std::string> backups; // usable in it, ascending
};

// How far a restore of `backup` can replay along the path: the archive's contiguous WAL, or what the backup itself
// brings (rules E6). Less than its stop when it cannot be made consistent.
[[nodiscard]] Reach usable_reach(const Catalog &catalog, const TimelinePath &path, const CommitDocument &backup);

// Ascending by timeline and position. Without times (`to_us`) when `facts` is null.
[[nodiscard]] std::vector<RecoveryWindow> recovery_windows(const Catalog &catalog, WalFactsSource *facts);

// Where stored WAL goes on behind a gap that follows the newest window: what no backup leads to. nullopt when the
// newest window ends with the newest WAL, or when there is no window.
[[nodiscard]] std::optional<Lsn> wal_behind_a_gap(const Catalog &catalog, const std::vector<RecoveryWindow> &windows);

// "2026-11-20 08:40:13+00 (0/3000100) to 2026-11-20 09:12:01.123456+00 (0/5A000000) on timeline 1"
[[nodiscard]] std::string describe(const RecoveryWindow &window);

} // namespace pgvigil
