// Backups that die, and the next one, which takes over what they stored (rules A7).
#include "backup_incremental_support.h"

#include "repo/attempt_renewal.h"
#include "storage/faulty_store.h"

#include <thread>

namespace pgvigil {
namespace {

class ContinueTest : public test::IncrementalTest {
  protected:
    ContinueTest() { options.dead_attempts.alone = true; }
    // `sizes` of packs, in bytes, that the store holds under an attempt's directory.
    [[nodiscard]] uint64_t stored_by(const std::string &id) const {
        uint64_t bytes = 0;
        for (const ObjectInfo &object : stores[0]->list({.prefix = layout.data_prefix(id)}, never).objects)
            bytes += object.size;
        return bytes;
    }
    [[nodiscard]] bool adopts_from(const std::string &id, const std::string &dead) const {
        for (const StoredObject &pack : commit_of(id).packs)
            if (pack.name.starts_with(dead + "/"))
                return true;
        return false;
    }
};

TEST_F(ContinueTest, AFullTakesOverWhatDidNotChange) {
    make_cluster();
    const std::string dead = interrupted(true);
    quiet_change("base/5/16384", 300); // in the third MiB of three
    const std::string id = full();
    expect_state(id);
    EXPECT_TRUE(adopts_from(id, dead));
    const CommitDocument commit = commit_of(id);
    EXPECT_GT(commit.totals.reused_bytes, 2 * kMiB);
    EXPECT_LT(commit.totals.reused_bytes, 3 * kMiB);
    EXPECT_LT(stored_by(id), 1200 * kKiB);
    const std::vector<std::string> said = log.others();
    EXPECT_TRUE(std::any_of(said.begin(), said.end(),
                            [](const std::string &line) { return line.find("took over") != std::string::npos; }));
    const std::string key = layout.attempt(id);
    const AttemptDocument attempt = decode_attempt(read_document(*stores[0], key, never).value(), key);
    EXPECT_EQ(attempt.continues, std::vector<std::string>{dead});
    // The block hashes are those of this backup: the next one compares with them.
    const std::string next = incremental(ChangeMethod::kHashes);
    expect_state(next);
    EXPECT_EQ(commit_of(next).totals.changed_blocks, 0U);
}

TEST_F(ContinueTest, AnIncrementalTakesOverToo) {
    make_cluster();
    for (const ChangeMethod method : {ChangeMethod::kHashes, ChangeMethod::kSummaries}) {
        reset();
        (void)full();
        source.method = method;
        source.changes = changes;
        std::set<uint32_t> blocks;
        for (uint32_t block = 0; block < 200; block += 2)
            blocks.insert(block);
        change_blocks("base/5/16384", blocks);
        const std::string dead = interrupted(false);
        change_blocks("base/5/16384", {10});
        const std::string id = incremental(method);
        expect_state(id);
        EXPECT_TRUE(adopts_from(id, dead));
        EXPECT_GE(commit_of(id).totals.reused_bytes, 99U * 8192);
    }
}

// An attempt that may be alive, one of another cluster or timeline, one that expires, and without hashes: nothing.
TEST_F(ContinueTest, OnlyWhatIsDeadAndOurs) {
    make_cluster();
    const std::string dead = interrupted(true);
    options.dead_attempts.alone = false;
    EXPECT_FALSE(adopts_from(full(), dead));
    reset();
    const std::string silent = interrupted(true);
    options.dead_attempts.silence = std::chrono::milliseconds(0);
    EXPECT_TRUE(adopts_from(full(), silent));
    reset();
    const std::string expiring = interrupted(true);
    const std::string key = layout.tombstone(expiring);
    ASSERT_EQ(stores[0]->put_new({.key = key, .body = as_view("x")}, never), PutOutcome::kStored);
    EXPECT_FALSE(adopts_from(full(), expiring));
    reset();
    const std::string unhashed = interrupted(true);
    options.block_hashes = false;
    EXPECT_FALSE(adopts_from(full(), unhashed));
    options.block_hashes = true;
    // It was there before the newest backup, which had its chance.
    EXPECT_FALSE(adopts_from(full(), unhashed));
}

TEST_F(ContinueTest, OfAnotherTimelineNothingIsTaken) {
    make_cluster();
    AttemptDocument other = attempt_of(true);
    other.timeline = 2;
    {
        BackupWriter writer(repositories, options, progress, log);
        (void)writer.begin(other, true, never);
        writer.copy(source, never);
    }
    const std::string id = full();
    EXPECT_EQ(commit_of(id).totals.reused_bytes, 0U);
}

TEST_F(ContinueTest, AcrossAHistoryThatWasGivenUpNothingIsTaken) {
    make_cluster();
    options.epoch = 1;
    const std::string dead = interrupted(true);
    const auto claim = [&](uint64_t number, const std::string &reason) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.timeline = attempt_of(true).timeline;
        epoch.reason = reason;
        const std::string key = layout.epoch(number);
        const Bytes body = encode_document(encode(epoch), number, random_uuid());
        ASSERT_EQ(stores[0]->put_new({.key = key, .body = body}, never), PutOutcome::kStored);
    };
    claim(1, "first");
    claim(2, "put back to a snapshot");
    options.epoch = 2;
    const std::string id = full();
    EXPECT_FALSE(adopts_from(id, dead));
    EXPECT_EQ(commit_of(id).epoch, 2U);
    // What died in the same epoch is continued.
    const std::string again = interrupted(true);
    EXPECT_TRUE(adopts_from(full(), again));
}

// Bytes that changed are not taken for what was stored, however alike: only a keyed hash of what is read now counts.
TEST_F(ContinueTest, ChangedBytesAreStoredAgain) {
    make_cluster();
    const std::string dead = interrupted(true);
    for (uint32_t block = 0; block < 385; block += 64)
        quiet_change("base/5/16384", block);
    quiet_change("base/5/16385", 0);
    const std::string id = full();
    expect_state(id);
    EXPECT_LT(commit_of(id).totals.reused_bytes, 200 * kKiB);
}

TEST_F(ContinueTest, RenewalsListPacksAndShowLife) {
    make_cluster();
    options.renewal_period = std::chrono::milliseconds(20);
    std::string id;
    {
        BackupWriter writer(repositories, options, progress, log);
        id = writer.begin(attempt_of(true), true, never);
        writer.copy(source, never);
        uint32_t written = 0;
        while (stores[0]->head(layout.renewal(id, written), never))
            ++written;
        // One may be under way that does not know of the last pack.
        const std::string key = layout.renewal(id, written + 2);
        for (int i = 0; i < 500 && !stores[0]->head(key, never); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    size_t packs = 0;
    for (uint32_t number = 0;; ++number) {
        const std::string key = layout.renewal(id, number);
        const auto json = read_document(*stores[0], key, never);
        if (!json) {
            EXPECT_GE(number, 2U);
            break;
        }
        const RenewalDocument renewal = decode_renewal(*json, key);
        EXPECT_EQ(renewal.attempt, id);
        EXPECT_EQ(renewal.number, number);
        for (const StoredObject &pack : renewal.packs) {
            const Bytes object = stores[0]->get(layout.data_prefix(id) + pack.name, kMaxPackBytes, never).value();
            EXPECT_EQ(sha256(object), pack.sha256);
            ++packs;
        }
    }
    EXPECT_GE(packs, 1U);
    const std::string next = full();
    expect_state(next);
    EXPECT_TRUE(adopts_from(next, id));
}

// Dies at every operation of the store in turn; the next backup is whole, and the one after it continues nothing.
TEST_F(ContinueTest, DeathAtEveryStage) {
    make_cluster();
    create("base/5/20000", 40, 8);
    bool reused = false;
    for (uint64_t number = 1;; ++number) {
        stores.clear();
        repositories.clear();
        ids.clear();
        states.clear();
        const auto faulty = std::make_shared<FaultyStore>(std::make_shared<MemoryStore>());
        use_store(faulty);
        (void)full();
        change_blocks("base/5/16384", {static_cast<uint32_t>(number), 100, 101, 102, 200, 201, 202, 203});
        source.method = ChangeMethod::kHashes;
        faulty->fail_from(faulty->calls() + number, number % 2 == 0 ? FaultMoment::kBefore : FaultMoment::kAfter);
        bool failed = false;
        try {
            (void)incremental(ChangeMethod::kHashes);
        } catch (const Error &) {
            failed = true;
        }
        faulty->set_plan({});
        if (!failed)
            break;
        const std::string id = incremental(number % 3 == 0 ? ChangeMethod::kSummaries : ChangeMethod::kHashes);
        expect_state(id);
        reused = reused || commit_of(id).totals.reused_bytes > 0;
    }
    EXPECT_TRUE(reused);
}

} // namespace
} // namespace pgvigil
