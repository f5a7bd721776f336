#include "transfer/expire_inventory.h"

#include "base/error.h"
#include "base/parallel.h"
#include "repo/envelope.h"
#include "repo/tombstones.h"

#include <algorithm>
#include <mutex>
#include <optional>

namespace pgvigil {

namespace {

constexpr size_t kReaders = 8;
constexpr size_t kIdBytes = 16;
constexpr size_t kOwnDocuments = 2; // attempt and commit

std::string_view name_below(std::string_view key, const std::string &prefix) {
    return key.substr(prefix.size());
}

class InventoryReader {
  public:
    InventoryReader(const Repository &repository, int64_t now_ms, int64_t grace_ms, const CancelToken &cancel)
        : repository_(repository), layout_(repository.layout()), grace_ms_(grace_ms), cancel_(cancel) {
        inventory_.now_ms = now_ms;
    }

    ExpireInventory read() {
        inventory_.catalog = load_catalog(repository_, cancel_);
        // Commits before attempts: a backup that commits meanwhile is seen as running, never as dead.
        read_commits();
        list_tombstones_with_ages();
        inventory_.keeps = load_keeps(repository_, inventory_.catalog.unreadable, cancel_);
        check_readable();
        read_attempts();
        list_directories();
        judge_attempts();
        choose_backups();
        return std::move(inventory_);
    }

  private:
    // What cannot be read may name packs and parents that must stay.
    [[noreturn]] void refuse(const Error &error) const {
        throw Error(error.code(), "cannot expire: " + error.message())
            .detail(error.detail().empty() ? "It may say what must stay." : error.detail())
            .hint("Nothing was deleted. Put the object back from another copy, or use a newer pgvigil; a keep can be "
                  "said again.");
    }
    [[nodiscard]] static bool is_unreadable(const Error &error) {
        return error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported;
    }

    // Without a history or an epoch the catalog takes backups for lost that are not. Of what only an index says
    // everything has been read where it comes from.
    void check_readable() const {
        for (const UnreadableDocument &document : inventory_.catalog.unreadable)
            if (document.key.ends_with(".history") || document.key.starts_with(layout_.epochs_prefix()) ||
                document.key.starts_with(layout_.keeps_prefix()) || document.key.starts_with(layout_.commits_prefix()))
                refuse(Error(ErrorCode::kCorrupt, document.message));
    }

    void read_commits() {
        const std::string prefix = layout_.commits_prefix();
        const std::vector<ObjectInfo> objects = list_objects(repository_, prefix, cancel_);
        std::mutex mutex;
        parallel_for(objects.size(), kReaders, [&](size_t index) {
            const ObjectInfo &object = objects[index];
            const std::string id(name_below(object.key, prefix).substr(0, kIdBytes));
            if (!is_backup_id(id))
                return;
            try {
                auto document = load_commit(repository_, id, cancel_);
                if (!document)
                    return;
                CommitFacts facts;
                facts.stored_ms = object.modified_ms;
                facts.size = object.size;
                facts.objects =
                    document->packs.size() + document->table.size() + document->hashes.size() + kOwnDocuments;
                for (const StoredObject &pack : document->packs)
                    if (pack.name.find('/') != std::string::npos)
                        facts.adopted.insert(pack_key(layout_, id, pack));
                document->packs = {};
                document->table = {};
                document->hashes = {};
                document->control_file = {};
                facts.document = *std::move(document);
                const std::lock_guard lock(mutex);
                inventory_.commits.emplace(id, std::move(facts));
            } catch (const Error &error) {
                if (is_unreadable(error))
                    refuse(error);
                throw;
            }
        });
    }

    void list_tombstones_with_ages() {
        const std::string prefix = layout_.tombstones_prefix();
        for (const ObjectInfo &object : list_objects(repository_, prefix, cancel_))
            if (const std::string_view id = name_below(object.key, prefix); is_backup_id(id))
                inventory_.tombstones.emplace(id, object.modified_ms);
    }

    void read_attempts() {
        const std::string prefix = layout_.attempts_prefix();
        for (const ObjectInfo &object : list_objects(repository_, prefix, cancel_)) {
            const std::string id(name_below(object.key, prefix).substr(0, kIdBytes));
            if (!is_backup_id(id))
                continue;
            AttemptFacts &facts = inventory_.attempts[id];
            facts.objects.push_back({object.key, object.size});
            facts.newest_ms = std::max(facts.newest_ms, object.modified_ms);
        }
    }

    void list_directories() {
        for (const std::string &kind : {layout_.root() + "data/", layout_.root() + "files/"})
            for_each_page(repository_.store(), {.prefix = kind, .directories = true}, cancel_,
                          [&](const ListPage &page) {
                              for (const std::string &directory : page.directories) {
                                  const std::string id = directory.substr(kind.size(), kIdBytes);
                                  if (is_backup_id(id) && directory.size() == kind.size() + kIdBytes + 1)
                                      (void)inventory_.attempts[id];
                              }
                          });
    }

