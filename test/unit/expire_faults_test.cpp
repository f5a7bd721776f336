// Expiry cut off at every operation, before or after its effect: what is listed can be restored, and the next run
// completes. And a backup that races with it: every interleaving of the two protocols (rules D2).
#include "expire_support.h"

#include "base/error.h"
#include "storage/faulty_store.h"
#include "transfer/wal_presence.h"

#include <gmock/gmock.h>

namespace pgvigil {
namespace {

using test::at;
using test::ExpireWorld;
using test::fill;
using test::kDayMs;
using test::kHourMs;
using test::kSegment;

constexpr const char *kFull1 = "20270101T000000F";
constexpr const char *kDead = "20270103T120000F";

// Something of everything: an adopted pack, a keep, an old tombstone, a renewal.
void fill_more(ExpireWorld &world) {
    fill(world);
    StoredObject adopted;
    adopted.name = std::string(kDead) + "/000000";
    adopted.number = 100;
    adopted.size = 6;
    world.add_backup("20270106T000000F", {}, 51, 52, kDayMs, {adopted});
    add_keep(world.repository(), {"20270105T000000I", 0, false, std::nullopt, "test", world.now}, 1, world.never);
    create_tombstone(world.repository(), {"20260101T000000F", "", "", 0}, 1, world.never);
    world.aged->set_time(world.layout.tombstone("20260101T000000F"), world.now - 2 * kDayMs);
    world.put_text(world.layout.renewal("20270106T000000F", 1), "alive", kDayMs + kHourMs);
}

class ExpireCutOff : public testing::TestWithParam<FaultMoment> {};

TEST_P(ExpireCutOff, EveryListedBackupCanBeRestoredAndTheNextRunCompletes) {
    std::vector<std::string> expected;
    uint64_t operations = 0;
    {
        ExpireWorld world;
        fill_more(world);
        const auto faulty = std::make_shared<FaultyStore>(world.aged);
        (void)expire_repository(world.repository(faulty), world.options, null_log(), world.never);
        operations = faulty->calls();
        expected = world.keys();
    }
    ASSERT_GT(operations, 50U);
    for (uint64_t number = 1; number <= operations; ++number) {
        ExpireWorld world;
        fill_more(world);
        const auto faulty = std::make_shared<FaultyStore>(world.aged);
        faulty->fail_from(number, GetParam());
        EXPECT_THROW((void)expire_repository(world.repository(faulty), world.options, null_log(), world.never), Error);
        const std::string when = "cut off at operation " + std::to_string(number);
        world.check_listed(when);
        (void)world.expire();
        world.check_listed(when + " and completed");
        ASSERT_EQ(world.keys(), expected) << when;
    }
}

INSTANTIATE_TEST_SUITE_P(BeforeAndAfter, ExpireCutOff, testing::Values(FaultMoment::kBefore, FaultMoment::kAfter),
                         [](const auto &info) { return info.param == FaultMoment::kBefore ? "Before" : "After"; });

TEST(ExpireEachDeletion, WhatIsListedCanBeRestored) {
    ExpireWorld world;
    fill_more(world);
    int deletions = 0;
    world.aged->refuse_delete = [&](const std::string & /*key*/) {
        ++deletions;
        world.check_listed("before deletion " + std::to_string(deletions));
        return std::nullopt;
    };
    (void)world.expire();
    world.check_listed("at the end");
    EXPECT_GT(deletions, 40);
}

// A backup as its writer goes about it, step by step. It read the catalog before expiry began.
class RacingBackup {
  public:
    static constexpr const char *kId = "20270106T000000I";
    static constexpr size_t kSteps = 3;

    explicit RacingBackup(ExpireWorld &world) : world_(world) {}

    void step() {
        switch (done_++) {
        case 0:
            world_.add_attempt(kId, {kFull1}, at(58), 0);
            break;
        case 1:
            yields_ = has_tombstone(world_.repository(world_.memory), kFull1, world_.never);
            break;
        default:
            if (!yields_)
                commit();
            break;
        }
    }
    [[nodiscard]] size_t done() const { return done_; }
    [[nodiscard]] bool committed() const { return done_ == kSteps && !yields_; }

