// What the archiver has stored since the catalog's file was written, in shared memory: views show both together.
// Threading: main threads only, below the shared lock.
#pragma once

#include "server/pg.h"

#include <cstdint>

namespace pgvigil {

inline constexpr unsigned kArchivedRuns = 64;

// Segments that this server archived one after another.
struct ArchivedRun {
    TimeLineID timeline;
    uint64_t first;
    uint64_t last;
    uint64_t sequence;     // of the last one
    int64_t last_time_us;  // of the last transaction in the last one, µs since 1970; 0 where it is not known
    TimestampTz stored_at; // the last one
};

// In shared memory, below its lock. All zero at first.
struct SharedCatalog {
    uint64_t sequence;   // counts segments archived
    uint64_t shown_from; // what has a higher sequence may be missing in the file
    uint64_t next_run;   // counts runs begun; a run's place is this modulo kArchivedRuns
    ArchivedRun runs[kArchivedRuns];
    uint64_t next_ticket;
    uint64_t published; // the ticket of the reading that the file holds; 0: none since the server started
    TimestampTz published_at;
};

// Notes a segment that is in every repository now.
void note_archived(SharedCatalog &catalog, TimeLineID timeline, uint64_t segment, int64_t last_time_us) noexcept;

} // namespace pgvigil
