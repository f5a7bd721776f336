// What expiry does with the indexes of WAL and backups: marks of WAL that goes, before the first segment is deleted,
// and index objects that nothing needs any more. Used by transfer/expire. Threading: blocks. Errors: what the store
// throws.
#pragma once

#include "repo/expired_wal.h"
#include "transfer/expire_wal.h"

namespace pgvigil {

// From now on no catalog shows these segments (repo/expired_wal.h). A mark reaches down to the WAL that stays, so that
// it contains those of earlier runs. `epoch`: the highest that is known.
// Returns the marks that were not there before.
std::vector<ExpiredWal> mark_doomed_wal(const Repository &repository, const std::vector<DoomedWal> &doomed,
                                        const RetentionPlan &plan, uint64_t epoch, const CancelToken &cancel);

// `catalog`: the backups that still exist.
[[nodiscard]] std::vector<DoomedObject> needless_index_objects(const Repository &repository, const Catalog &catalog,
                                                               const CancelToken &cancel);

} // namespace pgvigil
