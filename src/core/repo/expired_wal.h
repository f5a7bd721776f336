// Marks of WAL that expiry takes away: walindex/expired/<tli>/<first>-<last>~<epoch>, segment numbers of 16 hexadecimal
// digits, both ends included, and the highest epoch when it was decided. From the segment on in which a later epoch
// begins on the timeline the mark says nothing: there the server was put back and writes other WAL. A mark is created
// before the first of its segments is deleted (as a backup's tombstone, rules D2): from then on the catalog shows none
// of them, whatever a listing or an index object still says, so that nothing is offered while it goes. A mark may be
// deleted once one that contains it exists; the marks of what is gone for good stay, because index objects may still
// speak of it. Threading: pure functions, but for those that take a Repository, which block.
#pragma once

#include "base/cancel.h"
#include "base/lsn.h"
#include "repo/documents.h"
#include "repo/repository.h"
#include "repo/segment_runs.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct ExpiredWal {
    TimelineId timeline = 0;
    SegmentRun segments;
    uint64_t epoch = 0;

    friend bool operator==(const ExpiredWal &, const ExpiredWal &) = default;
};

[[nodiscard]] std::string expired_wal_key(const ClusterLayout &layout, const ExpiredWal &mark);
// nullopt for a key that is not one of a mark.
[[nodiscard]] std::optional<ExpiredWal> parse_expired_wal_key(const ClusterLayout &layout, std::string_view key);

// Creates the mark; false when it is there already, which is as good.
bool mark_wal_expired(const Repository &repository, const ExpiredWal &mark, const CancelToken &cancel);
[[nodiscard]] std::vector<ExpiredWal> list_expired_wal(const Repository &repository, const CancelToken &cancel);

// What is expired, by timeline. `epochs`: all of the cluster; `segment_size` in bytes.
[[nodiscard]] std::map<TimelineId, SegmentRuns>
expired_runs(const std::vector<ExpiredWal> &marks, const std::vector<EpochDocument> &epochs, uint64_t segment_size);

// Keys below walindex/ that may be deleted because of the marks: index objects whose stored segments all lie in expired
// runs, older generations and index objects that one of a larger span replaces, and marks that another contains.
[[nodiscard]] std::vector<std::string> list_needless_wal_index(const Repository &repository,
                                                               const std::vector<EpochDocument> &epochs,
                                                               uint64_t segment_size, const CancelToken &cancel);

} // namespace pgvigil
