#include "plan/chains.h"

#include "plan/abandoned.h"
#include "plan/recovery_windows.h"

#include <algorithm>
#include <map>

namespace pgvigil {

namespace {

template <class T> void add_sorted(std::vector<T> &values, const T &value) {
    const auto at = std::lower_bound(values.begin(), values.end(), value);
    if (at == values.end() || *at != value)
        values.insert(at, value);
}

} // namespace

std::string chain_of(const CommitDocument &backup) {
    return backup.full || backup.parents.empty() ? backup.id : backup.parents.back();
}

std::optional<std::string> why_not_restorable(const Catalog &catalog, const CommitDocument &backup) {
    for (const std::string &parent : backup.parents)
        if (catalog.backup(parent) == nullptr)
            return "backup " + parent + " that it is built on is missing";
    if (const EpochDocument *epoch = abandoned_by(catalog, backup))
        return "its history was given up: " + describe_abandoned(*epoch);
    const auto path = path_to(catalog, backup.stop_timeline);
    if (!path || !is_on_path(backup, *path))
        return "the history of timeline " + std::to_string(backup.stop_timeline) + " is missing or does not hold it";
    if (usable_reach(catalog, *path, backup).end < backup.stop_lsn)
        return "the WAL that makes it consistent is missing";
    return std::nullopt;
}

bool is_restorable(const Catalog &catalog, const CommitDocument &backup) {
    return !why_not_restorable(catalog, backup);
}

std::vector<BackupChain> backup_chains(const Catalog &catalog) {
    std::map<std::string, BackupChain> chains;
    for (const CommitDocument &backup : catalog.backups) {
        BackupChain &chain = chains[chain_of(backup)];
        if (chain.backups.empty()) {
            chain.id = chain_of(backup);
            chain.from_ms = backup.stopped_ms;
        }
        chain.backups.push_back(backup.id);
        add_sorted(chain.timelines, backup.stop_timeline);
        chain.to_ms = std::max(chain.to_ms, backup.stopped_ms);
        chain.logical_bytes = backup.totals.logical_bytes;
        chain.stored_bytes += backup.totals.stored_bytes;
        for (const std::string &parent : backup.parents)
            if (catalog.backup(parent) == nullptr)
                add_sorted(chain.missing, parent);
        if (is_restorable(catalog, backup))
            chain.usable.push_back(backup.id);
    }
    std::vector<BackupChain> sorted;
    for (auto &[id, chain] : chains)
        sorted.push_back(std::move(chain));
    return sorted;
}

std::vector<std::string> children_of(const Catalog &catalog, const CommitDocument &backup) {
    std::vector<std::string> children;
    for (const CommitDocument &other : catalog.backups)
        if (std::find(other.parents.begin(), other.parents.end(), backup.id) != other.parents.end())
            children.push_back(other.id);
    return children;
}

} // namespace pgvigil
