#include "plan/retention.h"

#include "base/error.h"
#include "plan/calendar_period.h"
#include "plan_test_support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgvigil {
namespace {

using test::at;
using test::kSegment;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kHour = int64_t{3600} * 1000;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kNow = 1800000000000; // 2027-01-15 08:00 UTC

// A backup a day, ten segments a day; day 0 is the oldest. Backup `day` covers the segments 10 * day + 1 and + 2.
class Retention : public testing::Test {
  protected:
    void days(int count) {
        catalog.segment_size = kSegment;
        for (int day = 0; day < count; ++day)
            add(day, count);
        catalog.timelines = {{1, {{1, static_cast<uint64_t>(count) * 10}}, {}, false, kNow}};
    }
    void add(int day, int count) {
        const std::string id = name(day);
        const auto first = static_cast<uint64_t>(day) * 10 + 1;
        CommitDocument document =
            test::backup(id, 1, at(first, 100), at(first + 1, 200), kNow - (count - day) * kDay + kHour);
        document.wal_ranges = {{1, document.start_lsn, document.stop_lsn}};
        catalog.backups.push_back(std::move(document));
    }
    static std::string name(int day) {
        const std::string number = std::to_string(day);
        return "20270101T000" + std::string(3 - number.size(), '0') + number + "F";
    }
    void make_incremental(int day, const std::vector<int> &ancestors) {
        CommitDocument &document = catalog.backups[static_cast<size_t>(day)];
        document.full = false;
        for (const int ancestor : ancestors)
            document.parents.push_back(name(ancestor));
    }

    [[nodiscard]] RetentionPlan plan() const {
        RetentionInput input{catalog, {}, keeps, running, rules, now, false};
        return plan_retention(input);
    }
    [[nodiscard]] std::vector<int> kept() const {
        std::vector<int> days;
        const RetentionPlan result = plan();
        for (size_t i = 0; i < result.backups.size(); ++i)
            if (result.backups[i].keep)
                days.push_back(static_cast<int>(i));
        return days;
    }
    void only_window(int64_t window_ms) { rules = {window_ms, 0, 0, 0, 0, 0}; }

