// Restores of backups whose bytes lie in several backups: the state of each comes back, and a missing or damaged object
// of an ancestor is named.
#include "chain_support.h"

#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

namespace fs = std::filesystem;
using test::ChainHistory;

class RestoreChain : public test::RestoreTest {
  protected:
    RestoreChain() {
        use_repositories(1);
        archive_small_segment();
        history = std::make_unique<ChainHistory>(*stores[0]);
    }
    // Each restore brings it along.
    void archive_small_segment() {
        const std::string name = "000000010000000000000010";
        segment = test::make_segment({.name = name, .size = kMiB});
        WalObjectInput input;
        input.plain = segment;
        input.whole_plain_length = segment.size();
        input.digest = sha256(segment);
        input.epoch = 1;
        FrameEncoder encoder(Compression{});
        ASSERT_EQ(stores[0]->put_new({.key = layout.wal_file(name), .body = encode_wal_object(input, encoder)}, never),
                  PutOutcome::kStored);
    }
    [[nodiscard]] CommitDocument chain_facts() const {
        CommitDocument document = whole_facts();
        document.wal_segment_size = kMiB;
        document.wal_ranges = {{1, document.start_lsn, Lsn{document.start_lsn.value + 0x1000}}};
        return document;
    }
    std::string back_up_history(bool full) {
        return history->back_up(full, chain_facts(), [](uint32_t limit) { return limit - 1; });
    }
    // A full backup and two incrementals of a few files.
    std::vector<std::string> make_chain() {
        for (uint32_t block = 0; block < 40; ++block)
            for (const char *path : {"base/5/1", "base/5/2", "base/5/3"})
                history->write(path, block);
        std::vector<std::string> ids{back_up_history(true)};
        history->write("base/5/1", 7);
        history->truncate("base/5/2", 10);
        ids.push_back(back_up_history(false));
        history->write("base/5/1", 30);
        history->drop("base/5/3");
        history->zero("base/5/2", 20);
        history->write("global/1260", 2);
        ids.push_back(back_up_history(false));
        return ids;
    }
    void expect_state(const std::string &id) {
        std::set<std::string> expected;
        for (const auto &[path, blocks] : history->states().at(id)) {
            EXPECT_TRUE(to_bytes(read(data(path))) == ChainHistory::bytes_of(blocks)) << id << " " << path;
            expected.insert(path);
        }
        for (const char *directory : {"base", "global"}) {
            if (!fs::exists(data(directory)))
                continue;
            for (const auto &entry : fs::recursive_directory_iterator(data(directory)))
                if (entry.is_regular_file() && entry.path().filename() != "pg_control") {
                    EXPECT_TRUE(expected.contains(entry.path().lexically_relative(data()).string())) << entry.path();
                }
        }
        EXPECT_TRUE(can_start());
    }
    MemoryStore &memory() { return dynamic_cast<MemoryStore &>(*stores[0]); }

    std::unique_ptr<ChainHistory> history;
};

TEST_F(RestoreChain, every_backup_of_a_chain_comes_back) {
    for (const std::string &id : make_chain()) {
        restore(id);
        expect_state(id);
        fs::remove_all(data());
    }
}

TEST_F(RestoreChain, what_an_ancestor_lacks_is_named_and_other_backups_are_unaffected) {
    const std::vector<std::string> ids = make_chain();
    const std::string other = back_up_history(true);
    for (const std::string &key : {layout.commit(ids[0]), layout.commit(ids[1]), layout.pack(ids[0], 0),
                                   layout.pack(ids[1], 0), layout.table_part(ids[0], 0), layout.table_index(ids[1])}) {
        const Bytes good = stores[0]->get(key, 64 * kMiB, never).value();
        Bytes bad = good;
        bad[bad.size() / 2] ^= std::byte{1};
        memory().overwrite_for_test(key, bad);
        Error error = restore_error(ids[2]);
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << key;
        EXPECT_NE(error.message().find(key), std::string::npos) << error.message();
        EXPECT_FALSE(can_start()) << key;
        fs::remove_all(data());

        ASSERT_TRUE(stores[0]->remove({key}, never).empty());
        error = restore_error(ids[2]);
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << key;
        EXPECT_NE(error.message().find(key), std::string::npos) << error.message();
        EXPECT_FALSE(can_start()) << key;
        fs::remove_all(data());

        restore(other);
        expect_state(other);
        fs::remove_all(data());
        memory().overwrite_for_test(key, good);
    }
    restore(ids[2]);
    expect_state(ids[2]);
}

