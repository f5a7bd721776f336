// Sets of WAL segments as runs: sorted, without overlap, not touching. Threading: pure functions.
#pragma once

#include <cstdint>
#include <vector>

namespace pgvigil {

// Segments without a hole between them; both ends belong to it.
struct SegmentRun {
    uint64_t first = 0;
    uint64_t last = 0;

    friend bool operator==(const SegmentRun &, const SegmentRun &) = default;
};

using SegmentRuns = std::vector<SegmentRun>;

// Adds every segment of `run`.
void add_run(SegmentRuns &runs, SegmentRun run);
// Takes every segment of `run` away.
void cut_run(SegmentRuns &runs, SegmentRun run);
// The segments of `whole` that are in none of `runs`.
[[nodiscard]] SegmentRuns holes_in(const SegmentRuns &runs, SegmentRun whole);
// The run that holds `segment`; nullptr when none does.
[[nodiscard]] const SegmentRun *find_run(const SegmentRuns &runs, uint64_t segment) noexcept;

} // namespace pgvigil
