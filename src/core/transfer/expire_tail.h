// What expiry may delete of the streamed tail (rules B7, D): pieces of segments that are stored complete or that
// nothing kept needs, and documents of runs that decide nothing any more. Nothing of a writer that began after the
// catalog was read. Used by transfer/expire. Threading: blocks.
#pragma once

#include "base/cancel.h"
#include "plan/retention.h"
#include "repo/repository.h"
#include "repo/tail.h"
#include "transfer/expire_delete.h"

#include <vector>

namespace pgvigil {

struct TailRemains {
    std::vector<DoomedObject> superseded; // pieces of complete segments
    std::vector<DoomedObject> old;        // pieces of segments that nothing needs
    std::vector<TimelineTail> tails;      // everything that was listed
};

[[nodiscard]] TailRemains find_tail_remains(const Repository &repository, const Catalog &catalog,
                                            const RetentionPlan &plan, const CancelToken &cancel);

// Pieces first, those of segments that nothing needs only where `old_goes`. Then documents of runs that are not the
// highest of their timeline, have no piece and end no earlier run that has one: without such a document what it had
// ended would count again.
void delete_tail_remains(const Repository &repository, const Catalog &catalog, const TailRemains &remains,
                         bool old_goes, Deleter &deleter, const CancelToken &cancel);

} // namespace pgvigil
