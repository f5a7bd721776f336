#include "repo/writer_agreement.h"

#include "repo/wal_comparison.h"

#include <algorithm>
#include <vector>

namespace pgvigil {

namespace {

// Whether the histories may differ before everything that is in pg_wal: an epoch began there that this server has not
// held, nor the one it is a copy of.
bool may_differ_before(const OpenedRepositories &repositories, const ClaimInput &input, uint64_t held_epoch,
                       Lsn first) {
    return std::any_of(repositories.opened.begin(), repositories.opened.end(), [&](const OpenedRepository &opened) {
        return std::any_of(opened.epochs.begin(), opened.epochs.end(), [&](const EpochDocument &epoch) {
            return epoch.number > held_epoch && epoch.timeline == input.timeline && epoch.lsn < first;
        });
    });
}

} // namespace

std::optional<Agreement> find_agreement(const ClaimInput &input, const OpenedRepositories &repositories,
                                        uint64_t held_epoch, const CancelToken &cancel) {
    LocalWal local(input);
    std::vector<WalEvidence> all;
    for (const OpenedRepository &opened : repositories.opened)
        if (opened.document)
            if (const auto evidence =
                    compare_history(*opened.handle(input.system_identifier), opened.epochs, input, local, cancel))
                all.push_back(*evidence);
    if (all.empty())
        return std::nullopt;
    const Lsn first = segment_start(local.first(), input.segment_size);
    if (may_differ_before(repositories, input, held_epoch, first))
        for (WalEvidence &evidence : all)
            if (!evidence.certain)
                evidence.proven.reset();
    // One that only lags says nothing against what another proves.
    std::optional<Lsn> proven;
    for (const WalEvidence &evidence : all)
        if (evidence.proven)
            proven = std::max(proven.value_or(*evidence.proven), *evidence.proven);
    if (!proven)
        return Agreement{
            first, std::any_of(all.begin(), all.end(), [](const WalEvidence &one) { return one.has_wal_before; })};
    // The same epoch holds in all of them: what one holds differently every one gets once more.
    Lsn start = *proven;
    for (const WalEvidence &evidence : all)
        if (evidence.differs)
            start = std::min(start, segment_start(*evidence.differs, input.segment_size));
    return Agreement{start, false};
}

} // namespace pgvigil
