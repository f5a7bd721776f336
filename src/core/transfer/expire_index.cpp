#include "transfer/expire_index.h"

#include "repo/commit_index.h"

#include <algorithm>

namespace pgvigil {

std::vector<ExpiredWal> mark_doomed_wal(const Repository &repository, const std::vector<DoomedWal> &doomed,
                                        const RetentionPlan &plan, uint64_t epoch, const CancelToken &cancel) {
    std::vector<ExpiredWal> created;
    for (const DoomedWal &range : doomed) {
        uint64_t first = 0;
        if (const auto kept = plan.kept.find(range.timeline); kept != plan.kept.end())
            for (const KeptWal &wal : kept->second)
                if (wal.last < range.first)
                    first = std::max(first, wal.last + 1);
        const ExpiredWal mark{range.timeline, {first, range.last}, epoch};
        if (mark_wal_expired(repository, mark, cancel))
            created.push_back(mark);
    }
    return created;
}

std::vector<DoomedObject> needless_index_objects(const Repository &repository, const Catalog &catalog,
                                                 const CancelToken &cancel) {
    std::vector<std::string> backups;
    for (const CommitDocument &backup : catalog.backups)
        backups.push_back(backup.id);
    std::vector<DoomedObject> needless;
    for (std::string &key : list_needless_wal_index(repository, catalog.epochs, catalog.segment_size, cancel))
        needless.push_back({std::move(key), 0});
    for (std::string &key : list_needless_commit_index(repository, backups, cancel))
        needless.push_back({std::move(key), 0});
    return needless;
}

} // namespace pgvigil
