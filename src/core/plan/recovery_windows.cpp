#include "plan/recovery_windows.h"

#include "base/time.h"
#include "plan/abandoned.h"
#include "plan/wal_search.h"
#include "repo/epochs.h"
#include "repo/streamed_wal.h"

#include <algorithm>

namespace pgvigil {

namespace {

void add_times(const Catalog &catalog, RecoveryWindow &window, WalFactsSource &facts) {
    const auto path = path_to(catalog, window.timeline);
    if (!path || catalog.segment_size == 0)
        return;
    window.to_us = WalSearch(*path, catalog.segment_size, facts).last_transaction_us(window.from_lsn, window.to_lsn);
}

std::optional<int64_t> stored_time(const Catalog &catalog, const RecoveryWindow &window) {
    const TimelineWal *wal = catalog.timeline(window.timeline);
    return wal == nullptr ? std::nullopt : stored_ms_of(*wal, window.to_lsn, catalog.segment_size);
}

} // namespace

Reach usable_reach(const Catalog &catalog, const TimelinePath &path, const CommitDocument &backup) {
    // The WAL that is there now is of another history.
    if (abandoned_by(catalog, backup) != nullptr)
        return {backup.start_timeline, Lsn{}};
    Reach reach = contiguous_reach(catalog, path, backup.start_lsn);
    if (reach.end >= backup.stop_lsn || !backup.own_wal)
        return reach;
    // The backup brings the WAL up to its stop itself; the archive may go on from there.
    reach = contiguous_reach(catalog, path, backup.stop_lsn);
    return {reach.end > backup.stop_lsn ? reach.timeline : backup.stop_timeline, std::max(reach.end, backup.stop_lsn)};
}

std::vector<RecoveryWindow> recovery_windows(const Catalog &catalog, WalFactsSource *facts) {
    std::vector<RecoveryWindow> windows;
    for (const TimelineId timeline : reachable_timelines(catalog)) {
        const TimelinePath path = *path_to(catalog, timeline);
        std::vector<RecoveryWindow> here;
        for (const CommitDocument &backup : catalog.backups) {
            if (!is_on_path(backup, path) || !catalog.has_whole_chain(backup))
                continue;
            const Reach reach = usable_reach(catalog, path, backup);
            if (reach.timeline != timeline || reach.end < backup.stop_lsn)
                continue;
            auto same = std::find_if(here.begin(), here.end(), [&](const auto &w) { return w.to_lsn == reach.end; });
            if (same == here.end()) {
                here.push_back({timeline, backup.stop_lsn, reach.end, backup.stopped_ms, {}, {}, {backup.id}});
                continue;
            }
            same->backups.push_back(backup.id);
            if (backup.stop_lsn < same->from_lsn) {
                same->from_lsn = backup.stop_lsn;
                same->from_ms = backup.stopped_ms;
            }
        }
        std::sort(here.begin(), here.end(), [](const auto &a, const auto &b) { return a.from_lsn < b.from_lsn; });
        windows.insert(windows.end(), here.begin(), here.end());
    }
    for (RecoveryWindow &window : windows) {
        window.stored_ms = stored_time(catalog, window);
        if (facts != nullptr)
            add_times(catalog, window, *facts);
    }
    return windows;
}

std::optional<Lsn> wal_behind_a_gap(const Catalog &catalog, const std::vector<RecoveryWindow> &windows) {
    std::optional<Lsn> found;
    for (const TimelineWal &wal : catalog.timelines) {
        if (windows.empty() || wal.timeline < windows.back().timeline || wal.runs.empty())
            continue;
        uint64_t first = wal.runs.back().first;
        while (const auto broken = first_break(catalog.epochs, wal.timeline, first, catalog.segment_size))
            first = *broken;
        if (first > wal.runs.back().last)
            continue; // nothing is stored behind the break yet
        const Lsn start = segment_start(first, catalog.segment_size);
        const Lsn end = segment_start(wal.runs.back().last + 1, catalog.segment_size);
        // Behind the end lies a window of a backup that brings its own WAL: a standby's, of a primary that is idle.
        const bool reached = std::any_of(windows.begin(), windows.end(), [&](const RecoveryWindow &window) {
            return window.timeline == wal.timeline && window.to_lsn >= end;
        });
        if (!reached)
            found = start;
    }
    return found;
}

std::string describe(const RecoveryWindow &window) {
    const std::string from = postgres_time_us(window.from_ms * 1000) + " (" + to_string(window.from_lsn) + ") to ";
    const std::string timeline = " on timeline " + std::to_string(window.timeline);
    if (!window.to_us) // the time of its end was not asked for
        return from + to_string(window.to_lsn) + timeline;
    const int64_t end_us = std::max(*window.to_us, window.from_ms * 1000);
    return from + postgres_time_us(end_us) + " (" + to_string(window.to_lsn) + ")" + timeline;
}

} // namespace pgvigil
