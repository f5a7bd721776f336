#include "plan_test_support.h"

#include "base/error.h"
#include "plan/chains.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

using test::at;
using test::kSegment;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kSecond = 1000000; // µs

// Timeline 1 with segments 1 to 9 and a hole at 5; backups in 1-2 and 6-7. One transaction a segment, at second
// `segment`.
class OneTimeline : public testing::Test {
  protected:
    void SetUp() override {
        catalog.segment_size = kSegment;
        catalog.backups = {test::backup("20260101T000001F", 1, at(1, 100), at(2, 200), 2500),
                           test::backup("20260101T000002F", 1, at(6, 100), at(7, 200), 7500)};
        catalog.timelines = {{1, {{1, 4}, {6, 9}}, {}, false, 20000}};
        for (uint64_t segment = 1; segment <= 9; ++segment)
            if (segment != 5)
                facts.commit(1, at(segment, 5000), static_cast<uint32_t>(100 + segment),
                             static_cast<int64_t>(segment) * kSecond);
    }

    RestorePlan plan(RecoveryTarget target) {
        request.target = std::move(target);
        return plan_restore(catalog, request, facts);
    }
    Error refusal(RecoveryTarget target) {
        try {
            plan(std::move(target));
        } catch (const Error &error) {
            return error;
        }
        throw std::logic_error("the plan was not refused");
    }

    Catalog catalog;
    RestoreRequest request;
    test::StatedFacts facts;
};

TEST_F(OneTimeline, WindowsEndAtTheGap) {
    const auto windows = recovery_windows(catalog, &facts);
    ASSERT_EQ(windows.size(), 2U);
    EXPECT_EQ(windows[0].from_lsn, at(2, 200));
    EXPECT_EQ(windows[0].to_lsn, at(5));
    EXPECT_EQ(windows[0].to_us, 4 * kSecond);
    EXPECT_EQ(windows[0].stored_ms, std::nullopt);
    EXPECT_EQ(windows[1].to_lsn, at(10));
    EXPECT_EQ(windows[1].to_us, 9 * kSecond);
    EXPECT_EQ(windows[1].stored_ms, 20000);
}

TEST_F(OneTimeline, WalBehindAGapThatNoBackupLeadsToIsFound) {
    EXPECT_EQ(wal_behind_a_gap(catalog, recovery_windows(catalog, nullptr)), std::nullopt);
    catalog.timelines[0].runs = {{1, 4}, {6, 9}, {12, 14}};
    EXPECT_EQ(wal_behind_a_gap(catalog, recovery_windows(catalog, nullptr)), at(12));
    catalog.backups.push_back(test::backup("20260101T000003F", 1, at(12, 100), at(12, 200), 12500));
    EXPECT_EQ(wal_behind_a_gap(catalog, recovery_windows(catalog, nullptr)), std::nullopt);
    catalog.backups.clear();
    EXPECT_EQ(wal_behind_a_gap(catalog, recovery_windows(catalog, nullptr)), std::nullopt);
}

// A standby's backup of an idle primary ends behind everything that is archived.
TEST_F(OneTimeline, ABackupThatBringsItsOwnWalHasNoGapBehindIt) {
    catalog.backups = {test::backup("20260101T000003F", 1, at(20, 100), at(20, 200), 12500)};
    catalog.backups[0].own_wal = true;
    EXPECT_EQ(wal_behind_a_gap(catalog, recovery_windows(catalog, nullptr)), std::nullopt);
}

TEST_F(OneTimeline, LatestTakesTheNewestBackup) {
    const RestorePlan result = plan(LatestTarget{});
    EXPECT_EQ(result.backup, "20260101T000002F");
    EXPECT_EQ(result.wal_to, at(10));
    EXPECT_EQ(result.wal_segments, 4U);
    EXPECT_EQ(result.target_setting, "");
}

TEST_F(OneTimeline, AnLsnBeforeTheGapTakesTheOlderBackup) {
    const RestorePlan result = plan(LsnTarget{at(3, 10)});
    EXPECT_EQ(result.backup, "20260101T000001F");
    EXPECT_EQ(result.target_setting, "recovery_target_lsn");
    EXPECT_EQ(result.target_value, "0/300000A");
}

TEST_F(OneTimeline, TargetsInTheGapAreRefusedWithTheWindows) {
    const Error error = refusal(LsnTarget{at(5, 10)});
    EXPECT_EQ(error.code(), ErrorCode::kUnreachableTarget);
    EXPECT_EQ(error.message(), "cannot restore to LSN \"0/500000A\"");
    EXPECT_THAT(error.detail(), HasSubstr("(0/20000C8) to 1970-01-01 00:00:04.000000+00 (0/5000000) on timeline 1"));
    EXPECT_EQ(error.hint(), "The nearest position that can be restored is 0/5000000.");
}

