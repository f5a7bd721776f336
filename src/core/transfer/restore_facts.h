// Lets planning ask a repository about its WAL.
// Threading: one thread. Errors: what the store throws.
#pragma once

#include "plan/wal_facts_source.h"
#include "repo/wal_facts_reader.h"

namespace pgvigil {

class RepositoryWalFacts final : public WalFactsSource {
  public:
    // `repository` and `cancel` must outlive it.
    RepositoryWalFacts(const Repository &repository, uint64_t segment_size, const CancelToken &cancel)
        : reader_(repository, segment_size, cancel) {}
    // With the catalog's index objects; `catalog` must outlive it too.
    RepositoryWalFacts(const Repository &repository, const Catalog &catalog, const CancelToken &cancel)
        : reader_(repository, catalog, cancel) {}

    void expect(TimelineId timeline, uint64_t first, uint64_t last) override { reader_.expect(timeline, first, last); }
    std::optional<WalScanSummary> facts(TimelineId timeline, uint64_t segment) override {
        return reader_.facts(timeline, segment);
    }
    std::optional<WalBlock> block(TimelineId timeline, uint64_t segment) override {
        return reader_.block(timeline, segment);
    }
    std::vector<TransactionEnd> transaction_ends(TimelineId timeline, uint64_t segment) override {
        return reader_.transaction_ends(timeline, segment);
    }

  private:
    WalFactsReader reader_;
};

} // namespace pgvigil