    [[nodiscard]] bool is_young(int64_t ms) const { return ms >= inventory_.now_ms - grace_ms_; }

    void judge_attempts() {
        for (auto &[id, facts] : inventory_.attempts) {
            facts.has_commit = inventory_.commits.contains(id);
            if (facts.has_commit || inventory_.tombstones.contains(id))
                continue;
            // Large packs may take longer than the time between two signs of life.
            if (!is_young(facts.newest_ms))
                for (const std::string &prefix : {layout_.data_prefix(id), layout_.files_prefix(id)})
                    for (const ObjectInfo &object : list_objects(repository_, prefix, cancel_))
                        facts.newest_ms = std::max(facts.newest_ms, object.modified_ms);
            facts.running = is_young(facts.newest_ms);
            if (facts.running)
                read_attempt(id, facts);
        }
    }

    void read_attempt(const std::string &id, AttemptFacts &facts) {
        const std::string key = layout_.attempt(id);
        try {
            const auto json = read_document(repository_.store(), key, cancel_);
            if (!json)
                return;
            const AttemptDocument document = decode_attempt(*json, key);
            facts.parents = document.parents;
            facts.timeline = document.timeline;
            facts.start_lsn = document.start_lsn;
            facts.continues = document.continues;
        } catch (const Error &error) {
            if (is_unreadable(error))
                refuse(error);
            throw;
        }
    }

    // Everything that `needed` is built on, itself included.
    [[nodiscard]] std::set<std::string> with_ancestors(std::vector<std::string> needed) const {
        std::set<std::string> found;
        while (!needed.empty()) {
            const std::string id = std::move(needed.back());
            needed.pop_back();
            const auto at = inventory_.commits.find(id);
            if (at == inventory_.commits.end() || !found.insert(id).second)
                continue;
            const auto &parents = at->second.document.parents;
            needed.insert(needed.end(), parents.begin(), parents.end());
        }
        return found;
    }

    void choose_backups() {
        std::vector<CommitDocument> offered;
        for (const auto &[id, facts] : inventory_.commits)
            offered.push_back(facts.document);
        std::set<std::string, std::less<>> tombstones;
        for (const auto &[id, age] : inventory_.tombstones)
            tombstones.insert(id);
        drop_tombstoned(offered, tombstones, inventory_.keeps);
        inventory_.offered = offered.size();
        std::vector<std::string> needed;
        for (const auto &[id, facts] : inventory_.attempts)
            if (facts.running)
                needed.insert(needed.end(), facts.parents.begin(), facts.parents.end());
        for (const std::string &id : with_ancestors(std::move(needed)))
            if (std::none_of(offered.begin(), offered.end(), [&](const auto &backup) { return backup.id == id; }))
                offered.push_back(inventory_.commits.at(id).document);
        std::sort(offered.begin(), offered.end(), [](const auto &a, const auto &b) { return a.id < b.id; });
        inventory_.catalog.backups = std::move(offered);
    }

    const Repository &repository_;
    const ClusterLayout &layout_;
    const int64_t grace_ms_;
    const CancelToken &cancel_;
    ExpireInventory inventory_;
};

} // namespace

bool ExpireInventory::is_continued(const std::string &id) const {
    return std::any_of(attempts.begin(), attempts.end(), [&](const auto &entry) {
        const std::vector<std::string> &used = entry.second.continues;
        return entry.second.running && std::find(used.begin(), used.end(), id) != used.end();
    });
}

std::set<std::string> ExpireInventory::adopted_packs(const std::set<std::string> &going) const {
    std::set<std::string> packs;
    for (const auto &[id, facts] : commits)
        if (!going.contains(id))
            packs.insert(facts.adopted.begin(), facts.adopted.end());
    return packs;
}

RetentionInput ExpireInventory::retention_input(const RetentionRules &rules) const {
    RetentionInput input{catalog, {}, keeps, {}, rules, now_ms};
    for (const auto &[id, facts] : commits)
        input.stored_ms.emplace(id, facts.stored_ms);
    for (const auto &[id, facts] : attempts)
        if (facts.running)
            input.running.push_back({id, facts.parents, facts.timeline, facts.start_lsn});
    return input;
}

ExpireInventory load_inventory(const Repository &repository, int64_t now_ms, int64_t grace_ms,
                               const CancelToken &cancel) {
    return InventoryReader(repository, now_ms, grace_ms, cancel).read();
}

std::vector<ObjectInfo> list_objects(const Repository &repository, const std::string &prefix,
                                     const CancelToken &cancel) {
    std::vector<ObjectInfo> objects;
    for_each_page(repository.store(), {.prefix = prefix}, cancel, [&](const ListPage &page) {
        objects.insert(objects.end(), page.objects.begin(), page.objects.end());
    });
    return objects;
}

} // namespace pgvigil