TEST_F(OneTimeline, ATimeBeforeTheFirstBackupIsRefusedWithTheNearestMoment) {
    const Error error = refusal(TimeTarget{1 * kSecond});
    EXPECT_EQ(error.code(), ErrorCode::kUnreachableTarget);
    EXPECT_EQ(error.hint(), "The nearest moment that can be restored is 1970-01-01 00:00:02.500000+00.");
}

TEST_F(OneTimeline, ATimeInsideIsAsked) {
    const RestorePlan result = plan(TimeTarget{8 * kSecond + 1});
    EXPECT_EQ(result.backup, "20260101T000002F");
    EXPECT_EQ(result.target_setting, "recovery_target_time");
    EXPECT_EQ(result.target_value, "1970-01-01 00:00:08.000001+00");
}

TEST_F(OneTimeline, ATimeBetweenTheLastCommitAndTheLastStoredByteGoesToThePlannedEnd) {
    const RestorePlan result = plan(TimeTarget{15 * kSecond});
    EXPECT_TRUE(result.to_planned_end);
    EXPECT_EQ(result.target_setting, "");
    EXPECT_EQ(result.wal_to, at(10));
    EXPECT_EQ(refusal(TimeTarget{21 * kSecond}).code(), ErrorCode::kUnreachableTarget);
}

TEST_F(OneTimeline, ATimeInAnOlderWindowBehindItsLastCommitIsRefused) {
    // Between second 4 (the last commit before the gap) and 7.5 (the next backup) nothing is known.
    EXPECT_EQ(refusal(TimeTarget{6 * kSecond}).code(), ErrorCode::kUnreachableTarget);
}

TEST_F(OneTimeline, AnXidIsFoundExactly) {
    EXPECT_EQ(plan(XidTarget{103}).backup, "20260101T000001F");
    EXPECT_EQ(plan(XidTarget{109}).backup, "20260101T000002F");
    // In the range of no segment, before every backup's stop, and in the gap.
    for (const uint32_t xid : {999U, 101U, 105U})
        EXPECT_EQ(refusal(XidTarget{xid}).code(), ErrorCode::kUnreachableTarget) << xid;
}

TEST_F(OneTimeline, ARestorePointIsFoundByName) {
    facts.segments[{1, 8}].restore_points.push_back({"before_migration", 8 * kSecond, at(8, 900)});
    const RestorePlan result = plan(NameTarget{"before_migration"});
    EXPECT_EQ(result.target_setting, "recovery_target_name");
    EXPECT_EQ(result.backup, "20260101T000002F");
    EXPECT_EQ(refusal(NameTarget{"other"}).code(), ErrorCode::kUnreachableTarget);
}

TEST_F(OneTimeline, AnXidOrANameThatIsNowhereIsRefusedWithTheWindowsAndTheNewestMoment) {
    for (const RecoveryTarget &target : {RecoveryTarget{XidTarget{4711}}, RecoveryTarget{NameTarget{"nowhere"}}}) {
        const Error error = refusal(target);
        EXPECT_EQ(error.code(), ErrorCode::kUnreachableTarget);
        EXPECT_THAT(error.detail(), HasSubstr("0/A000000"));
        EXPECT_THAT(error.hint(), HasSubstr("is 1970-01-01 00:00:09.000000+00 (0/A000000)"));
    }
}

TEST_F(OneTimeline, AChosenBackupIsUsedOrRefused) {
    request.backup = "20260101T000001F";
    EXPECT_EQ(plan(LatestTarget{}).wal_to, at(5));
    EXPECT_EQ(refusal(LsnTarget{at(8)}).code(), ErrorCode::kUnreachableTarget);
    request.backup = "20260101T000009F";
    EXPECT_EQ(refusal(LatestTarget{}).code(), ErrorCode::kNotFound);
}

TEST_F(OneTimeline, ABackupWithoutItsWalIsNotOffered) {
    catalog.timelines[0].runs = {{1, 4}};
    EXPECT_EQ(plan(LatestTarget{}).backup, "20260101T000001F");
    catalog.timelines[0].runs = {};
    EXPECT_EQ(refusal(LatestTarget{}).code(), ErrorCode::kUnreachableTarget);
    catalog.backups[1].own_wal = true;
    EXPECT_EQ(plan(ImmediateTarget{}).backup, "20260101T000002F");
}

TEST_F(OneTimeline, AnIncrementalNamesItsChainOrWhatIsMissing) {
    CommitDocument incremental = test::backup("20260101T000003I", 1, at(8, 10), at(8, 90), 8500);
    incremental.full = false;
    incremental.parents = {"20260101T000002F"};
    catalog.backups.push_back(incremental);
    EXPECT_THAT(plan(LatestTarget{}).chain, ElementsAre("20260101T000003I", "20260101T000002F"));
    EXPECT_EQ(plan(LatestTarget{}).backup_bytes, 2000U);
    catalog.backups.erase(catalog.backups.begin() + 1);
    EXPECT_EQ(refusal(LatestTarget{}).code(), ErrorCode::kCorrupt);
}

