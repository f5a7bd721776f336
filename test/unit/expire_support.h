// Repositories made by hand for tests of expiry: backups, WAL, attempts and what else there may be, each as old as the
// test says, and the question that counts: can everything that is listed be restored?
#pragma once

#include "base/time.h"
#include "plan_test_support.h"
#include "repo/envelope.h"
#include "repo/keeps.h"
#include "repo/tombstones.h"
#include "storage/memory/memory_store.h"
#include "transfer/expire.h"

#include <algorithm>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <mutex>

namespace pgvigil::test {

inline constexpr uint64_t kExpireCluster = 7123456789012345678;
inline constexpr int64_t kHourMs = int64_t{3600} * 1000;
inline constexpr int64_t kDayMs = 24 * kHourMs;

// A decorator that gives objects the ages that a test wants, deletes one key at a time, so that each deletion is an
// operation of its own, and calls a hook before every operation.
class AgedStore final : public ObjectStore {
  public:
    explicit AgedStore(std::shared_ptr<ObjectStore> inner) : inner_(std::move(inner)) {}

    void set_time(const std::string &key, int64_t modified_ms) { times_[key] = modified_ms; }
    std::function<void(std::string_view key)> before_each; // the prefix of a listing
    std::function<std::optional<DeleteFailure>(const std::string &key)> refuse_delete;
    std::optional<int64_t> clock;
    bool versioned = false;

    PutOutcome put_new(const PutRequest &request, const CancelToken &cancel) override {
        step(request.key);
        return inner_->put_new(request, cancel);
    }
    std::optional<Bytes> get(std::string_view key, uint64_t limit, const CancelToken &cancel) override {
        step(key);
        return inner_->get(key, limit, cancel);
    }
    std::optional<Bytes> get_range(std::string_view key, ByteRange range, const CancelToken &cancel) override {
        step(key);
        return inner_->get_range(key, range, cancel);
    }
    std::optional<ObjectInfo> head(std::string_view key, const CancelToken &cancel) override {
        step(key);
        return inner_->head(key, cancel);
    }
    ListPage list(const ListRequest &request, const CancelToken &cancel) override {
        step(request.prefix);
        ListPage page = inner_->list(request, cancel);
        for (ObjectInfo &object : page.objects)
            if (const auto time = times_.find(object.key); time != times_.end())
                object.modified_ms = time->second;
        return page;
    }
    std::vector<DeleteFailure> remove(const std::vector<std::string> &keys, const CancelToken &cancel) override {
        std::vector<DeleteFailure> failures;
        for (const std::string &key : keys) {
            step(key);
            if (refuse_delete)
                if (auto failure = refuse_delete(key)) {
                    failures.push_back(*std::move(failure));
                    continue;
                }
            for (DeleteFailure &failure : inner_->remove({key}, cancel))
                failures.push_back(std::move(failure));
        }
        return failures;
    }
    std::optional<bool> keeps_versions(const CancelToken & /*cancel*/) override { return versioned; }
    int64_t clock_ms(const CancelToken & /*cancel*/) override { return clock.value_or(unix_time_ms()); }
    [[nodiscard]] StoreFeatures features() const override { return {}; }
    [[nodiscard]] const std::string &display_name() const override { return inner_->display_name(); }

  private:
    void step(std::string_view key) {
        const std::lock_guard lock(mutex_);
        if (before_each)
            before_each(key);
    }

    const std::shared_ptr<ObjectStore> inner_;
    std::map<std::string, int64_t> times_;
    std::mutex mutex_;
};

class ExpireWorld {
  public:
    ExpireWorld() : memory(std::make_shared<MemoryStore>()), aged(std::make_shared<AgedStore>(memory)) {
        options.dry_run = false;
        options.confirm = true;
        options.threads = 1;
        options.host = "test";
        options.rules = {0, 0, 0, 0, 0, 0};
        add_epoch(1, "first", 1, Lsn{});
    }

    [[nodiscard]] Repository repository(std::shared_ptr<ObjectStore> store) const {
        return {std::move(store), RepositoryDocument{}, "memory:", kExpireCluster};
    }
    [[nodiscard]] Repository repository() const { return repository(aged); }

    void put(const std::string &key, const Bytes &body, int64_t age_ms) {
        ASSERT_EQ(memory->put_new({.key = key, .body = body}, never), PutOutcome::kStored) << key;
        aged->set_time(key, now - age_ms);
    }
    void put_text(const std::string &key, const std::string &text, int64_t age_ms) {
        const ByteView view = as_view(text);
        put(key, Bytes(view.begin(), view.end()), age_ms);
    }

    void add_epoch(uint64_t number, const std::string &reason, uint64_t instance, Lsn lsn, TimelineId timeline = 1) {
        EpochDocument document;
        document.number = number;
        document.instance[0] = static_cast<std::byte>(instance);
        document.timeline = timeline;
        document.lsn = lsn;
        document.reason = reason;
        put(layout.epoch(number), encode_document(encode(document), number, random_uuid()), 50 * kDayMs);
    }

