#include "expire_support.h"

#include "base/error.h"

#include <gmock/gmock.h>

namespace pgvigil {
namespace {

using test::at;
using test::ExpireWorld;
using test::fill;
using test::kDayMs;
using test::kHourMs;
using test::kSegment;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char *kFull1 = "20270101T000000F";
constexpr const char *kIncremental2 = "20270102T000000I";
constexpr const char *kIncremental3 = "20270103T000000I";
constexpr const char *kFull4 = "20270104T000000F";
constexpr const char *kIncremental5 = "20270105T000000I";
constexpr const char *kDead = "20270103T120000F";

class Expire : public testing::Test {
  protected:
    Expire() { fill(world); }

    template <class Body> Error error_of(Body body) {
        try {
            body();
        } catch (const Error &error) {
            return error;
        }
        ADD_FAILURE() << "no error";
        return {ErrorCode::kInternal, ""};
    }
    static const ExpireRow &row(const ExpireReport &report, const std::string &object) {
        for (const ExpireRow &row : report.rows)
            if (row.object == object)
                return row;
        throw std::logic_error("no row of " + object);
    }

    ExpireWorld world;
};

TEST_F(Expire, DeletesAChainAndItsWalAndLeavesTheNewestWhole) {
    const ExpireReport report = world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
    world.check_listed("after");
    for (const char *id : {kFull1, kIncremental2, kIncremental3, kDead}) {
        EXPECT_TRUE(world.keys(world.layout.data_prefix(id)).empty()) << id;
        EXPECT_TRUE(world.keys(world.layout.files_prefix(id)).empty()) << id;
        EXPECT_FALSE(world.has(world.layout.commit(id))) << id;
        EXPECT_FALSE(world.has(world.layout.attempt(id))) << id;
        EXPECT_TRUE(world.has(world.layout.tombstone(id))) << "stays for a day: " << id;
    }
    EXPECT_TRUE(world.has_wal(31, 32));
    EXPECT_TRUE(world.has_wal(41, 60));
    EXPECT_FALSE(world.has_wal(30, 30));
    EXPECT_FALSE(world.has_wal(33, 33)) << "the full backup keeps just what makes it consistent";
    EXPECT_FALSE(world.has_wal(40, 40));
    EXPECT_FALSE(report.failure);
    // Commit, attempt, two packs, a table of three; attempt, pack, table of the dead one; 38 segments.
    EXPECT_EQ(report.deleted_objects, 3U * 5 + 3 + 38);
    EXPECT_EQ(row(report, kFull1).action, ExpireAction::kDelete);
    EXPECT_EQ(row(report, kFull4).action, ExpireAction::kKeep);
}

TEST_F(Expire, ADryRunChangesNothingAndSaysTheSame) {
    world.options.dry_run = true;
    const auto before = world.keys();
    const ExpireReport dry = world.expire();
    EXPECT_EQ(world.keys(), before);
    EXPECT_EQ(dry.deleted_objects, 0U);
    world.options.dry_run = false;
    const ExpireReport done = world.expire();
    std::vector<std::string> said;
    std::vector<std::string> did;
    for (const ExpireRow &row : dry.rows)
        if (row.action == ExpireAction::kDelete)
            said.push_back(row.kind + " " + row.object);
    for (const ExpireRow &row : done.rows)
        if (row.action == ExpireAction::kDelete)
            did.push_back(row.kind + " " + row.object);
    EXPECT_EQ(said, did);
    EXPECT_EQ(said.size(), 6U) << "three backups, an attempt, two stretches of WAL";
}

TEST_F(Expire, ASecondRunHasNothingToDo) {
    (void)world.expire();
    const auto keys = world.keys();
    EXPECT_EQ(world.expire().deleted_objects, 0U);
    EXPECT_EQ(world.keys(), keys);
}

TEST_F(Expire, TombstonesGoAfterADay) {
    (void)world.expire();
    for (const std::string &key : world.keys(world.layout.tombstones_prefix()))
        world.aged->set_time(key, world.now - kDayMs - kHourMs);
    (void)world.expire();
    EXPECT_TRUE(world.keys(world.layout.tombstones_prefix()).empty());
    world.check_listed("after");
}

TEST_F(Expire, RefusesToDeleteOverHalf) {
    world.options.confirm = false;
    const Error error = error_of([&] { (void)world.expire(); });
    EXPECT_EQ(error.code(), ErrorCode::kRefused);
    EXPECT_THAT(error.message(), HasSubstr("3 of the 5 backups"));
    EXPECT_THAT(error.hint(), HasSubstr("confirm"));
    EXPECT_TRUE(world.keys(world.layout.tombstones_prefix()).empty());
    world.options.dry_run = true;
    EXPECT_TRUE(world.expire().refusal.has_value()) << "a dry run says so as well";
    world.options.dry_run = false;
    world.options.rules.fulls = 2; // two go of five
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull1, kFull4, kIncremental5));
}

