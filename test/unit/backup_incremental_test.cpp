// Incremental backups: every state of a changing data directory reads back from its chain, by summaries and by hashes.
#include "backup_incremental_support.h"

#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

using test::IncrementalTest;

constexpr const char *kTable = "base/5/16384";

TEST_F(IncrementalTest, OnlyChangedBlocksAreStored) {
    make_cluster();
    for (const ChangeMethod method : {ChangeMethod::kSummaries, ChangeMethod::kHashes}) {
        reset();
        (void)full();
        change_blocks(kTable, {3, 4, 200});
        const std::string id = incremental(method);
        expect_state(id);
        const CommitDocument commit = commit_of(id);
        EXPECT_FALSE(commit.full);
        EXPECT_EQ(commit.parents, std::vector<std::string>{ids[ids.size() - 2]});
        EXPECT_EQ(commit.parent_commit_digests.size(), 1U);
        EXPECT_TRUE(commit.block_hashes);
        const FileEntry entry = entry_of(id, kTable);
        EXPECT_EQ(entry.inherit_below, 385U);
        ASSERT_EQ(entry.extents.size(), 2U);
        EXPECT_EQ(entry.extents[0].offset, 3U * 8192);
        EXPECT_EQ(entry.extents[0].plain_length, 2U * 8192);
        EXPECT_EQ(entry.extents[1].plain_length, 8192U);
        EXPECT_EQ(entry_of(id, "base/5/16385").extents.size(), 0U);
        if (method == ChangeMethod::kHashes) {
            EXPECT_EQ(commit.totals.changed_blocks, 3U);
        } else {
            EXPECT_LT(progress.bytes_done.load(), 100U * 8192);
        }
    }
}

// Rules A2: what a truncation took away never comes back from a parent, whatever the file grows to afterwards.
TEST_F(IncrementalTest, TruncationAndRegrowth) {
    make_cluster();
    for (const ChangeMethod method : {ChangeMethod::kSummaries, ChangeMethod::kHashes}) {
        reset();
        (void)full();
        truncate(kTable, 100);
        extend(kTable, 300, 0); // zero pages that no WAL record names yet
        expect_state(incremental(method));
        if (method == ChangeMethod::kSummaries) {
            EXPECT_EQ(entry_of(ids.back(), kTable).inherit_below, 100U);
        }
        extend(kTable, 350, 0);
        expect_state(incremental(method));
        truncate(kTable, 0);
        expect_state(incremental(method));
        extend(kTable, 385, 7);
        expect_state(incremental(method));
    }
}

TEST_F(IncrementalTest, FilesThatComeGoAndComeBack) {
    make_cluster();
    for (const ChangeMethod method : {ChangeMethod::kSummaries, ChangeMethod::kHashes}) {
        reset();
        (void)full();
        remove(kTable);
        expect_state(incremental(method));
        create(kTable, 40, 9);
        expect_state(incremental(method));
        EXPECT_EQ(entry_of(ids.back(), kTable).inherit_below, 0U);
        remove(kTable);
        create(kTable, 50, 3);
        create("base/5/99999_vm", 2, 5);
        expect_state(incremental(method));
        drop_database(5);
        create("base/5/16385", 1, 77);
        expect_state(incremental(method));
        write_file("postgresql.conf", as_view("port = 1\n"));
        expect_state(incremental(method));
    }
}

// Rules A3: what WAL does not tell of is stored whole.
TEST_F(IncrementalTest, OtherForksAndFilesAreStoredWhole) {
    make_cluster();
    create("base/5/16384_vm", 3, 4);
    create("base/5/16384_fsm", 3, 5);
    create("base/5/16390_init", 1, 6);
    (void)full();
    quiet_change("base/5/16384_vm", 1);
    const std::string id = incremental(ChangeMethod::kSummaries);
    expect_state(id);
    for (const char *path :
         {"base/5/16384_vm", "base/5/16384_fsm", "base/5/16390_init", "pg_xact/0000", "postgresql.conf"}) {
        EXPECT_EQ(entry_of(id, path).inherit_below, 0U) << path;
        EXPECT_FALSE(entry_of(id, path).extents.empty()) << path;
    }
}