// Timeline 2 left timeline 1 in the middle of segment 4; timeline 1 went on to segment 8.
class TwoTimelines : public OneTimeline {
  protected:
    void SetUp() override {
        catalog.segment_size = kSegment;
        catalog.backups = {test::backup("20260101T000001F", 1, at(1, 100), at(2, 200), 2500)};
        catalog.timelines = {{1, {{1, 8}}, {}, false, 30000}, {2, {{4, 6}}, {{1, at(4, 1000), "x"}}, true, 40000}};
        for (uint64_t segment = 1; segment <= 8; ++segment)
            facts.commit(1, at(segment, 500), static_cast<uint32_t>(segment), static_cast<int64_t>(segment) * kSecond);
        for (uint64_t segment = 4; segment <= 6; ++segment)
            facts.commit(2, at(segment, 5000), static_cast<uint32_t>(50 + segment),
                         static_cast<int64_t>(10 + segment) * kSecond);
    }
};

TEST_F(TwoTimelines, LatestFollowsTheNewestTimeline) {
    const RestorePlan result = plan(LatestTarget{});
    EXPECT_EQ(result.target_timeline, 2U);
    EXPECT_EQ(result.wal_to, at(7));
    ASSERT_EQ(result.path.size(), 2U);
    EXPECT_EQ(result.path[0].end, at(4, 1000));
}

TEST_F(TwoTimelines, CurrentAndNumberedTimelinesAreKept) {
    request.current_timeline = true;
    EXPECT_EQ(plan(LatestTarget{}).target_timeline, 1U);
    EXPECT_EQ(plan(LatestTarget{}).wal_to, at(9));
    request.current_timeline = false;
    request.timeline = 1;
    EXPECT_EQ(plan(LsnTarget{at(8)}).target_timeline, 1U);
    request.timeline = 3;
    EXPECT_EQ(refusal(LatestTarget{}).code(), ErrorCode::kNotFound);
}

TEST_F(TwoTimelines, SegmentsBelongToTheNewestTimelineThatHasBegun) {
    const TimelinePath path = *path_to(catalog, 2);
    EXPECT_EQ(owner_of_segment(path, 3, kSegment), 1U);
    EXPECT_EQ(owner_of_segment(path, 4, kSegment), 2U);
}

// The disk was put back to segment 2, and the server goes on from there: also on the timeline that leaves later.
TEST_F(TwoTimelines, ABackupOfALostHistoryIsNotRestored) {
    catalog.backups[0].epoch = 1;
    catalog.backups.push_back(test::backup("20260101T000002F", 1, at(3, 100), at(3, 200), 3500));
    catalog.backups[1].epoch = 1;
    EXPECT_EQ(plan(LatestTarget{}).backup, "20260101T000002F");
    EpochDocument epoch;
    epoch.number = 2;
    epoch.timeline = 1;
    epoch.lsn = at(2, 300);
    epoch.reason = "put back";
    catalog.epochs = {epoch};
    EXPECT_EQ(plan(LatestTarget{}).backup, "20260101T000001F");
    EXPECT_EQ(plan(LatestTarget{}).target_timeline, 2U);
    EXPECT_EQ(plan(LsnTarget{at(3, 500)}).backup, "20260101T000001F");
    EXPECT_FALSE(is_restorable(catalog, catalog.backups[1]));
    EXPECT_THAT(why_not_restorable(catalog, catalog.backups[1]).value(), HasSubstr("its history was given up"));
    EXPECT_TRUE(is_restorable(catalog, catalog.backups[0]));
    for (const RecoveryWindow &window : recovery_windows(catalog, &facts))
        EXPECT_THAT(window.backups, ElementsAre("20260101T000001F"));
    request.backup = "20260101T000002F";
    const Error error = refusal(LatestTarget{});
    EXPECT_EQ(error.code(), ErrorCode::kUnreachableTarget);
    EXPECT_THAT(error.detail(), HasSubstr("epoch 2 began at 0/200012C on timeline 1"));
}

