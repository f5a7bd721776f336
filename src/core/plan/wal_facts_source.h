// What planning asks about single WAL segments. The planners themselves do no I/O: they ask through this interface.
// Threading: called from one thread.
#pragma once

#include "base/lsn.h"
#include "pgdata/wal_scan.h"
#include "repo/wal_index.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace pgvigil {

class WalFactsSource {
  public:
    virtual ~WalFactsSource() = default;

    // Announces that facts of the segments [first, last] will be asked for soon, in any order.
    virtual void expect(TimelineId timeline, uint64_t first, uint64_t last) = 0;
    // What the segment's header says about its records; nullopt when the segment is absent or says nothing.
    virtual std::optional<WalScanSummary> facts(TimelineId timeline, uint64_t segment) = 0;
    // What is known, without a request, of the stored segments around this one as a whole.
    virtual std::optional<WalBlock> block(TimelineId /*timeline*/, uint64_t /*segment*/) { return std::nullopt; }
    // Every transaction that ends in the segment, from its bytes; records that began in the segment before included.
    virtual std::vector<TransactionEnd> transaction_ends(TimelineId timeline, uint64_t segment) = 0;
};

} // namespace pgvigil