// Rules A4: nothing but the bytes is trusted, neither the time of the last change nor the size.
TEST_F(IncrementalTest, HashesFindWhatNobodyTold) {
    make_cluster();
    (void)full();
    const auto time = std::filesystem::last_write_time(directory.path() + "/" + kTable);
    quiet_change(kTable, 17);
    std::filesystem::last_write_time(directory.path() + "/" + kTable, time);
    quiet_change("pg_xact/0000", 0);
    const std::string id = incremental(ChangeMethod::kHashes);
    expect_state(id);
    EXPECT_EQ(commit_of(id).totals.changed_blocks, 2U);
}

TEST_F(IncrementalTest, NothingChangedStoresNearlyNothing) {
    make_cluster();
    (void)full();
    const std::string id = incremental(ChangeMethod::kHashes);
    expect_state(id);
    EXPECT_EQ(commit_of(id).totals.new_bytes, 0U);
    EXPECT_LT(commit_of(id).totals.stored_bytes, 4096U);
}

// A block that became zero must say so: the parent's would shine through.
TEST_F(IncrementalTest, BlocksThatBecomeZero) {
    make_cluster();
    for (const ChangeMethod method : {ChangeMethod::kSummaries, ChangeMethod::kHashes}) {
        reset();
        (void)full();
        zero_block(kTable, 5);
        expect_state(incremental(method));
        expect_state(incremental(method));
        change_blocks(kTable, {5});
        expect_state(incremental(method));
    }
}

TEST_F(IncrementalTest, PagesThatWereDamagedAreNotInherited) {
    make_cluster();
    (void)full([](CommitDocument &document) { document.damage = {{kTable, 1, {3}}}; });
    const std::string id = incremental(ChangeMethod::kSummaries);
    EXPECT_EQ(entry_of(id, kTable).inherit_below, entry_of(id, kTable).extents.empty() ? 1U : 0U);
}

// Rules D2.
TEST_F(IncrementalTest, RefusesParentsThatExpire) {
    make_cluster();
    const std::string parent = full();
    const std::string key = layout.tombstone(parent);
    ASSERT_EQ(stores[0]->put_new({.key = key, .body = as_view("x")}, never), PutOutcome::kStored);
    try {
        (void)incremental(ChangeMethod::kHashes);
        FAIL();
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kConflict);
        EXPECT_NE(error.message().find(parent), std::string::npos);
    }
}

TEST_F(IncrementalTest, LooksAtTheParentsAgainBeforeTheCommit) {
    make_cluster();
    const std::string parent = full();
    const auto refused = [&](const std::function<void()> &between, const std::string &naming) {
        try {
            (void)incremental(ChangeMethod::kHashes, between);
            return false;
        } catch (const Error &error) {
            EXPECT_EQ(error.code(), ErrorCode::kConflict);
            EXPECT_NE(error.message().find(naming), std::string::npos) << error.message();
            return true;
        }
    };
    EXPECT_TRUE(refused([&] { (void)stores[0]->remove({layout.pack(parent, 0)}, never); }, layout.pack(parent, 0)));
    reset();
    const std::string other = full();
    EXPECT_TRUE(refused([&] { (void)stores[0]->remove({layout.commit(other)}, never); }, other));
    reset();
    const std::string third = full();
    EXPECT_TRUE(refused(
        [&] {
            const std::string key = layout.tombstone(third);
            ASSERT_EQ(stores[0]->put_new({.key = key, .body = as_view("x")}, never), PutOutcome::kStored);
        },
        third));
}

TEST_F(IncrementalTest, WithoutHashesAComparisonStoresEverything) {
    make_cluster();
    options.block_hashes = false;
    (void)full();
    EXPECT_FALSE(commit_of(ids.back()).block_hashes);
    EXPECT_TRUE(commit_of(ids.back()).hashes.empty());
    options.block_hashes = true;
    expect_state(incremental(ChangeMethod::kHashes));
    EXPECT_TRUE(commit_of(ids.back()).block_hashes);
    change_blocks(kTable, {1});
    expect_state(incremental(ChangeMethod::kHashes));
    EXPECT_EQ(commit_of(ids.back()).totals.changed_blocks, 1U);
}

