// The path of timelines that recovery to a timeline replays, and which segments of it are there.
// Source: access/timeline.c (readTimeLineHistory), access/xlogrecovery.c (XLogFileReadAnyTLI: of the path's timelines
// the newest whose start lies at or before a segment is the one it is read from). Threading: pure functions and values.
#pragma once

#include "repo/catalog.h"

#include <optional>
#include <vector>

namespace pgvigil {

struct TimelineStep {
    TimelineId timeline = 0;
    Lsn start; // where the one before ends, whether that is on the path or not; 0 where the cluster began
    Lsn end;   // where the next begins; invalid (0) for the last: open
};

using TimelinePath = std::vector<TimelineStep>; // oldest first

// nullopt when the catalog has neither WAL nor a backup of the timeline, or its history file is missing. Where an
// ancestor was taken over before the path leaves it, by an epoch later than the first of a timeline that came of it,
// its WAL is another history's: the path begins with the timeline behind it, at the switch. What begins there can be
// restored.
[[nodiscard]] std::optional<TimelinePath> path_to(const Catalog &catalog, TimelineId timeline);

// Whether `backup` was taken on this path: each of its positions lies on the path's timeline of that position.
[[nodiscard]] bool is_on_path(const CommitDocument &backup, const TimelinePath &path);

// The path up to `end`: timelines that begin behind it are not entered.
[[nodiscard]] TimelinePath path_up_to(TimelinePath path, Lsn end);

// The timeline that the segment is read from.
[[nodiscard]] TimelineId owner_of_segment(const TimelinePath &path, uint64_t segment, uint64_t segment_size);

struct Reach {
    TimelineId timeline = 0; // the one the end lies on
    Lsn end;                 // every byte before it is there; == from when nothing is
};
// How far WAL is contiguous along the path, beginning with the segment that holds `from`: complete segments and what
// was streamed of others. Where a timeline has nothing of the segment it began in, its ancestor's bytes before the
// switch are the last.
[[nodiscard]] Reach contiguous_reach(const Catalog &catalog, const TimelinePath &path, Lsn from);

// The timelines of the catalog, ascending, that have a complete path.
[[nodiscard]] std::vector<TimelineId> reachable_timelines(const Catalog &catalog);

} // namespace pgvigil