TEST_F(Expire, RefusesWhenTheClocksAreApart) {
    for (const int64_t apart : {-6 * int64_t{60000}, 6 * int64_t{60000}}) {
        world.aged->clock = unix_time_ms() + apart;
        EXPECT_EQ(error_of([&] { (void)world.expire(); }).code(), ErrorCode::kRefused);
    }
    world.aged->clock = unix_time_ms() + 4 * 60000;
    EXPECT_GT(world.expire().deleted_objects, 0U);
}

TEST_F(Expire, RefusesInARepositoryThatAnotherServerFilledUntilConfirmed) {
    world.options.confirm = false;
    world.options.rules.fulls = 2;
    world.add_epoch(2, "promotion", 2, at(61));
    EXPECT_GT(world.expire().deleted_objects, 0U) << "a promoted standby is the same cluster";
    world.add_epoch(3, "the old host burnt down", 3, at(61));
    world.options.rules.fulls = 1;
    const Error error = error_of([&] { (void)world.expire(); });
    EXPECT_EQ(error.code(), ErrorCode::kRefused);
    EXPECT_THAT(error.message(), HasSubstr("filled by another server"));
    world.options.confirm = true;
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
    EXPECT_TRUE(world.has(world.layout.confirmation(3)));
    world.options.confirm = false;
    EXPECT_NO_THROW((void)world.expire());
    world.add_epoch(4, "promotion", 4, at(61));
    EXPECT_NO_THROW((void)world.expire());
    world.add_epoch(5, "again", 5, at(61));
    EXPECT_EQ(error_of([&] { (void)world.expire(); }).code(), ErrorCode::kRefused);
}

TEST_F(Expire, ARunningBackupHoldsItsParentsAndItsOwnObjects) {
    const std::string running = "20270106T000000I";
    world.add_attempt(running, {kIncremental3, kIncremental2, kFull1}, at(50), 2 * kDayMs);
    world.put_text(world.layout.renewal(running, 7), "alive", kHourMs);
    world.store_object(world.layout.data_prefix(running), 0, 2 * kDayMs);
    (void)world.expire();
    EXPECT_EQ(world.listed().size(), 5U);
    EXPECT_EQ(world.keys(world.layout.data_prefix(running)).size(), 1U);
    world.check_listed("after");
    // Once it shows no life for a day, it is dead, and what it held goes.
    world.aged->set_time(world.layout.renewal(running, 7), world.now - kDayMs - kHourMs);
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
    EXPECT_TRUE(world.keys(world.layout.data_prefix(running)).empty());
    EXPECT_FALSE(world.has(world.layout.renewal(running, 7)));
}

TEST_F(Expire, ALargePackIsASignOfLifeAsWell) {
    const std::string running = "20270106T000000F";
    world.add_attempt(running, {}, at(50), 2 * kDayMs);
    world.store_object(world.layout.data_prefix(running), 0, kHourMs);
    (void)world.expire();
    EXPECT_EQ(world.keys(world.layout.data_prefix(running)).size(), 1U);
}

