#include "plan/timeline_path.h"

#include <algorithm>

namespace pgvigil {

namespace {

// The run of stored segments that holds `segment`; nullptr when it is missing.
const SegmentRun *stored_run(const Catalog &catalog, TimelineId timeline, uint64_t segment) {
    const TimelineWal *wal = catalog.timeline(timeline);
    return wal == nullptr ? nullptr : find_run(wal->runs, segment);
}

bool lies_on_path(TimelineId timeline, Lsn lsn, const TimelinePath &path) {
    return std::any_of(path.begin(), path.end(), [&](const TimelineStep &step) {
        return step.timeline == timeline && step.start <= lsn && (!step.end.is_valid() || lsn <= step.end);
    });
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
    if (size == 0)
        return reach;
    for (uint64_t segment = segment_of(from, size);;) {
        const TimelineId owner = owner_of_segment(path, segment, size);
        const SegmentRun *run = stored_run(catalog, owner, segment);
        if (run == nullptr)
            break;
        // A whole run at once, up to where the next timeline takes over.
        uint64_t last = run->last;
        const auto step =
            std::find_if(path.begin(), path.end(), [owner](const auto &s) { return s.timeline == owner; });
        if (step->end.is_valid())
            last = std::max(segment, std::min(last, segment_of(step->end, size) - 1));
        segment = last + 1;
        reach = {owner, segment_start(segment, size)};
    }
    return reach;
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