TEST_F(RestoreChain, another_repository_has_the_ancestor) {
    const std::vector<std::string> ids = make_chain();
    use_repositories(1);
    for (const std::string &key : test::keys_of(*stores[0], layout.root())) {
        ASSERT_EQ(stores[1]->put_new({.key = key, .body = stores[0]->get(key, 64 * kMiB, never).value()}, never),
                  PutOutcome::kStored);
        if (key.find(ids[0]) != std::string::npos) {
            ASSERT_TRUE(stores[0]->remove({key}, never).empty());
        }
    }
    restore(ids[2]);
    expect_state(ids[2]);
    EXPECT_FALSE(log.warnings().empty());
}

TEST_F(RestoreChain, parents_that_are_not_a_chain_are_refused) {
    const std::vector<std::string> ids = make_chain();
    const std::string key = layout.commit(ids[2]);
    const Bytes good = stores[0]->get(key, 64 * kMiB, never).value();
    const CommitDocument commit = decode_commit(decode_document(good, key), key);
    const std::vector<std::function<void(CommitDocument &)>> changes = {
        [](CommitDocument &c) { c.parents.clear(); },
        [](CommitDocument &c) { c.parents.pop_back(); },
        [](CommitDocument &c) { std::swap(c.parents[0], c.parents[1]); },
        [](CommitDocument &c) { c.parents.push_back(c.parents[0]); },
        [](CommitDocument &c) { c.full = true; },
        [](CommitDocument &c) { c.parent_commit_digests.clear(); },
        [](CommitDocument &c) { c.parent_commit_digests[c.parents[1]][0] ^= 1; },
        [](CommitDocument &c) { c.block_size = 8192; },
    };
    for (size_t i = 0; i < changes.size(); ++i) {
        CommitDocument changed = commit;
        changes[i](changed);
        memory().overwrite_for_test(key, encode_document(encode(changed), 1, random_uuid()));
        EXPECT_EQ(restore_error(ids[2]).code(), ErrorCode::kCorrupt) << i;
        EXPECT_FALSE(can_start());
        fs::remove_all(data());
    }
}

TEST_F(RestoreChain, an_adopted_pack_is_read_where_it_lies) {
    const std::string id = make_chain().front();
    const std::string key = layout.commit(id);
    CommitDocument commit = decode_commit(*read_document(*stores[0], key, never), key);
    const std::string attempt = "20251119T080000F";
    for (StoredObject &pack : commit.packs) {
        const Bytes bytes = stores[0]->get(pack_key(layout, id, pack), 64 * kMiB, never).value();
        ASSERT_TRUE(stores[0]->remove({pack_key(layout, id, pack)}, never).empty());
        pack.name = attempt + "/" + std::to_string(100000 + pack.number);
        ASSERT_EQ(stores[0]->put_new({.key = pack_key(layout, id, pack), .body = bytes}, never), PutOutcome::kStored);
    }
    memory().overwrite_for_test(key, encode_document(encode(commit), 1, random_uuid()));
    restore(id);
    expect_state(id);
}

