#include "transfer/restore_planning.h"

#include "base/error.h"
#include "plan/catalog_union.h"
#include "transfer/restore_facts.h"

#include <optional>
#include <type_traits>

namespace pgvigil {

namespace {

// Asks the repositories that have a segment, one after the other, until one answers.
class UnitedWalFacts final : public WalFactsSource {
  public:
    UnitedWalFacts(const std::vector<PlanSource> &sources, const CancelToken &cancel) : sources_(sources) {
        for (const PlanSource &source : sources)
            facts_.push_back(std::make_unique<RepositoryWalFacts>(*source.repository, source.catalog, cancel));
    }

    void expect(TimelineId timeline, uint64_t first, uint64_t last) override {
        for (size_t i = 0; i < sources_.size(); ++i)
            if (has(i, timeline, first) || has(i, timeline, last)) {
                try {
                    facts_[i]->expect(timeline, first, last);
                    return;
                } catch (const Error &error) {
                    if (error.code() == ErrorCode::kCancelled || i + 1 == sources_.size())
                        throw;
                }
            }
    }
    std::optional<WalScanSummary> facts(TimelineId timeline, uint64_t segment) override {
        return ask(timeline, segment, [&](RepositoryWalFacts &facts) { return facts.facts(timeline, segment); });
    }
    std::vector<TransactionEnd> transaction_ends(TimelineId timeline, uint64_t segment) override {
        return ask(timeline, segment,
                   [&](RepositoryWalFacts &facts) { return facts.transaction_ends(timeline, segment); });
    }
    std::optional<WalBlock> block(TimelineId timeline, uint64_t segment) override {
        for (size_t i = 0; i < sources_.size(); ++i)
            if (has(i, timeline, segment))
                return facts_[i]->block(timeline, segment);
        return std::nullopt;
    }

  private:
    [[nodiscard]] bool has(size_t source, TimelineId timeline, uint64_t segment) const {
        const TimelineWal *wal = sources_[source].catalog.timeline(timeline);
        return wal != nullptr && find_run(wal->runs, segment) != nullptr;
    }

    template <class Ask>
    std::invoke_result_t<Ask, RepositoryWalFacts &> ask(TimelineId timeline, uint64_t segment, Ask &&ask_one) {
        std::optional<Error> failure;
        for (size_t i = 0; i < sources_.size(); ++i) {
            if (!has(i, timeline, segment))
                continue;
            try {
                return ask_one(*facts_[i]);
            } catch (const Error &error) {
                if (error.code() == ErrorCode::kCancelled)
                    throw;
                failure = error;
            }
        }
        if (failure)
            throw Error(*failure);
        return {};
    }

    const std::vector<PlanSource> &sources_;
    std::vector<std::unique_ptr<RepositoryWalFacts>> facts_;
};

bool wal_goes_on(const Catalog &catalog, const RestorePlan &plan) {
    const TimelineWal *wal = catalog.timeline(plan.target_timeline);
    return wal != nullptr && !wal->runs.empty() && plan.wal_to.is_valid() &&
           wal->runs.back().last > segment_before(plan.wal_to, catalog.segment_size);
}

} // namespace

PlannedRestore plan_over(const std::vector<PlanSource> &sources, const RestoreRequest &request,
                         const CancelToken &cancel) {
    std::vector<Catalog> catalogs;
    for (const PlanSource &source : sources)
        catalogs.push_back(source.catalog);
    PlannedRestore planned;
    planned.catalog = unite(catalogs);
    UnitedWalFacts facts(sources, cancel);
    planned.plan = plan_restore(planned.catalog, request, facts);
    const bool to_the_end = planned.plan.to_planned_end || std::holds_alternative<LatestTarget>(request.target);
    planned.goes_on = to_the_end && wal_goes_on(planned.catalog, planned.plan);
    return planned;
}

} // namespace pgvigil
