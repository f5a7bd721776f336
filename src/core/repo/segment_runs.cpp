#include "repo/segment_runs.h"

#include <algorithm>

namespace pgvigil {

namespace {

// The first run that ends at or behind `segment`.
SegmentRuns::iterator first_from(SegmentRuns &runs, uint64_t segment) {
    return std::lower_bound(runs.begin(), runs.end(), segment,
                            [](const SegmentRun &run, uint64_t value) { return run.last < value; });
}

} // namespace

void add_run(SegmentRuns &runs, SegmentRun run) {
    // Runs that touch become one: the neighbour just before counts as well.
    const auto begin = first_from(runs, run.first == 0 ? 0 : run.first - 1);
    auto end = begin;
    while (end != runs.end() && (end->first <= run.last || end->first - 1 == run.last)) {
        run.first = std::min(run.first, end->first);
        run.last = std::max(run.last, end->last);
        ++end;
    }
    if (begin == end) {
        runs.insert(begin, run);
        return;
    }
    *begin = run;
    runs.erase(begin + 1, end);
}

void cut_run(SegmentRuns &runs, SegmentRun run) {
    const auto begin = first_from(runs, run.first);
    auto end = begin;
    SegmentRuns rest;
    for (; end != runs.end() && end->first <= run.last; ++end) {
        if (end->first < run.first)
            rest.push_back({end->first, run.first - 1});
        if (end->last > run.last)
            rest.push_back({run.last + 1, end->last});
    }
    runs.insert(runs.erase(begin, end), rest.begin(), rest.end());
}

SegmentRuns holes_in(const SegmentRuns &runs, SegmentRun whole) {
    SegmentRuns holes{whole};
    for (const SegmentRun &run : runs)
        cut_run(holes, run);
    return holes;
}

const SegmentRun *find_run(const SegmentRuns &runs, uint64_t segment) noexcept {
    const auto found = std::lower_bound(runs.begin(), runs.end(), segment,
                                        [](const SegmentRun &run, uint64_t value) { return run.last < value; });
    return found == runs.end() || found->first > segment ? nullptr : &*found;
}

} // namespace pgvigil
