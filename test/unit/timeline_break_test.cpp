#include "plan/backup_kind.h"
#include "plan/recovery_windows.h"
#include "plan/timeline_path.h"
#include "plan_test_support.h"

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

TEST(TimelineBreak, APathWhoseAncestorWasTakenOverLaterIsNotOffered) {
    Catalog catalog = two_timelines();
    catalog.epochs.push_back(epoch(2, 2, at(10, 500)));
    ASSERT_TRUE(path_to(catalog, 2));
    // Behind the switch, and in its segment, which is read from timeline 2.
    catalog.epochs.push_back(epoch(3, 1, at(10)));
    EXPECT_TRUE(path_to(catalog, 2));
    catalog.epochs.push_back(epoch(4, 1, at(9)));
    EXPECT_FALSE(path_to(catalog, 2));
    EXPECT_TRUE(path_to(catalog, 1));
}

TEST(TimelineBreak, WhatWasTakenOverBeforeTheTimelineBeganIsItsOwnHistory) {
    Catalog catalog = two_timelines();
    catalog.epochs.push_back(epoch(2, 1, at(5)));
    catalog.epochs.push_back(epoch(3, 2, at(10, 500)));
    EXPECT_TRUE(path_to(catalog, 2));
}

} // namespace
} // namespace pgvigil::test