    // With `packs` packs of its own; those in `adopted` lie in the directories of attempts.
    void add_backup(const std::string &id, const std::vector<std::string> &parents, uint64_t first, uint64_t last,
                    int64_t age_ms, const std::vector<StoredObject> &adopted = {}, size_t packs = 2) {
        CommitDocument document = backup(id, 1, at(first, 100), at(last, 200), now - age_ms);
        document.full = parents.empty();
        document.parents = parents;
        document.system_identifier = kExpireCluster;
        document.wal_ranges = {{1, document.start_lsn, document.stop_lsn}};
        for (size_t number = 0; number < packs; ++number)
            document.packs.push_back(store_object(layout.data_prefix(id), number, age_ms));
        document.packs.insert(document.packs.end(), adopted.begin(), adopted.end());
        document.table.push_back(store_object(layout.files_prefix(id), 0, age_ms));
        add_attempt(id, parents, at(first, 100), age_ms);
        put(layout.commit(id), encode_document(encode(document), 1, random_uuid()), age_ms);
    }

    StoredObject store_object(const std::string &prefix, size_t number, int64_t age_ms) {
        char name[24];
        std::snprintf(name, sizeof name, "%06zu", number);
        put_text(prefix + name, "stored", age_ms);
        StoredObject object;
        object.name = name;
        object.number = static_cast<uint32_t>(number);
        object.size = 6;
        return object;
    }

    void add_attempt(const std::string &id, const std::vector<std::string> &parents, Lsn start, int64_t age_ms,
                     const std::vector<std::string> &continues = {}) {
        AttemptDocument document;
        document.id = id;
        document.parents = parents;
        document.timeline = 1;
        document.start_lsn = start;
        document.continues = continues;
        put(layout.attempt(id), encode_document(encode(document), 1, random_uuid()), age_ms);
    }

    void add_wal(TimelineId timeline, uint64_t first, uint64_t last, int64_t age_ms) {
        for (uint64_t segment = first; segment <= last; ++segment)
            put(layout.wal_file(segment_name(timeline, segment, kSegment)), encode_document("{}", 1, Uuid{}), age_ms);
    }

    ExpireReport expire() { return expire_repository(repository(), options, null_log(), never); }

    [[nodiscard]] std::vector<std::string> keys(const std::string &prefix = "") const {
        std::vector<std::string> found;
        for_each_page(*memory, {.prefix = prefix}, never, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects)
                found.push_back(object.key);
        });
        return found;
    }
    [[nodiscard]] bool has(const std::string &key) const { return memory->head(key, never).has_value(); }
    [[nodiscard]] std::vector<std::string> listed() const {
        std::vector<std::string> ids;
        for (const CommitDocument &backup : load_catalog(repository(memory), never).backups)
            ids.push_back(backup.id);
        return ids;
    }
    [[nodiscard]] bool has_wal(uint64_t first, uint64_t last, TimelineId timeline = 1) const {
        for (uint64_t segment = first; segment <= last; ++segment)
            if (!has(layout.wal_file(segment_name(timeline, segment, kSegment))))
                return false;
        return true;
    }

    // Everything that is listed can be restored: planned, and every object of its chain is there.
    void check_listed(const std::string &when) const {
        const Repository plain = repository(memory);
        const Catalog catalog = load_catalog(plain, never);
        ASSERT_FALSE(catalog.backups.empty()) << when;
        for (const CommitDocument &backup : catalog.backups) {
            StatedFacts facts;
            RestorePlan plan;
            ASSERT_NO_THROW(plan = plan_restore(catalog, {ImmediateTarget{}, true, {}, false, backup.id}, facts))
                << when << ": " << backup.id;
            for (const std::string &id : plan.chain) {
                const auto document = load_commit(plain, id, never);
                ASSERT_TRUE(document.has_value()) << when << ": " << id;
                for (const StoredObject &pack : document->packs)
                    ASSERT_TRUE(has(pack_key(layout, id, pack))) << when << ": " << id << " " << pack.name;
                for (const StoredObject &part : document->table)
                    ASSERT_TRUE(has(layout.files_prefix(id) + part.name)) << when << ": " << id << " " << part.name;
            }
        }
    }

    const int64_t now = unix_time_ms();
    const CancelToken never;
    const ClusterLayout layout{kExpireCluster};
    std::shared_ptr<MemoryStore> memory;
    std::shared_ptr<AgedStore> aged;
    ExpireOptions options;
};

// A chain of three, then one of two, a day between backups, 10 segments a day; and what a dead attempt left.
inline void fill(ExpireWorld &world) {
    world.add_wal(1, 1, 60, 5 * kDayMs);
    world.add_backup("20270101T000000F", {}, 1, 2, 6 * kDayMs);
    world.add_backup("20270102T000000I", {"20270101T000000F"}, 11, 12, 5 * kDayMs);
    world.add_backup("20270103T000000I", {"20270102T000000I", "20270101T000000F"}, 21, 22, 4 * kDayMs);
    world.add_backup("20270104T000000F", {}, 31, 32, 3 * kDayMs);
    world.add_backup("20270105T000000I", {"20270104T000000F"}, 41, 42, 2 * kDayMs);
    world.add_attempt("20270103T120000F", {}, at(25), 4 * kDayMs);
    world.store_object(world.layout.data_prefix("20270103T120000F"), 0, 3 * kDayMs);
    world.store_object(world.layout.files_prefix("20270103T120000F"), 0, 3 * kDayMs);
}

} // namespace pgvigil::test
