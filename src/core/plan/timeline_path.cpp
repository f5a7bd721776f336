#include "plan/timeline_path.h"

#include "repo/epochs.h"

#include "repo/streamed_wal.h"

#include <algorithm>

namespace pgvigil {

namespace {

// The run of stored segments that holds `segment`; nullptr when it is missing.
const SegmentRun *stored_run(const Catalog &catalog, TimelineId timeline, uint64_t segment) {
    const TimelineWal *wal = catalog.timeline(timeline);
    return wal == nullptr ? nullptr : find_run(wal->runs, segment);
}

uint64_t streamed_of(const Catalog &catalog, TimelineId timeline, uint64_t segment) {
    const TimelineWal *wal = catalog.timeline(timeline);
    return wal == nullptr ? 0 : streamed_bytes(*wal, segment);
}

// Of a segment in which a timeline began that has nothing of it: its ancestors' bytes before the switch.
Reach reach_before_switch(const Catalog &catalog, const TimelinePath &path, uint64_t segment, Reach reach) {
    const uint64_t size = catalog.segment_size;
    const Lsn start = segment_start(segment, size);
    for (auto step = path.rbegin(); step != path.rend(); ++step) {
        if (segment_of(step->start, size) > segment || !step->end.is_valid() || step->end <= start)
            continue;
        const bool whole = stored_run(catalog, step->timeline, segment) != nullptr;
        const uint64_t bytes = whole ? size : streamed_of(catalog, step->timeline, segment);
        if (bytes == 0)
            continue;
        const Lsn end = std::min(step->end, Lsn{start.value + bytes});
        return end > reach.end ? Reach{step->timeline, end} : reach;
    }
    return reach;
}

bool lies_on_path(TimelineId timeline, Lsn lsn, const TimelinePath &path) {
    return std::any_of(path.begin(), path.end(), [&](const TimelineStep &step) {
        return step.timeline == timeline && step.start <= lsn && (!step.end.is_valid() || lsn <= step.end);
    });
}

bool begins_before(Lsn begin, Lsn end, uint64_t segment_size) {
    // A segment that holds the switch is read from the child.
    return segment_size == 0 ? begin < end : segment_of(begin, segment_size) < segment_of(end, segment_size);
}

// How many of the first steps are left out: a later epoch than the one in which a timeline of the path was begun took
// over on one of its ancestors before the path leaves that one. What is stored of the ancestor there is not what the
// timeline goes on from, and what lies before it leads nowhere on this path.
ptrdiff_t mixed_steps(const Catalog &catalog, const TimelinePath &path) {
    ptrdiff_t mixed = 0;
    for (size_t child = 1; child < path.size(); ++child) {
        const auto first = std::find_if(catalog.epochs.begin(), catalog.epochs.end(), [&](const EpochDocument &epoch) {
            return epoch.timeline == path[child].timeline;
        });
        if (first == catalog.epochs.end())
            continue;
        for (size_t ancestor = 0; ancestor < child; ++ancestor) {
            const TimelineStep &step = path[ancestor];
            if (std::any_of(first + 1, catalog.epochs.end(), [&](const EpochDocument &epoch) {
                    return step.timeline == epoch.timeline && begins_before(epoch.lsn, step.end, catalog.segment_size);
                }))
                mixed = std::max(mixed, static_cast<ptrdiff_t>(ancestor) + 1);
        }
    }
    return mixed;
}

} // namespace

std::optional<TimelinePath> path_to(const Catalog &catalog, TimelineId timeline) {
    const TimelineWal *wal = catalog.timeline(timeline);
    const bool has_backup =
        std::any_of(catalog.backups.begin(), catalog.backups.end(),
                    [timeline](const CommitDocument &backup) { return backup.stop_timeline == timeline; });
    if (wal == nullptr && !has_backup)
        return std::nullopt;
    if (timeline != 1 && (wal == nullptr || !wal->has_history))
        return std::nullopt;
    TimelinePath path;
    Lsn start;
    if (wal != nullptr)
        for (const TimelineSwitch &ancestor : wal->ancestors) {
            path.push_back({ancestor.timeline, start, ancestor.end});
            start = ancestor.end;
        }
    path.push_back({timeline, start, Lsn{}});
    path.erase(path.begin(), path.begin() + mixed_steps(catalog, path));
    return path;
}

bool is_on_path(const CommitDocument &backup, const TimelinePath &path) {
    return lies_on_path(backup.start_timeline, backup.start_lsn, path) &&
           lies_on_path(backup.stop_timeline, backup.stop_lsn, path);
}

TimelinePath path_up_to(TimelinePath path, Lsn end) {
    while (path.size() > 1 && path.back().start > end)
        path.pop_back();
    if (!path.empty())
        path.back().end = end;
    return path;
}

TimelineId owner_of_segment(const TimelinePath &path, uint64_t segment, uint64_t segment_size) {
    for (auto step = path.rbegin(); step != path.rend(); ++step)
        if (segment_of(step->start, segment_size) <= segment)
            return step->timeline;
    return path.front().timeline;
}

Reach contiguous_reach(const Catalog &catalog, const TimelinePath &path, Lsn from) {
    const uint64_t size = catalog.segment_size;
    Reach reach{path.front().timeline, from};
    for (const TimelineStep &step : path)
        if (step.start <= from)
            reach.timeline = step.timeline;
    if (size == 0 || from < path.front().start)
        return reach;
    for (uint64_t segment = segment_of(from, size);;) {
        const TimelineId owner = owner_of_segment(path, segment, size);
        const auto broken = first_break(catalog.epochs, owner, segment_of(from, size), size);
        if (broken && *broken <= segment)
            return reach;
        const SegmentRun *run = stored_run(catalog, owner, segment);
        if (run == nullptr) {
            const uint64_t bytes = streamed_of(catalog, owner, segment);
            if (bytes == 0)
                return reach_before_switch(catalog, path, segment, reach);
            const Lsn end{segment_start(segment, size).value + bytes};
            if (end > reach.end)
                reach = {owner, end};
            if (bytes < size)
                return reach;
            ++segment;
            continue;
        }
        // A whole run at once, up to where the history breaks or the next timeline takes over.
        uint64_t last = run->last;
        if (broken)
            last = std::min(last, *broken - 1);
        const auto step =
            std::find_if(path.begin(), path.end(), [owner](const auto &s) { return s.timeline == owner; });
        if (step->end.is_valid())
            last = std::max(segment, std::min(last, segment_of(step->end, size) - 1));
        segment = last + 1;
        reach = {owner, segment_start(segment, size)};
    }
}

std::vector<TimelineId> reachable_timelines(const Catalog &catalog) {
    std::vector<TimelineId> candidates;
    for (const TimelineWal &wal : catalog.timelines)
        candidates.push_back(wal.timeline);
    for (const CommitDocument &backup : catalog.backups)
        candidates.push_back(backup.stop_timeline);
    std::sort(candidates.begin(), candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    std::erase_if(candidates, [&catalog](TimelineId timeline) { return !path_to(catalog, timeline); });
    return candidates;
}

} // namespace pgvigil
