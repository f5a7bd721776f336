#include "plan/backup_kind.h"

#include "plan/abandoned.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr unsigned kVersionsPerMajor = 10000; // PG_VERSION_NUM

const CommitDocument *find_backup(const std::vector<CommitDocument> &backups, const std::string &id) {
    const auto found =
        std::find_if(backups.begin(), backups.end(), [&](const CommitDocument &backup) { return backup.id == id; });
    return found == backups.end() ? nullptr : &*found;
}

std::optional<std::string> history_objection(const CommitDocument &backup, const ClusterFacts &now) {
    if (const EpochDocument *epoch = abandoned_by(now.epochs, backup))
        return fmt::format("Backup {} is of a history that was given up: {}.", backup.id, describe_abandoned(*epoch));
    return std::nullopt;
}

// Where the history breaks, nothing shows that the parent's blocks are of this server's history.
std::optional<std::string> break_objection(const CommitDocument &parent, const ClusterFacts &now) {
    const auto holds_for = [&](const EpochDocument &epoch) {
        if (!epoch.breaks || epoch.number <= parent.epoch || epoch.timeline != parent.stop_timeline ||
            epoch.lsn < parent.stop_lsn)
            return false;
        return parent.stop_timeline == now.timeline ||
               std::any_of(now.ancestors.begin(), now.ancestors.end(), [&](const TimelineSwitch &step) {
                   return step.timeline == epoch.timeline && epoch.lsn <= step.end;
               });
    };
    const auto found = std::find_if(now.epochs.begin(), now.epochs.end(), holds_for);
    if (found == now.epochs.end())
        return std::nullopt;
    return fmt::format("Backup {} ends before {} on timeline {}, where the history breaks.", parent.id,
                       to_string(found->lsn), found->timeline);
}

// Blocks of the parent that were written after the cluster left its timeline would be taken for the cluster's own.
std::optional<std::string> timeline_objection(const CommitDocument &parent, const ClusterFacts &now) {
    if (parent.stop_timeline == now.timeline) {
        if (parent.stop_lsn <= now.start_lsn)
            return std::nullopt;
        return fmt::format("Backup {} ends at {}, behind the cluster's {}.", parent.id, to_string(parent.stop_lsn),
                           to_string(now.start_lsn));
    }
    const auto ancestor = std::find_if(now.ancestors.begin(), now.ancestors.end(), [&](const TimelineSwitch &step) {
        return step.timeline == parent.stop_timeline;
    });
    if (ancestor == now.ancestors.end())
        return fmt::format("Backup {} was made on timeline {}, which is no ancestor of timeline {}.", parent.id,
                           parent.stop_timeline, now.timeline);
    if (parent.stop_lsn > ancestor->end)
        return fmt::format("Backup {} ends at {}, after timeline {} was left at {}.", parent.id,
                           to_string(parent.stop_lsn), parent.stop_timeline, to_string(ancestor->end));
    return std::nullopt;
}

std::optional<std::string> chain_objection(const CommitDocument &parent, const std::vector<CommitDocument> &backups,
                                           const std::set<std::string, std::less<>> &expired, const ClusterFacts &now) {
    for (const std::string &id : parent.parents) {
        if (expired.contains(id))
            return fmt::format("Backup {} builds on {}, which is being expired.", parent.id, id);
        const CommitDocument *ancestor = find_backup(backups, id);
        if (ancestor == nullptr)
            return fmt::format("Backup {} builds on {}, which is missing.", parent.id, id);
        if (auto objection = history_objection(*ancestor, now))
            return objection;
    }
    return std::nullopt;
}

KindDecision full_because(std::string reason) {
    KindDecision decision;
    decision.reason = std::move(reason);
    return decision;
}

// The first backup of the chain without block hashes.
const CommitDocument *without_hashes(const CommitDocument &parent, const std::vector<CommitDocument> &backups) {
    if (!parent.block_hashes)
        return &parent;
    for (const std::string &id : parent.parents)
        if (const CommitDocument *backup = find_backup(backups, id); backup == nullptr || !backup->block_hashes)
            return backup == nullptr ? &parent : backup;
    return nullptr;
}

} // namespace

