#include "server/pg.h"

#include "server/index_writer.h"

#include "server/repositories.h"
#include "server/waiting.h"

#include "repo/catalog_file.h"
#include "repo/commit_index.h"
#include "repo/wal_index_writer.h"

#include <limits>
#include <map>

namespace pgvigil {

namespace {

// Of each repository, how many backups there were when all of them that fill a document stood in one.
std::map<std::string, size_t> backups_indexed;

bool may_be_due(const KnownCatalog &known) {
    WalIndexLimits limits;
    limits.now_ms = std::numeric_limits<int64_t>::max();
    if (!due_wal_blocks(known.catalog, limits).empty())
        return true;
    const size_t backups = known.catalog.backups.size();
    return backups >= kCommitsPerIndex && backups_indexed[known.url] != backups;
}

// Returns how many objects were created.
size_t write_one(const Repository &repository, const KnownCatalog &known, const CancelToken &cancel) {
    WalIndexLimits limits;
    limits.now_ms = repository.store().clock_ms(cancel);
    const size_t written = write_due_wal_index(repository, known.catalog, limits, cancel);
    if (written > 0 || known.catalog.backups.size() < kCommitsPerIndex)
        return written;
    return write_due_commit_index(repository, known.catalog.backups, cancel);
}

} // namespace

bool write_due_indexes(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop) {
    auto known = read_catalog_file(facts.data_directory).value_or(std::vector<KnownCatalog>());
    std::erase_if(known, [](const KnownCatalog &entry) { return !may_be_due(entry); });
    if (known.empty())
        return false;
    return in_background(
        [&](const CancelToken &cancel) {
            size_t written = 0;
            for (const auto &repository : open_for_reading(settings, facts, cancel))
                for (const KnownCatalog &entry : known) {
                    if (entry.url != repository->url() || entry.repository_id != to_string(repository->id()))
                        continue;
                    const size_t here = write_one(*repository, entry, cancel);
                    if (here == 0)
                        backups_indexed[entry.url] = entry.catalog.backups.size();
                    written += here;
                }
            return written > 0;
        },
        stop);
}

} // namespace pgvigil
