#include "transfer/restore_sources.h"

#include "base/error.h"
#include "crypto/digest.h"
#include "repo/catalog.h"
#include "repo/envelope.h"

#include <algorithm>
#include <fmt/core.h>
#include <map>
#include <set>

namespace pgvigil {

namespace {

bool same_objects(const std::vector<StoredObject> &a, const std::vector<StoredObject> &b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const StoredObject &x, const StoredObject &y) {
        return x.name == y.name && x.number == y.number && x.size == y.size && x.sha256 == y.sha256;
    });
}

constexpr size_t kMaxCommitBytes = 16 * kMiB + 64 * kKiB;

Error bad_chain(const std::string &id, const std::string &why) {
    return Error(ErrorCode::kCorrupt, fmt::format("the commit document of \"{}\" has wrong parents", id)).detail(why);
}

} // namespace

RestoreSources::RestoreSources(const std::vector<std::shared_ptr<Repository>> &repositories, const std::string &backup,
                               LogSink &log, const CancelToken &cancel)
    : log_(log) {
    find_backup(repositories, backup, cancel);
    load_ancestors(cancel);
}

void RestoreSources::find_backup(const std::vector<std::shared_ptr<Repository>> &repositories,
                                 const std::string &backup, const CancelToken &cancel) {
    std::optional<Error> failure;
    for (const auto &repository : repositories) {
        try {
            auto commit = load_commit(*repository, backup, cancel);
            if (!commit)
                continue;
            if (chain_.empty())
                chain_.push_back(std::move(*commit));
            else if (!same_objects(chain_.front().packs, commit->packs) ||
                     !same_objects(chain_.front().table, commit->table))
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

void RestoreSources::load_ancestors(const CancelToken &cancel) {
    const CommitDocument newest = chain_.front();
    if (newest.full != newest.parents.empty())
        throw bad_chain(newest.id, newest.full ? "A full backup has none." : "An incremental backup has one at least.");
    for (const std::string &id : newest.parents) {
        const auto digest = newest.parent_commit_digests.find(id);
        if (digest == newest.parent_commit_digests.end())
            throw bad_chain(newest.id, fmt::format("It states no digest of \"{}\".", id));
        chain_.push_back(load_ancestor(id, digest->second, cancel));
    }
    // Each one's parents are those behind it.
    for (size_t i = 1; i < chain_.size(); ++i) {
        const CommitDocument &commit = chain_[i];
        const bool fits = commit.full == (i + 1 == chain_.size()) &&
                          commit.system_identifier == newest.system_identifier &&
                          commit.block_size == newest.block_size &&
                          std::equal(commit.parents.begin(), commit.parents.end(),
                                     newest.parents.begin() + static_cast<ptrdiff_t>(i), newest.parents.end());
        if (!fits)
            throw bad_chain(newest.id, fmt::format("\"{}\" does not lead to the same full backup, or differs in its "
                                                   "system identifier or block size.",
                                                   commit.id));
    }
}

CommitDocument RestoreSources::load_ancestor(const std::string &id, const std::string &digest,
                                             const CancelToken &cancel) {
    const std::string key = layout().commit(id);
    CommitDocument commit;
    try_each([&](ObjectStore &store) {
        const auto object = store.get(key, kMaxCommitBytes, cancel);
        if (!object)
            throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\", which backup \"{}\" needs, is not in \"{}\"", key,
                                                         chain_.front().id, store.display_name()))
                .hint("Restore a backup of another chain: \"pgvigil list\" shows them.");
        if (to_hex(sha256(*object)) != digest)
            throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" in \"{}\" is damaged", key, store.display_name()))
                .detail(fmt::format("It is not the document that backup \"{}\" was made from.", chain_.front().id))
                .hint("Restore a backup of another chain: \"pgvigil list\" shows them.");
        commit = decode_commit(decode_document(*object, key), key);
        if (commit.id != id)
            throw bad_chain(chain_.front().id, fmt::format("\"{}\" is the document of \"{}\".", key, commit.id));
    });
    return commit;
}

Bytes RestoreSources::fetch_table(size_t member, const std::string &name, std::optional<ByteRange> range,
                                  const CancelToken &cancel) {
    const CommitDocument &commit = chain_[member];
    for (const StoredObject &part : commit.table)
        if (part.name == name)
            return fetch(layout().files_prefix(commit.id) + name, part, range, cancel);
    throw Error(ErrorCode::kCorrupt, fmt::format("backup \"{}\" has no table part \"{}\"", commit.id, name));
}

Bytes RestoreSources::fetch_hashes(size_t member, const std::string &name, ByteRange range, const CancelToken &cancel) {
    const CommitDocument &commit = chain_[member];
    for (const StoredObject &object : commit.hashes)
        if (object.name == name)
            return fetch(layout().files_prefix(commit.id) + name, object, range, cancel);
    throw Error(ErrorCode::kCorrupt, fmt::format("backup \"{}\" has no block hashes \"{}\"", commit.id, name));
}

std::optional<Bytes> RestoreSources::hash_key(const Uuid &repository) const {
    for (const auto &candidate : repositories_)
        if (candidate->id() == repository)
            return from_hex(candidate->document().hash_key);
    return std::nullopt;
}

void RestoreSources::check_packs(const CancelToken &cancel) const {
    std::map<std::string, uint64_t> missing; // key → size
    for (const CommitDocument &commit : chain_)
        for (const StoredObject &pack : commit.packs)
            missing.emplace(pack_key(layout(), commit.id, pack), pack.size);
    for (const auto &repository : repositories_) {
        std::set<std::string> prefixes;
        for (const auto &[key, size] : missing)
            prefixes.insert(key.substr(0, key.rfind('/') + 1));
        for (const std::string &prefix : prefixes)
            for_each_page(repository->store(), {.prefix = prefix}, cancel, [&](const ListPage &page) {
                for (const ObjectInfo &object : page.objects)
                    if (const auto found = missing.find(object.key);
                        found != missing.end() && found->second == object.size)
                        missing.erase(found);
            });
    }
    if (!missing.empty())
        throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\", which backup \"{}\" needs, is in no repository",
                                                     missing.begin()->first, chain_.front().id))
            .detail(fmt::format("{} of its packs are missing or have another size.", missing.size()))
            .hint("Restore a backup of another chain: \"pgvigil list\" shows them.");
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