TEST_F(Expire, AdoptedPacksLiveAsLongAsSomethingRefersToThem) {
    StoredObject adopted;
    adopted.name = std::string(kDead) + "/000000";
    adopted.number = 100;
    adopted.size = 6;
    world.add_backup("20270106T000000F", {}, 51, 52, kDayMs, {adopted});
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre("20270106T000000F"));
    EXPECT_TRUE(world.has(world.layout.data_prefix(kDead) + "000000"));
    EXPECT_FALSE(world.has(world.layout.files_prefix(kDead) + "000000"));
    EXPECT_FALSE(world.has(world.layout.attempt(kDead)));
    world.check_listed("after");
    EXPECT_EQ(world.expire().deleted_objects, 0U) << "nor does a later run mistake them for leftovers";
    world.add_wal(1, 61, 90, 0);
    world.add_backup("20270107T000000F", {}, 71, 72, kHourMs);
    (void)world.expire();
    EXPECT_FALSE(world.has(world.layout.data_prefix(kDead) + "000000"));
}

TEST_F(Expire, ADeadAttemptThatARunningOneContinuesStays) {
    world.add_attempt("20270106T000000F", {}, at(50), kHourMs, {kDead});
    (void)world.expire();
    EXPECT_TRUE(world.has(world.layout.data_prefix(kDead) + "000000"));
    EXPECT_TRUE(world.has(world.layout.attempt(kDead)));
}

TEST_F(Expire, AKeepIsObeyedAndAReleaseToo) {
    add_keep(world.repository(), {kIncremental2, 0, false, std::nullopt, "test", world.now}, 1, world.never);
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull1, kIncremental2, kFull4, kIncremental5));
    EXPECT_TRUE(world.has_wal(11, 12));
    EXPECT_FALSE(world.has_wal(13, 13));
    world.check_listed("kept");
    add_keep(world.repository(), {kIncremental2, 0, true, std::nullopt, "test", world.now}, 1, world.never);
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
    EXPECT_TRUE(world.keys(world.layout.keeps_prefix()).empty());
}

TEST_F(Expire, AKeepForATimeEndsWithIt) {
    const int64_t until = world.now + kHourMs;
    add_keep(world.repository(), {kIncremental2, 0, false, until, "test", world.now}, 1, world.never);
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull1, kIncremental2, kFull4, kIncremental5));
    add_keep(world.repository(), {kIncremental2, 0, false, world.now - 1, "test", world.now}, 1, world.never);
    world.options.dry_run = true;
    const ExpireReport dry = world.expire();
    EXPECT_EQ(row(dry, kIncremental2).action, ExpireAction::kDelete);
    world.options.dry_run = false;
    const ExpireReport report = world.expire();
    EXPECT_EQ(row(report, kIncremental2).action, ExpireAction::kDelete);
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
    EXPECT_TRUE(world.keys(world.layout.data_prefix(kIncremental2)).empty());
    EXPECT_TRUE(world.keys(world.layout.keeps_prefix()).empty());
}

TEST_F(Expire, AKeepOfABackupThatIsGoingIsRefused) {
    create_tombstone(world.repository(), {kFull1, "", "", 0}, 1, world.never);
    const Error error =
        error_of([&] { add_keep(world.repository(), {kFull1, 0, false, std::nullopt, "", 0}, 1, world.never); });
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_TRUE(load_keeps(world.repository(), world.never).at(kFull1).released);
    EXPECT_EQ(error_of([&] {
                  add_keep(world.repository(), {"20200101T000000F", 0, false, {}, "", 0}, 1, world.never);
              }).code(),
              ErrorCode::kNotFound);
}

TEST_F(Expire, ATombstonedParentOfAnOfferedBackupStays) {
    create_tombstone(world.repository(), {kFull4, "", "", 0}, 1, world.never);
    EXPECT_THAT(world.listed(), Contains(kFull4));
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
    world.check_listed("after");
}

TEST_F(Expire, NotBeingAllowedToDeleteIsReportedAndNothingDisappears) {
    world.aged->refuse_delete = [](const std::string &key) {
        return std::optional(DeleteFailure{key, true, false, "AccessDenied"});
    };
    const auto before = world.keys();
    const ExpireReport report = world.expire();
    EXPECT_EQ(world.keys(), before) << "no tombstone: what stays is offered";
    EXPECT_EQ(report.deleted_objects, 0U);
    EXPECT_GT(report.denied_objects, 0U);
    EXPECT_EQ(row(report, kFull1).action, ExpireAction::kDenied);
    EXPECT_FALSE(report.failure);
}

