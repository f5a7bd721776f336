#include "base/time.h"
#include "repo/tombstones.h"
#include "restore_support.h"
#include "storage/faulty_store.h"
#include "transfer/verify.h"

namespace pgvigil {
namespace {

class VerifyTest : public test::RestoreTest {
  protected:
    VerifyTest() {
        use_repositories(1);
        make_cluster();
        write_file("base/5/16387", test::some_bytes(100, 7));
        write_file("base/5/16388", test::some_bytes(24576, 8));
        id = back_up_all();
    }
    MemoryStore &memory() { return static_cast<MemoryStore &>(*stores[0]); }

    VerifyVerdict verify(const std::string &backup) {
        VerifyProgress seen;
        const VerifyVerdict verdict = verify_backup(repositories[0], backup, {}, seen, log, never);
        EXPECT_GE(seen.bytes, verdict.bytes);
        return verdict;
    }
    std::vector<std::string> keys() {
        std::vector<std::string> found;
        ListRequest request;
        for_each_page(*stores[0], request, never, [&](const ListPage &page) {
            for (const ObjectInfo &object : page.objects)
                if (object.key.find("/data/") != std::string::npos || object.key.find("/files/") != std::string::npos ||
                    object.key.find("/commits/") != std::string::npos || object.key.find("/wal/") != std::string::npos)
                    found.push_back(object.key);
        });
        return found;
    }

