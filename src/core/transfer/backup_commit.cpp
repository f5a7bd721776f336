#include "transfer/backup_commit.h"

#include "base/error.h"

#include <fmt/format.h>
#include <map>

namespace pgvigil {

namespace {

// Expiry of another server may have taken this backup for one that died (rules D2).
void check_objects(const Repository &repository, const std::string &prefix, const std::vector<StoredObject> &expected,
                   const CancelToken &cancel) {
    std::map<std::string, uint64_t> missing;
    for (const StoredObject &object : expected)
        missing.emplace(object.name, object.size);
    ListRequest request;
    request.prefix = prefix;
    for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
        for (const ObjectInfo &object : page.objects) {
            const auto found = missing.find(object.key.substr(prefix.size()));
            if (found != missing.end() && found->second == object.size)
                missing.erase(found);
        }
    });
    if (!missing.empty())
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" lacks \"{}{}\", which this backup stored",
                                                      repository.url(), prefix, missing.begin()->first))
            .detail(fmt::format("{} of its objects are missing or have another size.", missing.size()))
            .hint("It was removed while the backup ran: look for another server's expiry, or a lifecycle rule.");
}

void commit_in(const Repository &repository, const CommitDocument &document, ByteView body, const CancelToken &cancel) {
    const ClusterLayout &layout = repository.layout();
    if (!repository.store().head(layout.attempt(document.id), cancel))
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" lacks \"{}\": the backup was expired while it ran",
                                                      repository.url(), layout.attempt(document.id)));
    check_objects(repository, layout.data_prefix(document.id), document.packs, cancel);
    check_objects(repository, layout.files_prefix(document.id), document.table, cancel);
    PutRequest request;
    const std::string key = layout.commit(document.id);
    request.key = key;
    request.body = body;
    if (repository.store().put_new(request, cancel) != PutOutcome::kStored)
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" already holds \"{}\"", repository.url(), key));
}

} // namespace

std::vector<std::string> commit_everywhere(BackupUploader &uploader, const CommitDocument &document, ByteView body,
                                           const CancelToken &cancel) {
    std::vector<std::string> committed;
    for (const std::shared_ptr<Repository> &repository : uploader.live()) {
        try {
            commit_in(*repository, document, body, cancel);
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