    Catalog catalog;
    Keeps keeps;
    std::vector<RunningBackup> running;
    RetentionRules rules;
    int64_t now = kNow;
};

TEST_F(Retention, TheWindowBeginsWithTheNewestBackupBeforeIt) {
    days(10);
    only_window(3 * kDay);
    EXPECT_THAT(kept(), ElementsAre(6, 7, 8, 9));
    const RetentionPlan result = plan();
    EXPECT_THAT(result.backups[6].reason, HasSubstr("begins with it"));
    EXPECT_EQ(result.backups[5].reason, "no rule keeps it");
    ASSERT_EQ(result.wal.size(), 2U);
    EXPECT_FALSE(result.wal[0].keep);
    EXPECT_EQ(result.wal[0].first, 1U);
    EXPECT_EQ(result.wal[0].last, 60U);
    EXPECT_TRUE(result.wal[1].keep);
    EXPECT_EQ(result.wal[1].reason, "recovery window");
    EXPECT_TRUE(result.keeps_segment(1, 5000)) << "what comes later stays";
}

TEST_F(Retention, AnOldFullKeepsJustTheWalThatMakesItConsistent) {
    days(10);
    rules = {kDay, 0, 0, 0, 0, 0};
    keeps[name(2)] = {name(2), 1, false, std::nullopt, "", 0};
    EXPECT_THAT(kept(), ElementsAre(2, 8, 9));
    const RetentionPlan result = plan();
    EXPECT_TRUE(result.keeps_segments(1, 21, 22));
    EXPECT_FALSE(result.keeps_segment(1, 20));
    EXPECT_FALSE(result.keeps_segment(1, 23));
    EXPECT_EQ(result.wal[1].reason, "makes backup " + name(2) + " consistent");
}

TEST_F(Retention, FullsAreCountedWhateverTheirAge) {
    days(10);
    for (int day = 5; day < 10; ++day)
        make_incremental(day, {4});
    rules = {0, 2, 0, 0, 0, 0};
    EXPECT_THAT(kept(), ElementsAre(3, 4, 9));
}

TEST_F(Retention, WhatAKeptBackupIsBuiltOnStays) {
    days(6);
    make_incremental(3, {2});
    make_incremental(4, {3, 2});
    make_incremental(5, {4, 3, 2});
    only_window(0);
    EXPECT_THAT(kept(), ElementsAre(2, 3, 4, 5));
    EXPECT_THAT(plan().backups[2].reason, HasSubstr("backup " + name(5) + " is built on it"));
    EXPECT_TRUE(plan().keeps_segments(1, 21, 22)) << "it is listed, so it can be restored";
}

TEST_F(Retention, ParentsThatAreNamedOneByOneStayAsWell) {
    days(4);
    make_incremental(2, {1});
    make_incremental(3, {2});
    only_window(0);
    EXPECT_THAT(kept(), ElementsAre(1, 2, 3));
}

TEST_F(Retention, CalendarCopies) {
    days(40); // 2026-12-06 to 2027-01-14
    rules = {0, 0, 3, 0, 0, 0};
    EXPECT_THAT(kept(), ElementsAre(37, 38, 39));
    rules = {0, 0, 0, 3, 0, 0}; // Sundays 2027-01-10 and -03, and the running week
    EXPECT_THAT(kept(), ElementsAre(28, 35, 39));
    rules = {0, 0, 0, 0, 2, 0}; // 2026-12-31
    EXPECT_THAT(kept(), ElementsAre(25, 39));
    rules = {0, 0, 0, 0, 0, 5};
    EXPECT_THAT(kept(), ElementsAre(25, 39));
}

TEST_F(Retention, AKeepHoldsUntilItsTimeOrItsRelease) {
    days(5);
    only_window(0);
    keeps[name(1)] = {name(1), 1, false, kNow + 1, "", 0};
    EXPECT_THAT(kept(), ElementsAre(1, 4));
    keeps[name(1)].until_ms = kNow;
    EXPECT_THAT(kept(), ElementsAre(4));
    keeps[name(1)] = {name(1), 2, true, std::nullopt, "", 0};
    EXPECT_THAT(kept(), ElementsAre(4));
}

TEST_F(Retention, TheNewestStaysWhateverTheClockSays) {
    days(5);
    for (const int64_t absurd : {INT64_MIN, int64_t{-1}, int64_t{0}, kNow + 100000 * kDay, INT64_MAX})
        for (const int64_t window : {int64_t{0}, kDay, INT64_MAX}) {
            now = absurd;
            only_window(window);
            const RetentionPlan result = plan();
            EXPECT_TRUE(result.backups[4].keep) << absurd << " " << window;
            EXPECT_TRUE(result.keeps_segments(1, 41, 50)) << absurd << " " << window;
        }
}

TEST_F(Retention, BackupsWithTimesOfTheFutureDoNotPushTheNewestOut) {
    days(5);
    for (CommitDocument &backup : catalog.backups)
        backup.stopped_ms = INT64_MAX - (&backup - catalog.backups.data());
    only_window(0);
    EXPECT_TRUE(plan().backups[4].keep);
    for (CommitDocument &backup : catalog.backups)
        backup.stopped_ms = INT64_MIN;
    rules = {0, 0, 1, 1, 1, 1};
    EXPECT_TRUE(plan().backups[4].keep);
}

TEST_F(Retention, TheNewestIsTheNewestThatCanBeRestored) {
    days(5);
    catalog.timelines[0].runs = {{1, 41}}; // 42 is missing: the last backup cannot be made consistent
    only_window(0);
    const RetentionPlan result = plan();
    EXPECT_TRUE(result.backups[3].keep);
    EXPECT_THAT(result.backups[3].reason, HasSubstr("newest restorable backup"));
    EXPECT_FALSE(result.backups[2].keep);
    // Its WAL may be on its way to a repository that lags behind.
    EXPECT_TRUE(result.backups[4].keep);
    EXPECT_THAT(result.backups[4].reason, HasSubstr("younger than the newest restorable backup"));
    catalog.timelines[0].runs = {{1, 31}, {33, 50}};
    EXPECT_THAT(plan().backups[3].reason, HasSubstr("cannot be restored"));
    EXPECT_FALSE(plan().backups[3].keep) << "older than the newest that can be";
    catalog.timelines[0].runs = {{1, 50}};
    make_incremental(4, {77}); // what it is built on is not there
    EXPECT_TRUE(plan().backups[3].keep);
}

// The WAL of the new history covers the LSNs of the backup whose history was given up.
TEST_F(Retention, ABackupOfALostHistoryIsNeitherTheNewestNorTheBaseOfTheWindow) {
    days(10);
    for (CommitDocument &backup : catalog.backups)
        backup.epoch = 1;
    EpochDocument epoch;
    epoch.number = 2;
    epoch.timeline = 1;
    epoch.lsn = at(65);
    catalog.epochs = {epoch};
    only_window(0);
    EXPECT_THAT(kept(), Contains(6)) << "the newest that can be restored";
    now -= 2 * kDay; // the window begins behind backup 7
    only_window(kDay / 2);
    EXPECT_THAT(kept(), Contains(6)) << "the window begins with it";
    rules = {0, 1, 0, 0, 0, 0};
    EXPECT_THAT(kept(), Contains(6));
    rules = {0, 0, 1, 0, 0, 0};
    EXPECT_THAT(kept(), Contains(6));
    catalog.backups.push_back(catalog.backups.back());
    catalog.backups.back().id = name(10);
    catalog.backups.back().epoch = 2;
    now = kNow;
    only_window(0);
    EXPECT_THAT(kept(), ElementsAre(10)) << "the first of the new history";
    EXPECT_THAT(plan().backups[8].reason, HasSubstr("its history was given up, epoch 2 began at 0/41000000"));
}

TEST_F(Retention, WhereNothingCanBeRestoredEverythingStays) {
    days(5);
    catalog.timelines[0].runs = {{3, 4}};
    only_window(0);
    EXPECT_THAT(kept(), ElementsAre(0, 1, 2, 3, 4));
    EXPECT_TRUE(plan().keeps_segments(1, 1, 1000));
    catalog.backups.clear();
    EXPECT_TRUE(plan().keeps_segments(1, 1, 1000));
}

TEST_F(Retention, ARunningBackupHoldsItsParentsAndTheWalSinceItsStart) {
    days(10);
    only_window(0);
    running = {{"20270115T000000I", {name(3)}, 1, at(50)}};
    EXPECT_THAT(kept(), ElementsAre(3, 9));
    EXPECT_TRUE(plan().keeps_segments(1, 50, 100));
    EXPECT_FALSE(plan().keeps_segment(1, 49));
}

TEST_F(Retention, TheStoresTimeOfACommitCounts) {
    days(3);
    only_window(kDay);
    RetentionInput input{catalog, {{name(0), kNow - 1}}, keeps, running, rules, now, false};
    const RetentionPlan result = plan_retention(input);
    EXPECT_TRUE(result.backups[0].keep) << "its own host's clock says it is three days old";
}

// Timeline 2 branches off timeline 1 in segment 25, timeline 3 off 2 in segment 45.
class RetentionOnTimelines : public Retention {
  protected:
    void SetUp() override {
        days(3); // backups in 1-2, 11-12, 21-22
        add_on(2, 30, kNow - 5 * kHour, "20270114T030000F");
        add_on(3, 50, kNow - 3 * kHour, "20270114T050000F");
        catalog.timelines = {{1, {{1, 30}}, {}, false, kNow - 10 * kHour},
                             {2, {{25, 49}}, {{1, at(25, 500), ""}}, true, kNow - 4 * kHour},
                             {3, {{45, 60}}, {{1, at(25, 500), ""}, {2, at(45, 500), ""}}, true, kNow}};
    }
    void add_on(TimelineId timeline, uint64_t segment, int64_t stopped_ms, const std::string &id) {
        CommitDocument document = test::backup(id, timeline, at(segment, 100), at(segment + 1, 100), stopped_ms);
        document.wal_ranges = {{timeline, document.start_lsn, document.stop_lsn}};
        catalog.backups.push_back(std::move(document));
    }
};

TEST_F(RetentionOnTimelines, OnlyTheNewestTimelineIsLeftWithoutAWindow) {
    only_window(0);
    const RetentionPlan result = plan();
    EXPECT_THAT(kept(), ElementsAre(4));
    EXPECT_FALSE(result.keeps_segment(1, 30));
    EXPECT_FALSE(result.keeps_segment(2, 49));
    EXPECT_FALSE(result.keeps_segment(3, 49));
    EXPECT_TRUE(result.keeps_segments(3, 50, 60));
    EXPECT_EQ(result.lowest_history, 3U);
}

TEST_F(RetentionOnTimelines, AWindowReachesBackAlongThePath) {
    only_window(4 * kHour - 1); // begins before the backup of timeline 3
    const RetentionPlan result = plan();
    EXPECT_THAT(kept(), ElementsAre(3, 4));
    EXPECT_TRUE(result.keeps_segments(2, 30, 45)) << "up to the segment that holds the switch point";
    EXPECT_TRUE(result.keeps_segments(3, 45, 60));
    EXPECT_FALSE(result.keeps_segment(2, 46)) << "timeline 2 behind the switch is no moment of the window";
    EXPECT_EQ(result.lowest_history, 2U);
}

TEST_F(RetentionOnTimelines, AnAbandonedTimelineStaysWhileItHasMomentsInTheWindow) {
    only_window(4 * kHour);
    EXPECT_TRUE(plan().keeps_segments(2, 30, 49));
}

TEST_F(RetentionOnTimelines, AKeptBackupOfAnAncestorKeepsTheHistoryBetween) {
    only_window(0);
    keeps[name(0)] = {name(0), 1, false, std::nullopt, "", 0};
    const RetentionPlan result = plan();
    EXPECT_EQ(result.lowest_history, 1U) << "no history file between others goes";
    EXPECT_TRUE(result.keeps_segments(1, 1, 2));
    EXPECT_FALSE(result.keeps_segment(1, 3));
}

TEST_F(RetentionOnTimelines, ATimelineWithoutItsHistoryFileStaysWhileItIsYoung) {
    catalog.timelines.push_back({4, {{58, 61}}, {}, false, kNow});
    only_window(0);
    EXPECT_TRUE(plan().keeps_segments(4, 58, 61));
    EXPECT_THAT(kept(), ElementsAre(4));
}

TEST(CalendarPeriod, CountsInUtc) {
    EXPECT_EQ(calendar_period(0, CalendarUnit::kDay), 0);
    EXPECT_EQ(calendar_period(-1, CalendarUnit::kDay), -1);
    const int64_t monday = int64_t{1767571200} * 1000; // 2026-01-05
    EXPECT_EQ(calendar_period(monday, CalendarUnit::kWeek), calendar_period(monday - 1, CalendarUnit::kWeek) + 1);
    EXPECT_EQ(calendar_period(monday, CalendarUnit::kMonth), 2026 * 12);
    EXPECT_EQ(calendar_period(monday, CalendarUnit::kYear), 2026);
    for (const CalendarUnit unit : {CalendarUnit::kDay, CalendarUnit::kWeek, CalendarUnit::kMonth, CalendarUnit::kYear})
        EXPECT_LT(calendar_period(INT64_MIN, unit), calendar_period(INT64_MAX, unit));
}

} // namespace
} // namespace pgvigil
