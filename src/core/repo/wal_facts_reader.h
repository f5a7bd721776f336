// Reads what WAL objects' headers say, several at once, each with one small range read, and keeps it for the reader's
// life. Threading: one owner calls; header reads run in threads of its own.
#pragma once

#include "base/cancel.h"
#include "base/lsn.h"
#include "pgdata/wal_scan.h"
#include "repo/repository.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace pgvigil {

class WalFactsReader {
  public:
    // `cancel` and `repository` must outlive the reader.
    WalFactsReader(const Repository &repository, uint64_t segment_size, const CancelToken &cancel);
    ~WalFactsReader();

    void expect(TimelineId timeline, uint64_t first, uint64_t last);
    [[nodiscard]] std::optional<WalScanSummary> facts(TimelineId timeline, uint64_t segment);
    [[nodiscard]] std::vector<TransactionEnd> transaction_ends(TimelineId timeline, uint64_t segment);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace pgvigil
