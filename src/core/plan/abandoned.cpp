#include "plan/abandoned.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr const char *kPromotion = "promotion";

// Whether `backup` has something of the timeline behind `lsn`.
bool reaches_behind(const CommitDocument &backup, TimelineId timeline, Lsn lsn) {
    if (backup.stop_timeline == timeline && lsn < backup.stop_lsn)
        return true;
    if (backup.start_timeline == timeline && lsn < backup.start_lsn)
        return true;
    return std::any_of(backup.wal_ranges.begin(), backup.wal_ranges.end(),
                       [&](const WalRange &range) { return range.timeline == timeline && lsn < range.end; });
}

} // namespace

bool gives_up_history(const std::vector<EpochDocument> &epochs, const EpochDocument &epoch) {
    if (epoch.number <= 1)
        return false;
    // Standbys that follow may have made backups of the new timeline before its server claimed the epoch.
    return epoch.reason != kPromotion || std::any_of(epochs.begin(), epochs.end(), [&](const EpochDocument &other) {
               return other.timeline == epoch.timeline && other.number < epoch.number;
           });
}

const EpochDocument *abandoned_by(const std::vector<EpochDocument> &epochs, const CommitDocument &backup) {
    const auto found = std::find_if(epochs.begin(), epochs.end(), [&](const EpochDocument &epoch) {
        return epoch.number > backup.epoch && reaches_behind(backup, epoch.timeline, epoch.lsn) &&
               gives_up_history(epochs, epoch);
    });
    return found == epochs.end() ? nullptr : &*found;
}

const EpochDocument *abandoned_by(const Catalog &catalog, const CommitDocument &backup) {
    if (const EpochDocument *epoch = abandoned_by(catalog.epochs, backup))
        return epoch;
    for (const std::string &id : backup.parents)
        if (const CommitDocument *parent = catalog.backup(id))
            if (const EpochDocument *epoch = abandoned_by(catalog.epochs, *parent))
                return epoch;
    return nullptr;
}

std::string describe_abandoned(const EpochDocument &epoch) {
    return fmt::format("epoch {} began at {} on timeline {}, before its end", epoch.number, to_string(epoch.lsn),
                       epoch.timeline);
}

} // namespace pgvigil