    std::string id;
};

TEST_F(VerifyTest, AnUndamagedBackupHasNoProblems) {
    EXPECT_EQ(backups_to_verify(*repositories[0], "", never), std::vector<std::string>{id});
    EXPECT_EQ(backups_to_verify(*repositories[0], id, never), std::vector<std::string>{id});
    EXPECT_THROW((void)backups_to_verify(*repositories[0], "20200101T000000F", never), Error);
    EXPECT_THROW((void)backups_to_verify(*repositories[0], "../x", never), Error);
    const VerifyVerdict verdict = verify(id);
    EXPECT_TRUE(verdict.problems.empty()) << verdict.problems.front().object << " " << verdict.problems.front().problem;
    EXPECT_EQ(verdict.backup_id, id);
    EXPECT_GE(verdict.objects, 5U);
    EXPECT_GT(verdict.bytes, 1 * kMiB);
}

// Expiry and a verification may run at the same time: what was let go is no damage.
TEST_F(VerifyTest, ABackupThatExpiryTakesMeanwhileHasNoProblems) {
    const std::vector<std::string> packs = [&] {
        std::vector<std::string> all = keys();
        std::erase_if(all, [](const std::string &key) { return key.find("/data/") == std::string::npos; });
        return all;
    }();
    EXPECT_TRUE(stores[0]->remove(packs, never).empty());
    EXPECT_FALSE(verify(id).expired);
    EXPECT_FALSE(verify(id).problems.empty()) << "without a tombstone it is damage";
    create_tombstone(*repositories[0], {id, "expired", "host", unix_time_ms()}, 1, never);
    EXPECT_TRUE(verify(id).expired);
    EXPECT_TRUE(verify(id).problems.empty());
}

// Every object that a restore needs, flipped or missing, is named.
TEST_F(VerifyTest, DamageOfEveryObjectIsFound) {
    const std::vector<std::string> all = keys();
    ASSERT_GE(all.size(), 5U);
    for (const std::string &key : all) {
        const Bytes original = stores[0]->get(key, 64 * kMiB, never).value();
        for (const size_t at : {original.size() / 2, original.size() - 1}) {
            Bytes damaged = original;
            damaged[at] ^= std::byte{1};
            memory().overwrite_for_test(key, damaged);
            const VerifyVerdict verdict = verify(id);
            ASSERT_EQ(verdict.problems.size(), 1U) << key;
            EXPECT_EQ(verdict.problems[0].object, key);
        }
        memory().overwrite_for_test(key, Bytes(original.begin(), original.end() - 1));
        EXPECT_EQ(verify(id).problems.size(), 1U) << key;
        ASSERT_TRUE(stores[0]->remove({key}, never).empty());
        const VerifyVerdict verdict = verify(id);
        ASSERT_EQ(verdict.problems.size(), 1U) << key;
        EXPECT_EQ(verdict.problems[0].object, key);
        memory().overwrite_for_test(key, original);
    }
    EXPECT_TRUE(verify(id).problems.empty());
}

// A pack that was written again with other content, and whose digest somebody has put into the commit document: the
// table still knows better.
TEST_F(VerifyTest, APackThatTheTableDoesNotKnowIsFound) {
    const CommitDocument commit = load_commit(*repositories[0], id, never).value();
    PackBuilder builder(Compression{}, 1, random_uuid(), kMaxPackBytes);
    const Bytes plain = test::some_bytes(8192, 99);
    (void)builder.add("base/5/16384", 0, plain, content_hash(plain));
    const Bytes pack = builder.finish();
    CommitDocument forged = commit;
    forged.packs[0].size = pack.size();
    forged.packs[0].sha256 = sha256(pack);
    memory().overwrite_for_test(pack_key(layout, id, commit.packs[0]), pack);
    memory().overwrite_for_test(layout.commit(id), encode_document(encode(forged), 1, random_uuid()));
    const VerifyVerdict verdict = verify(id);
    ASSERT_EQ(verdict.problems.size(), 1U);
    EXPECT_NE(verdict.problems[0].problem.find("where the table says"), std::string::npos);
}

// An ancestor with the same id that is not the one this backup was built on.
TEST_F(VerifyTest, AnotherParentIsFound) {
    CommitDocument child = load_commit(*repositories[0], id, never).value();
    const std::string parent = id;
    child.id = "20991231T235959I";
    child.full = false;
    child.parents = {parent};
    child.parent_commit_digests[parent] =
        to_hex(sha256(stores[0]->get(layout.commit(parent), 64 * kMiB, never).value()));
    for (StoredObject &pack : child.packs)
        pack.name = parent + "/" + pack.name;
    for (const StoredObject &part : child.table)
        memory().overwrite_for_test(layout.files_prefix(child.id) + part.name,
                                    stores[0]->get(layout.files_prefix(parent) + part.name, 64 * kMiB, never).value());
    for (const StoredObject &part : child.hashes)
        memory().overwrite_for_test(layout.files_prefix(child.id) + part.name,
                                    stores[0]->get(layout.files_prefix(parent) + part.name, 64 * kMiB, never).value());
    memory().overwrite_for_test(layout.commit(child.id), encode_document(encode(child), 1, random_uuid()));
    EXPECT_EQ(backups_to_verify(*repositories[0], child.id, never), (std::vector<std::string>{child.id, parent}));
    const VerifyVerdict good = verify(child.id);
    EXPECT_TRUE(good.problems.empty()) << good.problems.front().object << " " << good.problems.front().problem;
    CommitDocument other = load_commit(*repositories[0], parent, never).value();
    other.host = "elsewhere";
    memory().overwrite_for_test(layout.commit(parent), encode_document(encode(other), 1, random_uuid()));
    const VerifyVerdict verdict = verify(child.id);
    ASSERT_EQ(verdict.problems.size(), 1U);
    EXPECT_EQ(verdict.problems[0].object, layout.commit(parent));
}

// An outage is no damage.
TEST_F(VerifyTest, AnOutageIsThrownAtEveryStep) {
    auto faulty = std::make_shared<FaultyStore>(stores[0]);
    const auto through = std::make_shared<Repository>(faulty, repositories[0]->document(), "memory:", test::kCluster);
    VerifyProgress seen;
    ASSERT_TRUE(verify_backup(through, id, {}, seen, log, never).problems.empty());
    const uint64_t calls = faulty->calls();
    ASSERT_GE(calls, 5U);
    for (uint64_t step = 1; step <= calls; ++step) {
        faulty->fail_from(faulty->calls() + step, FaultMoment::kBefore);
        try {
            (void)verify_backup(through, id, {}, seen, log, never);
            ADD_FAILURE() << "step " << step << " of " << calls;
        } catch (const Error &error) {
            EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
        }
        faulty->set_plan({});
    }
    CancelToken cancelled;
    cancelled.cancel();
    EXPECT_THROW((void)verify_backup(repositories[0], id, {}, seen, log, cancelled), Error);
}

} // namespace
} // namespace pgvigil
