#include "transfer/restore_sources.h"

#include "base/error.h"
#include "crypto/digest.h"
#include "repo/catalog.h"

#include <algorithm>
#include <fmt/core.h>

namespace pgvigil {

namespace {

bool same_objects(const std::vector<StoredObject> &a, const std::vector<StoredObject> &b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const StoredObject &x, const StoredObject &y) {
        return x.name == y.name && x.size == y.size && x.sha256 == y.sha256;
    });
}

} // namespace

RestoreSources::RestoreSources(const std::vector<std::shared_ptr<Repository>> &repositories, const std::string &backup,
                               LogSink &log, const CancelToken &cancel)
    : log_(log) {
    std::optional<Error> failure;
    for (const auto &repository : repositories) {
        try {
            auto commit = load_commit(*repository, backup, cancel);
            if (!commit)
                continue;
            if (!commit_)
                commit_ = std::move(*commit);
            else if (!same_objects(commit_->packs, commit->packs) || !same_objects(commit_->table, commit->table))
                continue;
            repositories_.push_back(repository);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            log_.emit(LogLevel::kWarning, error.message(), error.detail());
            failure = error;
        }
    }
    if (repositories_.empty() && failure)
        throw std::move(*failure);
    if (repositories_.empty())
        throw Error(ErrorCode::kNotFound, fmt::format("there is no backup \"{}\"", backup))
            .hint("\"pgvigil list\" shows the backups.");
}

void RestoreSources::try_each(const std::function<void(ObjectStore &store)> &attempt) {
    const size_t first = preferred_.load();
    for (size_t i = 0;; ++i) {
        const size_t index = (first + i) % repositories_.size();
        try {
            attempt(repositories_[index]->store());
            return;
        } catch (const Error &error) {
            const bool foreign_fault = error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kDiskFull;
            if (foreign_fault || i + 1 == repositories_.size())
                throw;
            log_.emit(LogLevel::kWarning, error.message() + "; asking another repository", error.detail());
            preferred_ = (index + 1) % repositories_.size();
        }
    }
}

Bytes RestoreSources::fetch(const std::string &key, const StoredObject &expected, std::optional<ByteRange> range,
                            const CancelToken &cancel) {
    Bytes bytes;
    try_each([&](ObjectStore &store) {
        auto found = range ? store.get_range(key, *range, cancel) : store.get(key, expected.size, cancel);
        if (!found)
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("\"{}\", which the backup needs, is not in \"{}\"", key, store.display_name()));
        if (!range && (found->size() != expected.size || sha256(*found) != expected.sha256))
            throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" in \"{}\" is damaged", key, store.display_name()))
                .detail("Its size or its SHA-256 is not what the backup's commit document states.");
        bytes = std::move(*found);
    });
    return bytes;
}

} // namespace pgvigil
