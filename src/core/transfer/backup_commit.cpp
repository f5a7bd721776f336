#include "transfer/backup_commit.h"

#include "base/error.h"
#include "base/wal_name.h"
#include "repo/tombstones.h"
#include "transfer/wal_presence.h"

#include <fmt/format.h>
#include <map>

namespace pgvigil {

namespace {

// The store may lag behind with WAL; what it has may not be going.
void check_wal(const Repository &repository, const CommitDocument &document, const std::set<std::string> &own_wal,
               const CancelToken &cancel) {
    if (!is_valid_segment_size(document.wal_segment_size))
        return;
    const WalNeed need{document.wal_ranges, document.wal_segment_size, 0};
    for (const std::string &name : expired_segments(repository, need, SIZE_MAX, cancel))
        if (!own_wal.contains(name))
            throw Error(ErrorCode::kConflict, fmt::format("\"{}\" expires WAL file \"{}\", which backup {} needs",
                                                          repository.url(), name, document.id));
}

// Expiry of another server may have taken this backup for one that died (rules D2).
void commit_in(const Repository &repository, const CommitDocument &document, const BackupParents *parents,
               const std::set<std::string> &own_wal, ByteView body, const CancelToken &cancel) {
    const ClusterLayout &layout = repository.layout();
    if (has_tombstone(repository, document.id, cancel))
        throw Error(ErrorCode::kConflict,
                    fmt::format("\"{}\" expires backup {} while it runs", repository.url(), document.id));
    if (!repository.store().head(layout.attempt(document.id), cancel))
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" lacks \"{}\": the backup was expired while it ran",
                                                      repository.url(), layout.attempt(document.id)));
    if (parents != nullptr)
        parents->check(repository, cancel);
    std::map<std::string, uint64_t> objects;
    for (const StoredObject &pack : document.packs)
        objects[pack_key(layout, document.id, pack)] = pack.size;
    for (const auto *list : {&document.table, &document.hashes})
        for (const StoredObject &object : *list)
            objects[layout.files_prefix(document.id) + object.name] = object.size;
    check_objects(repository, std::move(objects), cancel);
    check_wal(repository, document, own_wal, cancel);
    PutRequest request;
    const std::string key = layout.commit(document.id);
    request.key = key;
    request.body = body;
    if (repository.store().put_new(request, cancel) != PutOutcome::kStored)
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" already holds \"{}\"", repository.url(), key));
}

} // namespace

std::vector<std::string> commit_everywhere(BackupUploader &uploader, const CommitDocument &document,
                                           const BackupParents *parents, const std::set<std::string> &own_wal,
                                           ByteView body, const CancelToken &cancel) {
    std::vector<std::string> committed;
    for (const std::shared_ptr<Repository> &repository : uploader.live()) {
        try {
            commit_in(*repository, document, parents, own_wal, body, cancel);
            committed.push_back(repository->url());
        } catch (const Error &error) {
            // After the first commit the backup exists: a cancel comes too late to be told as one.
            if (error.code() == ErrorCode::kCancelled && committed.empty())
                throw;
            uploader.give_up(*repository, error);
        }
    }
    return committed;
}

} // namespace pgvigil
