#include "transfer/restore_planning.h"

#include "base/error.h"
#include "plan/catalog_union.h"
#include "repo/epochs.h"
#include "transfer/restore_facts.h"

#include <algorithm>
#include <optional>
#include <type_traits>

namespace pgvigil {

namespace {

// Asks the repositories that have a segment, one after the other, until one answers.
class UnitedWalFacts final : public WalFactsSource {
  public:
    // `whole`: the sources' catalogs united.
    UnitedWalFacts(const std::vector<PlanSource> &sources, const Catalog &whole, const CancelToken &cancel)
        : sources_(sources), whole_(whole) {
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
        return wal != nullptr && (find_run(wal->runs, segment) != nullptr || has_streamed(*wal, segment));
    }

    // Of a segment that nobody has complete, who has what counts.
    [[nodiscard]] bool has_streamed(const TimelineWal &wal, uint64_t segment) const {
        const TimelineWal *whole = whole_.timeline(wal.timeline);
        if (whole == nullptr)
            return false;
        const auto best = whole->streamed.find(segment);
        const auto own = wal.streamed.find(segment);
        return best != whole->streamed.end() && own != wal.streamed.end() &&
               own->second.run.epoch == best->second.run.epoch && own->second.end == best->second.end;
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
    const Catalog &whole_;
    std::vector<std::unique_ptr<RepositoryWalFacts>> facts_;
};

bool wal_goes_on(const Catalog &catalog, const RestorePlan &plan) {
    const TimelineWal *wal = catalog.timeline(plan.target_timeline);
    if (wal == nullptr || !plan.wal_to.is_valid())
        return false;
    const uint64_t last = segment_before(plan.wal_to, catalog.segment_size);
    return (!wal->runs.empty() && wal->runs.back().last > last) ||
           (!wal->streamed.empty() && wal->streamed.rbegin()->first > last);
}

// Whether the plan ends where somebody took over who has stored nothing yet, and a former writer's segments lie behind:
// they do not count (rules C2).
bool former_wal_goes_on(const Catalog &catalog, const RestorePlan &plan) {
    const TimelineWal *wal = catalog.timeline(plan.target_timeline);
    if (wal == nullptr || !plan.wal_to.is_valid())
        return false;
    const auto ruling = [&](uint64_t segment) {
        return lowest_accepted_epoch(catalog.epochs, wal->timeline, segment, catalog.segment_size);
    };
    const uint64_t last = segment_before(plan.wal_to, catalog.segment_size);
    return std::any_of(wal->header_epochs.upper_bound(last), wal->header_epochs.end(),
                       [&](const auto &entry) { return ruling(entry.first) > std::max(entry.second, ruling(last)); });
}

} // namespace

PlannedRestore plan_over(const std::vector<PlanSource> &sources, const RestoreRequest &request,
                         const CancelToken &cancel) {
    std::vector<Catalog> catalogs;
    for (const PlanSource &source : sources)
        catalogs.push_back(source.catalog);
    PlannedRestore planned;
    planned.catalog = unite(catalogs);
    UnitedWalFacts facts(sources, planned.catalog, cancel);
    planned.plan = plan_restore(planned.catalog, request, facts);
    const bool to_the_end = planned.plan.to_planned_end || std::holds_alternative<LatestTarget>(request.target);
    planned.goes_on = to_the_end && (wal_goes_on(planned.catalog, planned.plan) ||
                                     std::any_of(catalogs.begin(), catalogs.end(), [&](const Catalog &catalog) {
                                         return former_wal_goes_on(catalog, planned.plan);
                                     }));
    return planned;
}

} // namespace pgvigil
