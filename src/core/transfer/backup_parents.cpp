#include "transfer/backup_parents.h"

#include "base/error.h"
#include "base/parallel.h"
#include "repo/envelope.h"
#include "repo/tombstones.h"

#include <algorithm>
#include <fmt/format.h>
#include <mutex>
#include <set>

namespace pgvigil {

namespace {

constexpr uint64_t kMaxCommitBytes = 32 * kMiB; // as stored
constexpr uint64_t kMaxTableObjectBytes = 64 * kMiB;
// A chain of fifty costs fifty small requests of each kind.
constexpr size_t kThreads = 8;

const CancelToken &never() {
    static const CancelToken token;
    return token;
}

Error changed_error(const Repository &repository, const std::string &id, const char *what) {
    return Error(ErrorCode::kConflict,
                 fmt::format("\"{}\" {} backup {}, which this one builds on", repository.url(), what, id))
        .hint("The next backup builds on another one, or is a full one.")
        .retryable();
}

// The SHA-256 of the commit object as it is stored, and its bytes.
std::pair<std::string, Bytes> read_commit_object(const Repository &repository, const std::string &id,
                                                 const CancelToken &cancel) {
    const auto object = repository.store().get(repository.layout().commit(id), kMaxCommitBytes, cancel);
    if (!object)
        throw changed_error(repository, id, "lacks");
    return {to_hex(sha256(*object)), *object};
}

} // namespace

BackupParents::BackupParents(BackupUploader &uploader, const std::vector<std::string> &ids, const CancelToken &cancel)
    : uploader_(uploader), layout_(uploader.live().front()->layout()) {
    for (const std::shared_ptr<Repository> &repository : uploader.live()) {
        try {
            open_in(*repository, ids, cancel);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled)
                throw;
            uploader.give_up(*repository, error);
        }
    }
    const CommitDocument &nearest = commits_.front();
    const std::vector<std::string> rest(ids.begin() + 1, ids.end());
    if (nearest.parents != rest || !commits_.back().full)
        throw Error(ErrorCode::kConflict,
                    fmt::format("backup {} does not build on the backups it was given with", ids[0]));
    for (const CommitDocument &commit : commits_) {
        for (const PageDamage &file : commit.damage)
            damaged_.insert(file.path);
        const std::string prefix = layout_.files_prefix(commit.id);
        hash_readers_.push_back(std::make_unique<BlockHashReader>(
            [this, prefix](const std::string &name, ByteRange range) { return fetch(prefix + name, range, never()); },
            prefix));
    }
}

// The first repository sets what the others must hold as well.
void BackupParents::open_in(const Repository &repository, const std::vector<std::string> &ids,
                            const CancelToken &cancel) {
    const auto tombstones = list_tombstones(repository, cancel);
    std::vector<CommitDocument> commits(ids.size());
    std::vector<std::string> commit_digests(ids.size());
    parallel_for(ids.size(), kThreads, [&](size_t i) {
        if (tombstones.contains(ids[i]))
            throw changed_error(repository, ids[i], "expires");
        auto [digest, object] = read_commit_object(repository, ids[i], cancel);
        const std::string key = repository.layout().commit(ids[i]);
        commits[i] = decode_commit(decode_document(object, key), key);
        commit_digests[i] = std::move(digest);
    });
    std::map<std::string, std::string> digests;
    for (size_t i = 0; i < ids.size(); ++i)
        digests[ids[i]] = std::move(commit_digests[i]);
    if (commits_.empty()) {
        commits_ = std::move(commits);
        digests_ = std::move(digests);
    } else if (digests != digests_) {
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" holds another backup {} than the other repositories",
                                                      repository.url(), ids[0]));
    }
}

Bytes BackupParents::fetch(const std::string &key, std::optional<ByteRange> range, const CancelToken &cancel) const {
    const BackupUploader::Repositories live = uploader_.live();
    for (size_t i = 0;; ++i) {
        try {
            ObjectStore &store = live.at(i)->store();
            auto bytes = range ? store.get_range(key, *range, cancel) : store.get(key, kMaxTableObjectBytes, cancel);
            if (!bytes)
                throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" lacks \"{}\"", live[i]->url(), key));
            return std::move(*bytes);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kCancelled || i + 1 == live.size())
                throw;
        }
    }
}