// By their names it is told which of two backups is newer, whatever their kind and whoever's clock is slow.
TEST_F(IncrementalTest, IdsAscendAlongAChainAndTellBackupsOfOneSecondApart) {
    make_cluster();
    const auto begin = [&](int64_t started_ms, std::vector<std::string> parents) {
        AttemptDocument attempt = attempt_of(parents.empty());
        attempt.started_ms = started_ms;
        attempt.parents = std::move(parents);
        const bool is_full = attempt.parents.empty();
        return BackupWriter(repositories, options, progress, log).begin(attempt, is_full, never);
    };
    const std::string parent = full();
    const int64_t time_ms = backup_id_time_ms(parent).value();
    EXPECT_EQ(parent, make_backup_id(time_ms, true));
    const std::string child = begin(time_ms - 5000, {parent});
    EXPECT_EQ(child, make_backup_id(time_ms + 1000, false));
    EXPECT_EQ(begin(time_ms + 1000, {}), make_backup_id(time_ms + 2000, true));
    EXPECT_EQ(begin(time_ms + 2000, {parent}), make_backup_id(time_ms + 3000, false));
    EXPECT_FALSE(backup_id_time_ms("20261120T08401F").has_value());

    // The id of a backup that expired is not given again: readers would take the new one for it.
    const std::string expired = make_backup_id(time_ms + 60000, true);
    EXPECT_EQ(stores[0]->put_new({.key = layout.tombstone(expired), .body = Bytes(1)}, never), PutOutcome::kStored);
    EXPECT_EQ(begin(time_ms + 60000, {}), make_backup_id(time_ms + 61000, true));
}

// Every repository has a hash key of its own, and all get the same objects: the parents' key is the one that counts.
TEST_F(IncrementalTest, SeveralRepositoriesShareOneKey) {
    use_store(std::make_shared<MemoryStore>("memory:second"));
    make_cluster();
    (void)full();
    EXPECT_EQ(commit_of(ids.back()).hash_repository, repositories[0]->id());
    std::swap(repositories[0], repositories[1]);
    change_blocks(kTable, {9});
    const std::string id = incremental(ChangeMethod::kHashes);
    expect_state(id);
    EXPECT_EQ(commit_of(id).totals.changed_blocks, 1U);
    EXPECT_EQ(commit_of(id).hash_repository, repositories[1]->id());
    // Without the repository whose key it is, nothing can be compared: everything is stored.
    repositories.pop_back();
    std::swap(stores[0], stores[1]);
    expect_state(incremental(ChangeMethod::kHashes));
    EXPECT_GT(commit_of(ids.back()).totals.changed_blocks, 380U);
    EXPECT_EQ(commit_of(ids.back()).hash_repository, repositories[0]->id());
}

TEST_F(IncrementalTest, ARepositoryWithoutTheParentIsGivenUp) {
    use_store(std::make_shared<MemoryStore>("memory:second"));
    make_cluster();
    const std::string parent = full();
    (void)stores[1]->remove({layout.commit(parent)}, never);
    const std::string id = incremental(ChangeMethod::kHashes);
    expect_state(id);
    EXPECT_FALSE(stores[1]->head(layout.commit(id), never));
    const std::vector<std::string> warnings = log.warnings();
    EXPECT_TRUE(std::any_of(warnings.begin(), warnings.end(), [](const std::string &line) {
        return line.find("goes on without \"memory:second\"") != std::string::npos;
    }));
}

// Whatever happens to the files, and however the chain mixes the two ways: each backup reads back as what was there.
RC_GTEST_PROP(IncrementalProperty, every_state_reads_back, ()) {
    test::IncrementalHarness harness;
    harness.options.threads = *rc::gen::inRange(1U, 4U);
    harness.create("base/5/16384", *rc::gen::inRange<uint32_t>(0, 300), 1);
    harness.create("base/5/16385", *rc::gen::inRange<uint32_t>(0, 5), 2);
    harness.write_file("postgresql.conf", as_view("a = b\n"));
    harness.make_directory("pg_wal");
    (void)harness.full();
    RC_ASSERT(harness.same(harness.ids.back()));
    const std::vector<std::string> paths = {"base/5/16384", "base/5/16385", "base/5/16386", "base/6/16384"};
    for (int backups = *rc::gen::inRange(1, 5); backups > 0; --backups) {
        for (int changes = *rc::gen::inRange(0, 6); changes > 0; --changes)
            harness.random_change(paths[*rc::gen::inRange<size_t>(0, paths.size())], *rc::gen::inRange<uint32_t>(0, 7),
                                  *rc::gen::inRange<uint32_t>(0, 320));
        (void)harness.incremental(*rc::gen::arbitrary<bool>() ? ChangeMethod::kSummaries : ChangeMethod::kHashes);
        RC_ASSERT(harness.same(harness.ids.back()));
    }
    for (const std::string &id : harness.ids)
        RC_ASSERT(harness.same(id));
}

} // namespace
} // namespace pgvigil
