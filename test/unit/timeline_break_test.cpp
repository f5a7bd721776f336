#include "plan/backup_kind.h"
#include "plan/chains.h"
#include "plan/recovery_windows.h"
#include "plan/restore_plan.h"
#include "plan/retention_wal.h"
#include "plan/timeline_path.h"
#include "plan_test_support.h"
#include "transfer/wal_get_path.h"

#include <gtest/gtest.h>

namespace pgvigil::test {
namespace {

EpochDocument epoch(uint64_t number, TimelineId timeline, Lsn lsn, bool breaks = false) {
    EpochDocument document;
    document.number = number;
    document.timeline = timeline;
    document.lsn = lsn;
    document.reason = "test";
    document.breaks = breaks;
    return document;
}

// Timeline 1 with segments 1 to 20, left for timeline 2 in segment 10, which has 10 to 15.
Catalog two_timelines() {
    Catalog catalog;
    catalog.segment_size = kSegment;
    TimelineWal first;
    first.timeline = 1;
    first.runs = {{1, 20}};
    TimelineWal second;
    second.timeline = 2;
    second.runs = {{10, 15}};
    second.has_history = true;
    second.ancestors = {{1, at(10, 500), ""}};
    catalog.timelines = {first, second};
    catalog.epochs = {epoch(1, 1, at(1))};
    return catalog;
}

TEST(TimelineBreak, NothingIsReachedBehindABreak) {
    Catalog catalog = two_timelines();
    catalog.epochs.push_back(epoch(2, 1, at(7), true));
    catalog.backups = {backup("20261101T000000F", 1, at(2), at(3), 1)};
    const TimelinePath path = *path_to(catalog, 1);
    EXPECT_EQ(contiguous_reach(catalog, path, at(2)).end, at(7));
    EXPECT_EQ(contiguous_reach(catalog, path, at(7)).end, at(21)) << "what begins there goes on";
    const auto windows = recovery_windows(catalog, nullptr);
    ASSERT_FALSE(windows.empty());
    EXPECT_EQ(windows.front().to_lsn, at(7));
    catalog.timelines.pop_back();
    EXPECT_EQ(wal_behind_a_gap(catalog, recovery_windows(catalog, nullptr)), at(7));
}

TEST(TimelineBreak, ABackupBeforeABreakIsNobodysParent) {
    ClusterFacts now;
    now.timeline = 1;
    now.start_lsn = at(9);
    now.epochs = {epoch(1, 1, at(1)), epoch(2, 1, at(7), true)};
    CommitDocument parent = backup("20261101T000000F", 1, at(2), at(3), 1);
    parent.epoch = 1;
    now.system_identifier = parent.system_identifier;
    now.major_version = parent.server_version / 10000;
    now.block_size = parent.block_size;
    now.relation_segment_blocks = parent.relation_segment_blocks;
    now.checksum_version = parent.checksum_version;
    ASSERT_TRUE(objection_to(parent, now));
    EXPECT_NE(objection_to(parent, now)->find("breaks"), std::string::npos);
    now.epochs.back().breaks = false;
    EXPECT_FALSE(objection_to(parent, now));
}

TEST(TimelineBreak, APathWhoseAncestorWasTakenOverLaterBeginsAtTheSwitch) {
    Catalog catalog = two_timelines();
    catalog.epochs.push_back(epoch(2, 2, at(10, 500)));
    ASSERT_EQ(path_to(catalog, 2)->size(), 2U);
    // Behind the switch, and in its segment, which is read from timeline 2.
    catalog.epochs.push_back(epoch(3, 1, at(10)));
    EXPECT_EQ(path_to(catalog, 2)->size(), 2U);
    catalog.epochs.push_back(epoch(4, 1, at(9)));
    const TimelinePath path = path_to(catalog, 2).value();
    ASSERT_EQ(path.size(), 1U);
    EXPECT_EQ(path.front().timeline, 2U);
    EXPECT_EQ(path.front().start, at(10, 500));
    EXPECT_TRUE(path_to(catalog, 1));
    EXPECT_EQ(contiguous_reach(catalog, path, at(10, 600)).end, at(16));
    EXPECT_EQ(contiguous_reach(catalog, path, at(9)).end, at(9)) << "nothing of the path is there";
}

TEST(TimelineBreak, WhatTheChildHoldsAloneIsRestorable) {
    Catalog catalog = two_timelines();
    catalog.epochs.push_back(epoch(2, 2, at(10, 500)));
    catalog.epochs.push_back(epoch(3, 1, at(9)));
    CommitDocument of_ancestor = backup("20261101T000000F", 1, at(8), at(8, 200), 1000);
    of_ancestor.epoch = 1;
    CommitDocument crossing = backup("20261101T000001F", 1, at(9, 100), at(11), 2000);
    crossing.stop_timeline = 2;
    crossing.epoch = 1;
    CommitDocument of_child = backup("20261101T000002F", 2, at(10, 600), at(11), 3000);
    of_child.epoch = 2;
    catalog.backups = {of_ancestor, crossing, of_child};
    EXPECT_TRUE(is_restorable(catalog, of_ancestor)) << "on its own timeline";
    EXPECT_FALSE(is_restorable(catalog, crossing));
    EXPECT_TRUE(is_restorable(catalog, of_child));
    EXPECT_FALSE(is_on_path(of_ancestor, *path_to(catalog, 2)));
    RestoreRequest request;
    StatedFacts facts;
    const RestorePlan plan = plan_restore(catalog, request, facts);
    EXPECT_EQ(plan.backup, of_child.id);
    EXPECT_EQ(plan.target_timeline, 2U);
    EXPECT_EQ(plan.wal_to, at(16));
    EXPECT_EQ(to_string(plan.path), "2");
    request.backup = of_ancestor.id;
    EXPECT_EQ(plan_restore(catalog, request, facts).target_timeline, 1U);
    // What retention keeps of the path begins with the switch.
    WalNeeds needs(catalog.segment_size);
    needs.add_path(plan.path, Lsn{}, "test");
    const auto kept = needs.result();
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_EQ(kept.at(2).front().first, 10U);
}

// Timeline 3 leaves 2 in segment 14: what was taken over decides where the path begins.
TEST(TimelineBreak, OnlyTheStepsUpToTheMixedOneAreLeftOut) {
    Catalog catalog = two_timelines();
    TimelineWal third;
    third.timeline = 3;
    third.runs = {{14, 18}};
    third.has_history = true;
    third.ancestors = {{1, at(10, 500), ""}, {2, at(14, 700), ""}};
    catalog.timelines.push_back(third);
    catalog.epochs = {epoch(1, 1, at(1)), epoch(2, 2, at(10, 500)), epoch(3, 3, at(14, 700)), epoch(4, 1, at(5))};
    EXPECT_EQ(to_string(*path_to(catalog, 3)), "2@" + to_string(at(14, 700)) + ",3");
    EXPECT_EQ(contiguous_reach(catalog, *path_to(catalog, 3), at(11)).end, at(19));
    catalog.epochs.push_back(epoch(5, 2, at(12)));
    EXPECT_EQ(to_string(*path_to(catalog, 3)), "3");
    EXPECT_EQ(path_to(catalog, 3)->front().start, at(14, 700));
    EXPECT_EQ(to_string(*path_to(catalog, 2)), "2");
}

TEST(TimelineBreak, WhatWasTakenOverBeforeTheTimelineBeganIsItsOwnHistory) {
    Catalog catalog = two_timelines();
    catalog.epochs.push_back(epoch(2, 1, at(5)));
    catalog.epochs.push_back(epoch(3, 2, at(10, 500)));
    EXPECT_EQ(path_to(catalog, 2)->size(), 2U);
}

} // namespace
} // namespace pgvigil::test