FileTableReader BackupParents::table_of(const CommitDocument &commit, const CancelToken &cancel) const {
    const std::string prefix = layout_.files_prefix(commit.id);
    std::map<std::string, StoredObject> objects;
    for (const StoredObject &object : commit.table)
        objects[object.name] = object;
    return FileTableReader(
        [this, prefix, objects = std::move(objects), &cancel](const std::string &name, std::optional<ByteRange> range) {
            Bytes bytes = fetch(prefix + name, range, cancel);
            if (range)
                return bytes;
            const auto expected = objects.find(name);
            if (expected == objects.end() || expected->second.size != bytes.size() ||
                expected->second.sha256 != sha256(bytes))
                throw Error(ErrorCode::kCorrupt, fmt::format("\"{}{}\" is damaged", prefix, name))
                    .detail("It is not what the backup's commit document names.");
            return bytes;
        },
        prefix, commit.table);
}

FileTableReader BackupParents::table(const CancelToken &cancel) const {
    return table_of(commits_.front(), cancel);
}

ChainTable BackupParents::chain(const CancelToken &cancel) const {
    // So much of each table is held at a time, however long the chain is.
    constexpr size_t kReadBytes = 512 * kKiB;
    std::vector<FileTableReader> tables;
    for (const CommitDocument &commit : commits_) {
        tables.push_back(table_of(commit, cancel));
        tables.back().limit_read(kReadBytes);
    }
    return ChainTable(std::move(tables), commits_.front().block_size);
}

bool BackupParents::has_hashes(size_t backup, const Uuid &repository) const noexcept {
    return commits_[backup].block_hashes && commits_[backup].hash_repository == repository;
}

void BackupParents::hashes(size_t backup, uint64_t first, size_t count, std::vector<BlockHash> &out) const {
    hash_readers_[backup]->read(first, count, out);
}

void BackupParents::check(const Repository &repository, const CancelToken &cancel) const {
    const auto tombstones = list_tombstones(repository, cancel);
    parallel_for(commits_.size(), kThreads, [&](size_t i) {
        const std::string &id = commits_[i].id;
        if (tombstones.contains(id))
            throw changed_error(repository, id, "expires");
        if (read_commit_object(repository, id, cancel).first != digests_.at(id))
            throw changed_error(repository, id, "holds another");
    });
    std::map<std::string, uint64_t> objects;
    for (const CommitDocument &commit : commits_) {
        for (const StoredObject &pack : commit.packs)
            objects[pack_key(layout_, commit.id, pack)] = pack.size;
        for (const auto *list : {&commit.table, &commit.hashes})
            for (const StoredObject &object : *list)
                objects[layout_.files_prefix(commit.id) + object.name] = object.size;
    }
    check_objects(repository, std::move(objects), cancel);
}

// One listing for each directory.
void check_objects(const Repository &repository, std::map<std::string, uint64_t> expected, const CancelToken &cancel) {
    std::set<std::string> unique;
    for (const auto &[key, size] : expected)
        unique.insert(key.substr(0, key.rfind('/') + 1));
    const std::vector<std::string> prefixes(unique.begin(), unique.end());
    std::mutex mutex;
    parallel_for(prefixes.size(), kThreads, [&](size_t i) {
        ListRequest request;
        request.prefix = prefixes[i];
        for_each_page(repository.store(), request, cancel, [&](const ListPage &page) {
            const std::lock_guard lock(mutex);
            for (const ObjectInfo &object : page.objects) {
                const auto found = expected.find(object.key);
                if (found != expected.end() && found->second == object.size)
                    expected.erase(found);
            }
        });
    });
    if (!expected.empty())
        throw Error(ErrorCode::kConflict, fmt::format("\"{}\" lacks \"{}\", which this backup needs", repository.url(),
                                                      expected.begin()->first))
            .detail(fmt::format("{} of its objects are missing or have another size.", expected.size()))
            .hint("It was removed while the backup ran: look for another server's expiry, or a lifecycle rule.");
}

} // namespace pgvigil