// What --delta fetches when nothing differs: nothing, as long as the parts of extents have their blocks' hashes.
TEST_F(RestoreChain, parts_of_extents_are_compared_by_the_hashes_of_their_blocks) {
    history->hash_with(*repositories[0]);
    const std::vector<std::string> ids = make_chain();
    RestoreOptions how = restore_options();
    how.delta = true;
    restore(ids[2], how);
    RestoreProgress again;
    run_restore(repositories, ids[2], how, again, log, never);
    expect_state(ids[2]);
    EXPECT_EQ(again.bytes_fetched, 0U);
    EXPECT_EQ(again.bytes_kept, 51U * ChainHistory::kBlock);

    // One block of a part: its frame is fetched, and little else.
    {
        std::fstream file(data("base/5/1"), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(15 * ChainHistory::kBlock);
        file.put('!');
    }
    RestoreProgress one;
    run_restore(repositories, ids[2], how, one, log, never);
    expect_state(ids[2]);
    EXPECT_GT(one.bytes_fetched, 0U);
    EXPECT_LT(one.bytes_kept, again.bytes_kept);

    // Hashes that cannot be read cost bytes, no more.
    const std::string key = layout.files_prefix(ids[0]) + "hashes-000000";
    ASSERT_TRUE(stores[0]->remove({key}, never).empty());
    RestoreProgress without;
    run_restore(repositories, ids[2], how, without, log, never);
    expect_state(ids[2]);
    EXPECT_GT(without.bytes_fetched, 0U);
    EXPECT_FALSE(log.warnings().empty());
}

// Rules A4 and E5: bytes that only have the unkeyed hash of what was stored are not taken for it.
TEST_F(RestoreChain, what_is_equal_is_decided_by_the_keyed_hashes) {
    history->hash_with(*repositories[0]);
    const std::string id = make_chain()[0];
    RestoreOptions how = restore_options();
    how.delta = true;
    restore(id, how);
    const std::string key = layout.files_prefix(id) + "hashes-000000";
    BlockHashWriter writer(1, random_uuid(),
                           [&](const std::string &, const Bytes &object) { memory().overwrite_for_test(key, object); });
    writer.add(std::vector<BlockHash>(1000));
    writer.finish();
    RestoreProgress again;
    run_restore(repositories, id, how, again, log, never);
    expect_state(id);
    EXPECT_EQ(again.bytes_kept, 0U);
}

struct Chain : RestoreChain {
    void TestBody() override {}
    using RestoreChain::chain_facts;
    using RestoreChain::expect_state;
    using RestoreChain::history;
    using RestoreChain::repositories;
    using RestoreChain::restore;
    using RestoreChain::restore_options;
    using RestoreChain::target;
};

// Whatever happened between the backups, and whichever of them the directory held before.
RC_GTEST_PROP(RestoreChainProperty, any_backup_is_restored_anew_or_over_another, ()) {
    Chain chain;
    const std::vector<std::string> paths = {"base/5/1", "base/5/2", "base/5/2/3", "global/1260"};
    const auto choose = [](uint32_t limit) { return *rc::gen::inRange<uint32_t>(0, limit); };
    if (choose(2) == 0)
        chain.history->hash_with(*chain.repositories[0]);
    std::vector<std::string> ids{chain.history->back_up(true, chain.chain_facts(), choose)};
    const int backups = *rc::gen::inRange(1, 5);
    // A file and a directory of one name, at different times.
    bool nested = false;
    for (int i = 0; i < backups; ++i) {
        const int steps = *rc::gen::inRange(0, 12);
        for (int step = 0; step < steps; ++step) {
            const std::string &path = paths[nested ? 2 : choose(2) == 0 ? 0 : 1];
            const uint32_t block = choose(200);
            switch (choose(8)) {
            case 0:
                chain.history->truncate(path, block);
                break;
            case 1:
                chain.history->drop(path);
                break;
            case 2:
                chain.history->zero(path, block);
                break;
            case 3:
                chain.history->write("global/1260", block);
                break;
            case 4:
                chain.history->drop(nested ? paths[2] : paths[1]);
                nested = !nested;
                break;
            default:
                chain.history->write(path, block);
            }
        }
        ids.push_back(chain.history->back_up(choose(5) == 0, chain.chain_facts(), choose));
    }
    RestoreOptions how = chain.restore_options();
    how.delta = true;
    for (int i = 0; i < 2; ++i) {
        const std::string &id = ids[choose(static_cast<uint32_t>(ids.size()))];
        chain.restore(id, how);
        chain.expect_state(id);
    }
}

} // namespace
} // namespace pgvigil
