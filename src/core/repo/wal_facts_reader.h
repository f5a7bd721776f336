// Reads what the repository knows of single WAL segments: from index objects where the catalog names some, else from
// the objects' headers, several at once, each with one small range read; of what was only streamed, from the pieces.
// What was read is kept for the reader's life,
// of index objects the last few. Threading: one owner calls; header reads run in threads of its own.
#pragma once

#include "base/cancel.h"
#include "base/lsn.h"
#include "pgdata/wal_scan.h"
#include "repo/catalog.h"
#include "repo/repository.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace pgvigil {

class WalFactsReader {
  public:
    // `cancel` and `repository` must outlive the reader. Headers only.
    WalFactsReader(const Repository &repository, uint64_t segment_size, const CancelToken &cancel);
    // `catalog` must outlive the reader too.
    WalFactsReader(const Repository &repository, const Catalog &catalog, const CancelToken &cancel);
    ~WalFactsReader();

    void expect(TimelineId timeline, uint64_t first, uint64_t last);
    [[nodiscard]] std::optional<WalScanSummary> facts(TimelineId timeline, uint64_t segment);
    // The same, with the name that holds; nullopt when the segment is absent.
    [[nodiscard]] std::optional<IndexedSegment> indexed(TimelineId timeline, uint64_t segment);
    // What is known of the segments around this one, without a request.
    [[nodiscard]] std::optional<WalBlock> block(TimelineId timeline, uint64_t segment) const;
    [[nodiscard]] std::vector<TransactionEnd> transaction_ends(TimelineId timeline, uint64_t segment);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace pgvigil
