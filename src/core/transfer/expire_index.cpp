#include "transfer/expire_index.h"

#include "repo/commit_index.h"
#include "repo/expired_wal.h"

#include <algorithm>

namespace pgvigil {

void mark_doomed_wal(const Repository &repository, const std::vector<DoomedWal> &doomed, const RetentionPlan &plan,
                     const CancelToken &cancel) {
    for (const DoomedWal &range : doomed) {
        uint64_t first = 0;
        if (const auto kept = plan.kept.find(range.timeline); kept != plan.kept.end())
            for (const KeptWal &wal : kept->second)
                if (wal.last < range.first)
                    first = std::max(first, wal.last + 1);
        mark_wal_expired(repository, {range.timeline, {first, range.last}}, cancel);
    }
}

std::vector<DoomedObject> needless_index_objects(const Repository &repository, const std::vector<std::string> &backups,
                                                 const CancelToken &cancel) {
    std::vector<DoomedObject> needless;
    for (std::string &key : list_needless_wal_index(repository, cancel))
        needless.push_back({std::move(key), 0});
    for (std::string &key : list_needless_commit_index(repository, backups, cancel))
        needless.push_back({std::move(key), 0});
    return needless;
}

} // namespace pgvigil