TEST_F(Expire, ObjectsUnderLockAreCountedAndTheRestGoes) {
    world.aged->refuse_delete = [&](const std::string &key) {
        const bool locked = key == world.layout.commit(kIncremental2) || key == world.layout.pack(kFull1, 0);
        return locked ? std::optional(DeleteFailure{key, true, false, "locked"}) : std::nullopt;
    };
    const ExpireReport report = world.expire();
    EXPECT_EQ(report.denied_objects, 2U);
    EXPECT_FALSE(report.failure);
    EXPECT_EQ(row(report, kIncremental2).action, ExpireAction::kDenied);
    EXPECT_EQ(row(report, kFull1).action, ExpireAction::kDenied);
    EXPECT_EQ(world.keys(world.layout.data_prefix(kIncremental2)).size(), 2U) << "its commit stands: so do its packs";
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
    world.aged->refuse_delete = nullptr;
    (void)world.expire();
    EXPECT_TRUE(world.keys(world.layout.data_prefix(kFull1)).empty());
    EXPECT_TRUE(world.keys(world.layout.data_prefix(kIncremental2)).empty());
}

TEST_F(Expire, OtherFailuresOfSingleObjectsAreAnError) {
    world.aged->refuse_delete = [&](const std::string &key) {
        return key == world.layout.pack(kFull1, 0) ? std::optional(DeleteFailure{key, false, false, "InternalError"})
                                                   : std::nullopt;
    };
    const ExpireReport report = world.expire();
    ASSERT_TRUE(report.failure.has_value());
    EXPECT_THAT(report.failure->message(), HasSubstr("could not delete 1 objects"));
    EXPECT_FALSE(world.has_wal(30, 30)) << "the rest was done";
}

TEST_F(Expire, AVersionedBucketOnlyHides) {
    world.aged->versioned = true;
    const ExpireReport report = world.expire();
    EXPECT_EQ(report.deleted_objects, 0U);
    EXPECT_GT(report.hidden_objects, 0U);
    EXPECT_GT(report.hidden_bytes, 0U);
    EXPECT_EQ(row(report, kFull1).action, ExpireAction::kHide);
}

TEST_F(Expire, ADocumentThatCannotBeReadStopsEverything) {
    world.memory->overwrite_for_test(world.layout.commit(kFull1), Bytes(100));
    const auto before = world.keys();
    EXPECT_EQ(error_of([&] { (void)world.expire(); }).code(), ErrorCode::kCorrupt);
    EXPECT_EQ(world.keys(), before);
}