std::optional<WantedKind> parse_wanted_kind(std::string_view text) noexcept {
    if (text == "auto")
        return WantedKind::kAuto;
    if (text == "full")
        return WantedKind::kFull;
    if (text == "incremental")
        return WantedKind::kIncremental;
    return std::nullopt;
}

std::optional<std::string> objection_to(const CommitDocument &parent, const ClusterFacts &now) {
    if (parent.system_identifier != now.system_identifier)
        return fmt::format("Backup {} is of the cluster with system identifier {}, not {}.", parent.id,
                           parent.system_identifier, now.system_identifier);
    if (parent.server_version / kVersionsPerMajor != now.major_version)
        return fmt::format("Backup {} was made by PostgreSQL {}, and this is {}.", parent.id,
                           parent.server_version / kVersionsPerMajor, now.major_version);
    if (parent.block_size != now.block_size || parent.relation_segment_blocks != now.relation_segment_blocks)
        return fmt::format("Backup {} has blocks of {} bytes and {} of them in a file, and the cluster {} and {}.",
                           parent.id, parent.block_size, parent.relation_segment_blocks, now.block_size,
                           now.relation_segment_blocks);
    if (parent.checksum_version != now.checksum_version)
        return fmt::format("Page checksums were turned {} since backup {}.", now.checksum_version != 0 ? "on" : "off",
                           parent.id);
    if (auto objection = history_objection(parent, now))
        return objection;
    if (auto objection = break_objection(parent, now))
        return objection;
    return timeline_objection(parent, now);
}

ParentChoice choose_parent(const std::vector<CommitDocument> &backups,
                           const std::set<std::string, std::less<>> &expired, const ClusterFacts &now) {
    ParentChoice choice;
    for (auto backup = backups.rbegin(); backup != backups.rend(); ++backup) {
        if (expired.contains(backup->id))
            continue;
        std::optional<std::string> objection = objection_to(*backup, now);
        if (!objection)
            objection = chain_objection(*backup, backups, expired, now);
        if (!objection) {
            choice.parent = &*backup;
            choice.reason.clear();
            return choice;
        }
        // What keeps the newest one from being used is what an operator wants to know.
        if (choice.reason.empty())
            choice.reason = std::move(*objection);
    }
    if (choice.reason.empty())
        choice.reason = "There is no backup to build on.";
    return choice;
}

KindDecision decide_kind(const KindRequest &request, const ParentChoice &choice,
                         const std::vector<CommitDocument> &backups) {
    if (request.wanted == WantedKind::kFull)
        return full_because("A full backup was asked for.");
    if (choice.parent == nullptr)
        return full_because(choice.reason);
    const CommitDocument &parent = *choice.parent;
    // `parents` holds the full backup as well: so many incrementals are in a row already.
    if (request.chain_max != 0 && parent.parents.size() >= request.chain_max)
        return full_because(fmt::format("The chain of backup {} has {} incremental backups, and the limit is {}.",
                                        parent.id, parent.parents.size(), request.chain_max));
    KindDecision decision;
    decision.full = false;
    decision.parents.push_back(parent.id);
    decision.parents.insert(decision.parents.end(), parent.parents.begin(), parent.parents.end());
    if (request.summaries_available) {
        decision.method = ChangeMethod::kSummaries;
        decision.reason = fmt::format("WAL summaries tell what changed since backup {}.", parent.id);
        return decision;
    }
    if (!request.block_hashes)
        return full_because(request.no_summaries_reason +
                            " \"pgvigil.block_hashes\" is off, so that blocks cannot be compared.");
    if (const CommitDocument *bare = without_hashes(parent, backups))
        return full_because(fmt::format("{} Backup {} has no hashes of its blocks to compare with.",
                                        request.no_summaries_reason, bare->id));
    decision.method = ChangeMethod::kHashes;
    decision.reason =
        fmt::format("{} All blocks are compared with the hashes of backup {}.", request.no_summaries_reason, parent.id);
    return decision;
}

} // namespace pgvigil