  private:
    void commit() {
        CommitDocument document = test::backup(kId, 1, at(58, 100), at(58, 200), world_.now);
        document.full = false;
        document.parents = {kFull1};
        document.system_identifier = test::kExpireCluster;
        document.wal_ranges = {{1, document.start_lsn, document.stop_lsn}};
        world_.put(world_.layout.commit(kId), encode_document(encode(document), 1, random_uuid()), 0);
    }

    ExpireWorld &world_;
    size_t done_ = 0;
    bool yields_ = false;
};

// Whether an operation of expiry's on the key has to do with the protocol.
bool matters(std::string_view key) {
    for (const char *part : {"/attempts/", "/commits/", "/tombstones/", "/keeps/", "/data/", "/files/"})
        if (key.find(part) != std::string_view::npos)
            return true;
    return false;
}

void small_world(ExpireWorld &world) {
    world.add_wal(1, 1, 2, 5 * kDayMs);
    world.add_wal(1, 57, 59, 5 * kDayMs);
    world.add_backup(kFull1, {}, 1, 2, 6 * kDayMs, {}, 1);
    world.add_backup("20270104T000000F", {}, 57, 57, 3 * kDayMs, {}, 1);
}

// Runs the backup's step `i` before the operation `when[i]` of expiry; returns how many operations there were.
uint64_t race(const std::array<uint64_t, RacingBackup::kSteps> &when, uint64_t &committed) {
    ExpireWorld world;
    small_world(world);
    RacingBackup backup(world);
    uint64_t operation = 0;
    world.aged->before_each = [&](std::string_view key) {
        if (!matters(key))
            return;
        ++operation;
        while (backup.done() < RacingBackup::kSteps && when[backup.done()] == operation)
            backup.step();
    };
    (void)world.expire();
    world.aged->before_each = nullptr;
    while (backup.done() < RacingBackup::kSteps)
        backup.step();
    world.check_listed("after the race");
    committed += backup.committed() ? 1 : 0;
    return operation;
}

TEST(ExpireRace, NoInterleavingLosesABackup) {
    uint64_t races = 0;
    uint64_t committed = 0;
    const uint64_t after = race({UINT64_MAX, UINT64_MAX, UINT64_MAX}, committed) + 1;
    ASSERT_GT(after, 20U);
    committed = 0;
    for (uint64_t attempt = 1; attempt <= after; ++attempt)
        for (uint64_t check = attempt; check <= after; ++check)
            for (const uint64_t commit : {check, check + 1, (check + after) / 2, after}) {
                ++races;
                (void)race({attempt, check, commit}, committed);
                if (testing::Test::HasFailure())
                    FAIL() << "steps before operations " << attempt << " " << check << " " << commit;
            }
    EXPECT_GT(committed, 0U);
    EXPECT_LT(committed, races);
    RecordProperty("races", static_cast<int>(races));
}

// A full backup of a standby that lags behind: its redo lies before the newest backup's start, in WAL that nothing else
// needs. It looks for marks before it commits, as transfer/backup_commit.cpp does.
class LaggingBackup {
  public:
    static constexpr const char *kId = "20270107T000000F";
    static constexpr size_t kSteps = 3;

    explicit LaggingBackup(ExpireWorld &world) : world_(world) {}

    void step() {
        switch (done_++) {
        case 0:
            world_.add_attempt(kId, {}, at(20, 100), 0);
            break;
        case 1:
            yields_ = !missing_segments(world_.repository(world_.memory),
                                        {{{1, at(20, 100), at(21, 200)}}, kSegment, 0}, 1, world_.never)
                           .empty();
            break;
        default:
            if (!yields_) {
                CommitDocument document = test::backup(kId, 1, at(20, 100), at(21, 200), world_.now);
                document.system_identifier = test::kExpireCluster;
                document.wal_ranges = {{1, document.start_lsn, document.stop_lsn}};
                world_.put(world_.layout.commit(kId), encode_document(encode(document), 1, random_uuid()), 0);
            }
        }
    }
    [[nodiscard]] size_t done() const { return done_; }
    [[nodiscard]] bool committed() const { return done_ == kSteps && !yields_; }