// What cannot be read is named, and what others say is shown; only expiry wants to know.
TEST_F(Expire, AKeepThatCannotBeReadHoldsAndStopsOnlyExpiry) {
    add_keep(world.repository(), {kFull1, 0, false, std::nullopt, "test", world.now}, 1, world.never);
    world.memory->overwrite_for_test(world.layout.keep(kFull1, 1), Bytes(100));
    create_tombstone(world.repository(), {kFull1, "", "", 0}, 1, world.never);
    const Catalog catalog = load_catalog(world.repository(), world.never);
    EXPECT_NE(catalog.backup(kFull1), nullptr) << "may be kept";
    EXPECT_TRUE(catalog.keeps.at(kFull1).holds(INT64_MAX));
    ASSERT_EQ(catalog.unreadable.size(), 1U);
    EXPECT_EQ(catalog.unreadable.front().key, world.layout.keep(kFull1, 1));
    world.check_listed("all can be restored");
    const auto before = world.keys();
    const Error error = error_of([&] { (void)world.expire(); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(error.message(), HasSubstr(world.layout.keep(kFull1, 1)));
    EXPECT_EQ(world.keys(), before);
    // Said again, it is read no more.
    EXPECT_EQ(
        error_of([&] { add_keep(world.repository(), {kFull1, 0, false, std::nullopt, "", 0}, 1, world.never); }).code(),
        ErrorCode::kNotFound)
        << "there is a tombstone";
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
}

// Timelines and epochs decide what can be restored: without them a backup looks lost that is not.
TEST_F(Expire, AHistoryOrAnEpochThatCannotBeReadStopsEverything) {
    const auto before = world.keys();
    const auto expect_refusal = [&](const std::string &key) {
        const auto with = world.keys();
        const Error error = error_of([&] { (void)world.expire(); });
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << key;
        EXPECT_THAT(error.message(), HasSubstr(key));
        EXPECT_THAT(error.hint(), HasSubstr("Nothing was deleted."));
        EXPECT_EQ(world.keys(), with) << key;
        (void)world.memory->remove({key}, world.never);
    };
    world.put_text(world.layout.wal_file(history_name(2)), "bits rot", 5 * kDayMs);
    expect_refusal(world.layout.wal_file(history_name(2)));
    world.put_text(world.layout.epoch(2), "bits rot", 5 * kDayMs);
    expect_refusal(world.layout.epoch(2));
    EXPECT_EQ(world.keys(), before);
    (void)world.expire();
    EXPECT_THAT(world.listed(), ElementsAre(kFull4, kIncremental5));
}

// Its own documents tell what it needs: nobody else can.
TEST_F(Expire, ACommitThatOnlyTheIndexCanTellStopsEverything) {
    world.memory->overwrite_for_test(world.layout.commit(kIncremental5), Bytes(100));
    const auto before = world.keys();
    EXPECT_EQ(error_of([&] { (void)world.expire(); }).code(), ErrorCode::kCorrupt);
    EXPECT_EQ(world.keys(), before);
}

TEST_F(Expire, AServerThatIsNotTheWriterAnyMoreStopsBeforeItDeletes) {
    world.options.check_writer = [](const CancelToken &) { throw Error(ErrorCode::kNotWriter, "fenced"); };
    const auto before = world.keys();
    EXPECT_EQ(error_of([&] { (void)world.expire(); }).code(), ErrorCode::kNotWriter);
    EXPECT_EQ(world.keys(), before);
}

TEST_F(Expire, OddFilesOfTheWalGoWithTheirSegments) {
    const ClusterLayout &layout = world.layout;
    const auto name = [](uint64_t segment) { return segment_name(1, segment, kSegment); };
    world.put_text(layout.wal_file(name(5)) + "~2", "x", kDayMs);
    world.put_text(layout.wal_file(name(5) + ".00000028.backup"), "x", kDayMs);
    world.put_text(layout.partial_file(name(6) + ".partial", "0123456789abcdef"), "x", kDayMs);
    world.put_text(layout.wal_part(name(7), 0, "abc"), "x", kDayMs);
    world.put_text(layout.wal_file(name(45) + ".00000028.backup"), "x", kDayMs);
    world.put_text(layout.gap(name(8), world.now), "x", 2 * kDayMs);
    world.put_text(layout.gap(name(50), world.now), "x", 2 * kDayMs);
    world.put_text("check/left", "x", 2 * kDayMs);
    (void)world.expire();
    const auto left = world.keys(layout.wal_prefix(1));
    EXPECT_EQ(left.size(), 2U + 20 + 1);
    EXPECT_TRUE(world.has(layout.wal_file(name(45) + ".00000028.backup")));
    EXPECT_EQ(world.keys(layout.gaps_prefix()).size(), 1U);
    EXPECT_TRUE(world.keys("check/").empty());
}

// Readers begin at the plain name: without it what an epoch wrote beside it is not found.
TEST_F(Expire, OfReplacedSegmentsTheNewestAndTheOneUnderThePlainNameStay) {
    world.add_epoch(2, "promotion", 2, at(50));
    world.add_epoch(3, "promotion", 2, at(50));
    const std::string key = world.layout.wal_file(segment_name(1, 52, kSegment));
    world.put_text(key + "~2", "newer", 2 * kDayMs);
    world.put_text(key + "~3", "newest", 2 * kDayMs);
    (void)world.expire();
    EXPECT_TRUE(world.has(key));
    EXPECT_FALSE(world.has(key + "~2"));
    EXPECT_TRUE(world.has(key + "~3"));
    EXPECT_TRUE(world.has_wal(53, 60));
}

} // namespace
} // namespace pgvigil
