#include "plan/catalog_union.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace pgvigil {

namespace {

void add(TimelineWal &whole, const TimelineWal &part) {
    const uint64_t end = whole.runs.empty() ? 0 : whole.runs.back().last;
    if (!part.runs.empty() && (whole.runs.empty() || part.runs.back().last > end))
        whole.newest_object_ms = part.newest_object_ms;
    else if (!part.runs.empty() && part.runs.back().last == end)
        whole.newest_object_ms = std::max(whole.newest_object_ms, part.newest_object_ms);
    for (const SegmentRun &run : part.runs)
        add_run(whole.runs, run);
    for (const auto &[segment, cover] : part.streamed) {
        const auto [at, is_new] = whole.streamed.emplace(segment, cover);
        // As wal-get chooses: the later writer, then who reaches farthest, and then one that lacks nothing.
        const auto rank = [](const TailCover &one) { return std::tuple(one.run.epoch, one.known_end, !one.hole); };
        if (!is_new && rank(at->second) < rank(cover))
            at->second = cover;
    }
    if (!whole.has_history && part.has_history) {
        whole.has_history = true;
        whole.ancestors = part.ancestors;
    }
}

} // namespace

Catalog unite(const std::vector<Catalog> &catalogs) {
    if (catalogs.size() == 1)
        return catalogs.front();
    Catalog whole;
    std::map<std::string, const CommitDocument *> backups;
    std::map<TimelineId, TimelineWal> timelines;
    for (const Catalog &part : catalogs) {
        whole.system_identifier = part.system_identifier;
        if (whole.segment_size == 0)
            whole.segment_size = part.segment_size;
        for (const CommitDocument &backup : part.backups)
            backups.emplace(backup.id, &backup);
        for (const TimelineWal &wal : part.timelines) {
            TimelineWal &entry = timelines[wal.timeline];
            entry.timeline = wal.timeline;
            add(entry, wal);
        }
        if (part.epochs.size() > whole.epochs.size())
            whole.epochs = part.epochs;
        for (const auto &[id, keep] : part.keeps)
            whole.keeps.emplace(id, keep);
        whole.unreadable.insert(whole.unreadable.end(), part.unreadable.begin(), part.unreadable.end());
    }
    for (const auto &[id, backup] : backups)
        whole.backups.push_back(*backup);
    for (auto &[id, wal] : timelines) {
        std::erase_if(wal.streamed,
                      [&runs = wal.runs](const auto &entry) { return find_run(runs, entry.first) != nullptr; });
        whole.timelines.push_back(std::move(wal));
    }
    return whole;
}

} // namespace pgvigil