  private:
    ExpireWorld &world_;
    size_t done_ = 0;
    bool yields_ = false;
};

uint64_t race_for_wal(const std::array<uint64_t, LaggingBackup::kSteps> &when, uint64_t &committed) {
    ExpireWorld world;
    world.add_wal(1, 1, 2, 5 * kDayMs);
    world.add_wal(1, 20, 22, 5 * kDayMs);
    world.add_backup(kFull1, {}, 1, 1, 6 * kDayMs, {}, 1);
    world.add_backup("20270104T000000F", {}, 22, 22, 3 * kDayMs, {}, 1);
    LaggingBackup backup(world);
    uint64_t operation = 0;
    world.aged->before_each = [&](std::string_view key) {
        if (!matters(key) && key.find("/wal") == std::string_view::npos)
            return;
        ++operation;
        while (backup.done() < LaggingBackup::kSteps && when[backup.done()] == operation)
            backup.step();
    };
    (void)world.expire();
    world.aged->before_each = nullptr;
    while (backup.done() < LaggingBackup::kSteps)
        backup.step();
    world.check_listed("after the race");
    committed += backup.committed() ? 1 : 0;
    return operation;
}

TEST(ExpireRace, NoInterleavingTakesTheWalOfABackupThatCommits) {
    uint64_t races = 0;
    uint64_t committed = 0;
    const uint64_t after = race_for_wal({UINT64_MAX, UINT64_MAX, UINT64_MAX}, committed) + 1;
    ASSERT_GT(after, 20U);
    committed = 0;
    for (uint64_t attempt = 1; attempt <= after; attempt += 4)
        for (uint64_t check = attempt; check <= after; ++check)
            for (const uint64_t commit : {check, check + 2, after}) {
                ++races;
                (void)race_for_wal({attempt, check, commit}, committed);
                if (testing::Test::HasFailure())
                    FAIL() << "steps before operations " << attempt << " " << check << " " << commit;
            }
    EXPECT_GT(committed, 0U);
    EXPECT_LT(committed, races);
}

// A keep that is said at any moment of a run is obeyed or refused, never forgotten; also where an earlier one has
// passed, which the run releases.
class ExpireRaceWithKeep : public testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(AfterAKeepForATime, ExpireRaceWithKeep, testing::Bool());

TEST_P(ExpireRaceWithKeep, AKeepIsObeyedOrRefused) {
    for (uint64_t moment = 1;; ++moment) {
        ExpireWorld world;
        small_world(world);
        if (GetParam())
            add_keep(world.repository(), {kFull1, 0, false, world.now - 1, "test", world.now}, 1, world.never);
        uint64_t operation = 0;
        std::optional<bool> kept;
        world.aged->before_each = [&](std::string_view /*key*/) {
            if (++operation != moment)
                return;
            try {
                add_keep(world.repository(world.memory), {kFull1, 0, false, std::nullopt, "test", world.now}, 1,
                         world.never);
                kept = true;
            } catch (const Error &error) {
                EXPECT_EQ(error.code(), ErrorCode::kNotFound);
                kept = false;
            }
        };
        (void)world.expire();
        world.aged->before_each = nullptr;
        if (!kept)
            return; // the run was over before
        world.check_listed("keep at operation " + std::to_string(moment));
        EXPECT_EQ(*kept, std::ranges::count(world.listed(), kFull1) > 0) << "keep at operation " << moment;
        (void)world.expire();
        world.check_listed("the run after");
        EXPECT_EQ(*kept, std::ranges::count(world.listed(), kFull1) > 0) << "the run after";
    }
}

} // namespace
} // namespace pgvigil