// One that began before a promotion and ended behind it, on a standby that followed.
TEST_F(TwoTimelines, ABackupThatCrossesAPromotionIsNotOfALostHistory) {
    CommitDocument crossing = test::backup("20260101T000002F", 1, at(3, 100), at(5, 200), 3500);
    crossing.stop_timeline = 2;
    crossing.epoch = 1;
    crossing.wal_ranges = {{1, at(3, 100), at(4, 1000)}, {2, at(4, 1000), at(5, 200)}};
    catalog.backups.push_back(crossing);
    EpochDocument epoch;
    epoch.number = 2;
    epoch.timeline = 2;
    epoch.lsn = at(4, 1000);
    epoch.reason = "promotion";
    catalog.epochs = {epoch};
    EXPECT_TRUE(is_restorable(catalog, crossing));
    // The old primary's disk is put back: what the backup needs of its timeline is lost.
    epoch.number = 3;
    epoch.timeline = 1;
    epoch.lsn = at(3, 500);
    epoch.reason = "put back";
    catalog.epochs.push_back(epoch);
    EXPECT_FALSE(is_restorable(catalog, crossing));
}

TEST_F(TwoTimelines, WithoutItsHistoryATimelineIsNotOffered) {
    catalog.timelines[1].has_history = false;
    EXPECT_EQ(plan(LatestTarget{}).target_timeline, 1U);
}

TEST_F(TwoTimelines, ABackupBehindTheSwitchIsNotOnTheChildsPath) {
    catalog.backups.push_back(test::backup("20260101T000004F", 1, at(5, 100), at(5, 200), 5500));
    EXPECT_FALSE(is_on_path(catalog.backups[1], *path_to(catalog, 2)));
    EXPECT_EQ(plan(LatestTarget{}).backup, "20260101T000001F");
    EXPECT_EQ(plan(LsnTarget{at(7, 10)}).backup, "20260101T000004F");
}

RC_GTEST_PROP(RestorePlanProperties, WhatIsPlannedIsThere, ()) {
    Catalog catalog;
    catalog.segment_size = kSegment;
    test::StatedFacts facts;
    // A random set of segments on timeline 1, sometimes a second timeline that leaves it somewhere.
    std::set<uint64_t> present[3];
    const auto fill = [&](TimelineId timeline, uint64_t first) {
        TimelineWal wal{timeline, {}, {}, timeline > 1, 1000};
        for (uint64_t segment = first; segment < 20; ++segment) {
            if (*rc::gen::inRange(0, 8) == 0)
                continue;
            present[timeline].insert(segment);
            facts.commit(timeline, at(segment, 9000), static_cast<uint32_t>(segment), static_cast<int64_t>(segment));
            if (!wal.runs.empty() && wal.runs.back().last + 1 == segment)
                wal.runs.back().last = segment;
            else
                wal.runs.push_back({segment, segment});
        }
        catalog.timelines.push_back(wal);
    };
    fill(1, 1);
    if (*rc::gen::arbitrary<bool>()) {
        const uint64_t fork = *rc::gen::inRange<uint64_t>(2, 18);
        fill(2, fork);
        catalog.timelines[1].ancestors = {{1, at(fork, 4096), ""}};
    }
    const int backups = *rc::gen::inRange(1, 5);
    for (int i = 0; i < backups; ++i) {
        const uint64_t segment = *rc::gen::inRange<uint64_t>(1, 18);
        const uint64_t length = *rc::gen::inRange<uint64_t>(0, 3);
        catalog.backups.push_back(test::backup("2026010" + std::to_string(i + 1) + "T000000F",
                                               *rc::gen::inRange<TimelineId>(1, 1 + catalog.timelines.size()),
                                               at(segment, 100), at(segment + length, 200), 0));
    }
    const Lsn target = at(*rc::gen::inRange<uint64_t>(1, 20), *rc::gen::inRange<uint64_t>(0, kSegment));
    RestoreRequest request;
    request.target = LsnTarget{target};
    const auto covered = [&](const TimelinePath &path, Lsn from, Lsn to) {
        for (uint64_t segment = segment_of(from, kSegment); segment <= segment_before(to, kSegment); ++segment)
            if (!present[owner_of_segment(path, segment, kSegment)].contains(segment))
                return false;
        return true;
    };
    try {
        const RestorePlan plan = plan_restore(catalog, request, facts);
        const CommitDocument &chosen = *catalog.backup(plan.backup);
        RC_ASSERT(chosen.stop_lsn <= target);
        RC_ASSERT(is_on_path(chosen, plan.path));
        RC_ASSERT(covered(plan.path, chosen.start_lsn, std::max(target, chosen.stop_lsn)));
    } catch (const Error &error) {
        RC_ASSERT(error.code() == ErrorCode::kUnreachableTarget);
        // Refused only when really no backup leads there on the timeline that it leads to.
        for (const CommitDocument &backup : catalog.backups) {
            TimelineId newest = 0;
            for (const TimelineId timeline : reachable_timelines(catalog))
                if (is_on_path(backup, *path_to(catalog, timeline)))
                    newest = timeline;
            if (newest != 0 && backup.stop_lsn <= target)
                RC_ASSERT(!covered(*path_to(catalog, newest), backup.start_lsn, target));
        }
    }
}

} // namespace
} // namespace pgvigil
