#include "server/pg.h"

#include "server/catalog_overlay.h"

namespace pgvigil {

void note_archived(SharedCatalog &catalog, TimeLineID timeline, uint64_t segment, int64_t last_time_us) noexcept {
    ++catalog.sequence;
    ArchivedRun *run = &catalog.runs[(catalog.next_run + kArchivedRuns - 1) % kArchivedRuns];
    // What a listing has shown since, or not, is not to be mixed with what came after.
    const bool goes_on = catalog.next_run > 0 && run->timeline == timeline && run->last + 1 == segment &&
                         run->sequence > catalog.shown_from;
    if (!goes_on) {
        run = &catalog.runs[catalog.next_run++ % kArchivedRuns];
        run->timeline = timeline;
        run->first = segment;
        run->last_time_us = 0;
    }
    run->last = segment;
    run->sequence = catalog.sequence;
    if (last_time_us != 0)
        run->last_time_us = last_time_us;
    run->stored_at = GetCurrentTimestamp();
}

} // namespace pgvigil
