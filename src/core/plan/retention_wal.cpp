#include "plan/retention_wal.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr const char *kNotNeeded = "no recovery window and no kept backup needs it";

// Lays the stretches over each other: ascending, not overlapping, the earlier one's reason where several hold.
std::vector<KeptWal> flatten(const std::vector<KeptWal> &needs) {
    std::vector<uint64_t> starts; // where the answer may change
    for (const KeptWal &need : needs) {
        starts.push_back(need.first);
        if (need.last != kOpenEnd)
            starts.push_back(need.last + 1);
    }
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    std::vector<KeptWal> flat;
    for (size_t i = 0; i < starts.size(); ++i) {
        const uint64_t first = starts[i];
        const auto holder = std::find_if(needs.begin(), needs.end(), [first](const KeptWal &need) {
            return need.first <= first && first <= need.last;
        });
        if (holder == needs.end())
            continue;
        const uint64_t last = i + 1 < starts.size() ? starts[i + 1] - 1 : kOpenEnd;
        if (!flat.empty() && flat.back().last + 1 == first && flat.back().reason == holder->reason)
            flat.back().last = last;
        else
            flat.push_back({first, last, holder->reason});
    }
    return flat;
}

} // namespace

void WalNeeds::add(TimelineId timeline, uint64_t first, uint64_t last, const std::string &reason) {
    needs_[timeline].push_back({first, last, reason});
}

void WalNeeds::add_path(const TimelinePath &path, Lsn from, const std::string &reason) {
    for (const TimelineStep &step : path) {
        if (step.end.is_valid() && step.end < from)
            continue;
        // The segment that holds a switch point may be read from either side.
        add(step.timeline, segment_of(std::max(from, step.start), segment_size_),
            step.end.is_valid() ? segment_of(step.end, segment_size_) : kOpenEnd, reason);
    }
}

void WalNeeds::add_backup(const Catalog &catalog, const CommitDocument &backup, const std::string &reason) {
    for (const WalRange &range : backup.wal_ranges)
        add(range.timeline, segment_of(range.start, segment_size_), segment_of(range.end, segment_size_), reason);
    const uint64_t first = segment_of(backup.start_lsn, segment_size_);
    const uint64_t last = segment_of(backup.stop_lsn, segment_size_);
    if (backup.wal_ranges.empty()) {
        add(backup.start_timeline, first, last, reason);
        add(backup.stop_timeline, first, last, reason);
    }
    for (const TimelineId timeline : reachable_timelines(catalog)) {
        const TimelinePath path = *path_to(catalog, timeline);
        if (is_on_path(backup, path))
            for (uint64_t segment = first; segment <= last; ++segment)
                add(owner_of_segment(path, segment, segment_size_), segment, segment, reason);
    }
}

std::map<TimelineId, std::vector<KeptWal>> WalNeeds::result() const {
    std::map<TimelineId, std::vector<KeptWal>> kept;
    for (const auto &[timeline, needs] : needs_)
        kept.emplace(timeline, flatten(needs));
    return kept;
}

std::vector<WalVerdict> judge_wal(const Catalog &catalog, const std::map<TimelineId, std::vector<KeptWal>> &kept) {
    std::vector<WalVerdict> verdicts;
    for (const TimelineWal &wal : catalog.timelines) {
        const auto found = kept.find(wal.timeline);
        const std::vector<KeptWal> none;
        const std::vector<KeptWal> &stays = found == kept.end() ? none : found->second;
        for (const SegmentRun &run : wal.runs) {
            uint64_t next = run.first;
            for (const KeptWal &need : stays) {
                if (need.last < next || need.first > run.last)
                    continue;
                if (need.first > next)
                    verdicts.push_back({wal.timeline, next, need.first - 1, false, kNotNeeded});
                const uint64_t first = std::max(next, need.first);
                const uint64_t last = std::min(run.last, need.last);
                verdicts.push_back({wal.timeline, first, last, true, need.reason});
                next = last + 1;
            }
            if (next <= run.last)
                verdicts.push_back({wal.timeline, next, run.last, false, kNotNeeded});
        }
    }
    return verdicts;
}

} // namespace pgvigil
