// Which blocks an incremental backup by summaries reads, rule by rule (A1 to A3).
#include "plan/block_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <set>

namespace pgvigil {
namespace {

constexpr uint32_t kBlock = 8192;
constexpr uint32_t kSegment = 1000; // blocks
constexpr RelationForkId kTable{1663, 5, 16384, RelationFork::kMain};

class BlockPlanTest : public ::testing::Test {
  protected:
    BlockPlanTest() { parent.size = uint64_t{kSegment} * kBlock; }
    void change(std::initializer_list<uint16_t> blocks) {
        changes.add_blocks(kTable, 0, std::span(blocks.begin(), blocks.size()));
    }
    [[nodiscard]] BlockPlan plan(std::string_view path, uint64_t blocks, bool has_parent = true) const {
        return plan_blocks(path, blocks * kBlock, has_parent ? &parent : nullptr, changes, kBlock, kSegment);
    }
    FileEntry parent;
    BlockChanges changes;
};

TEST_F(BlockPlanTest, OnlyWhatChangedAndWhatIsNew) {
    change({3, 4, 9, 999});
    BlockPlan found = plan("base/5/16384", 1000);
    EXPECT_FALSE(found.whole);
    EXPECT_EQ(found.inherit_below, 1000U);
    EXPECT_EQ(found.runs, (std::vector<BlockRun>{{3, 2}, {9, 1}, {999, 1}}));
    EXPECT_EQ(found.blocks, 4U);
    parent.size = uint64_t{900} * kBlock;
    found = plan("base/5/16384", 1000);
    EXPECT_EQ(found.inherit_below, 900U);
    EXPECT_EQ(found.runs, (std::vector<BlockRun>{{3, 2}, {9, 1}, {900, 100}}));
    found = plan("base/5/16384", 5);
    EXPECT_EQ(found.inherit_below, 5U);
    EXPECT_EQ(found.runs, (std::vector<BlockRun>{{3, 2}}));
}

TEST_F(BlockPlanTest, WithoutAnEntryNothingIsRead) {
    const BlockPlan found = plan("base/5/16385", 1000);
    EXPECT_FALSE(found.whole);
    EXPECT_EQ(found.inherit_below, 1000U);
    EXPECT_TRUE(found.runs.empty());
}

// Rules A2.
TEST_F(BlockPlanTest, TheLimitBlockEndsWhatIsInherited) {
    changes.add_entry(kTable, 600);
    change({2, 700});
    const BlockPlan found = plan("base/5/16384", 1000);
    EXPECT_EQ(found.inherit_below, 600U);
    EXPECT_EQ(found.runs, (std::vector<BlockRun>{{2, 1}, {600, 400}}));
    changes.add_entry(kTable, 0);
    EXPECT_TRUE(plan("base/5/16384", 1000).whole);
}

TEST_F(BlockPlanTest, LimitsAndBlocksAreTheRelationsNotTheFiles) {
    changes.add_entry(kTable, 1600);
    change({5, 1005, 1999});
    EXPECT_EQ(plan("base/5/16384", 1000).runs, (std::vector<BlockRun>{{5, 1}}));
    const BlockPlan second = plan("base/5/16384.1", 1000);
    EXPECT_EQ(second.inherit_below, 600U);
    EXPECT_EQ(second.runs, (std::vector<BlockRun>{{5, 1}, {600, 400}}));
    EXPECT_TRUE(plan("base/5/16384.2", 1000).whole);
    changes.add_entry(kTable, 1000);
    EXPECT_TRUE(plan("base/5/16384.1", 1000).whole);
}

TEST_F(BlockPlanTest, WhatIsStoredWhole) {
    for (const char *path : {"base/5/16384_vm", "base/5/16384_fsm", "base/5/16384_init", "pg_xact/0000",
                             "postgresql.conf", "base/5/pg_filenode.map", "base/5/PG_VERSION"})
        EXPECT_TRUE(plan(path, 10).whole) << path;
    EXPECT_TRUE(plan("base/5/16384", 10, false).whole);
    EXPECT_TRUE(plan("base/5/16384", 0).whole);
    EXPECT_TRUE(plan("base/5/16384", 1001).whole);
    EXPECT_FALSE(plan("base/5/16384", 1000).whole);
    EXPECT_TRUE(plan_blocks("base/5/16384", 10 * kBlock + 1, &parent, changes, kBlock, kSegment).whole);
    parent.size -= 1;
    EXPECT_TRUE(plan("base/5/16384", 1000).whole);
    parent.size += 1;
    parent.kind = FileKind::kDirectory;
    EXPECT_TRUE(plan("base/5/16384", 1000).whole);
    parent.kind = FileKind::kRegular;
    changes.add_entry({1663, 5, 0, RelationFork::kMain}, 0);
    EXPECT_TRUE(plan("base/5/16384", 1000).whole);
    EXPECT_FALSE(plan("base/6/16384", 1000).whole);
}

TEST_F(BlockPlanTest, MostlyChangedIsWhole) {
    std::vector<uint16_t> many(901);
    for (size_t i = 0; i < many.size(); ++i)
        many[i] = static_cast<uint16_t>(i);
    changes.add_blocks(kTable, 0, std::span(many).first(900));
    EXPECT_FALSE(plan("base/5/16384", 1000).whole);
    changes.add_blocks(kTable, 0, many);
    EXPECT_TRUE(plan("base/5/16384", 1000).whole);
}

// Whatever is not read is inherited, below the parent's end, the limit and unchanged.
RC_GTEST_PROP(BlockPlanProperty, covers_every_block, ()) {
    BlockChanges changes;
    std::set<uint32_t> changed;
    const auto limit = *rc::gen::element<uint32_t>(0xffffffffU, 0U, 700U, 1000U, 1300U, 5000U);
    if (limit != 0xffffffffU)
        changes.add_entry(kTable, limit);
    for (int i = *rc::gen::inRange(0, 30); i > 0; --i) {
        const auto block = *rc::gen::inRange<uint16_t>(0, 2500);
        changes.add_blocks(kTable, 0, std::span(&block, 1));
        changed.insert(block);
    }
    FileEntry parent;
    const auto parent_blocks = *rc::gen::inRange<uint32_t>(0, 1001);
    parent.size = uint64_t{parent_blocks} * kBlock;
    const auto own = *rc::gen::inRange<uint32_t>(0, 1001);
    const bool second = *rc::gen::arbitrary<bool>();
    const BlockPlan found = plan_blocks(second ? "base/5/16384.1" : "base/5/16384", uint64_t{own} * kBlock, &parent,
                                        changes, kBlock, kSegment);
    if (found.whole) {
        RC_ASSERT(found.inherit_below == 0U && found.runs.empty());
        return;
    }
    std::set<uint32_t> read;
    uint64_t count = 0;
    for (const BlockRun &run : found.runs) {
        count += run.count;
        RC_ASSERT(run.first >= found.inherit_below || run.first + run.count <= found.inherit_below);
        for (uint32_t i = 0; i < run.count; ++i)
            RC_ASSERT(read.insert(run.first + i).second);
    }
    RC_ASSERT(count == found.blocks);
    for (uint32_t block = 0; block < own; ++block) {
        const uint32_t in_relation = block + (second ? kSegment : 0);
        const bool must = changed.contains(in_relation) || in_relation >= limit || block >= parent_blocks;
        RC_ASSERT(read.contains(block) == must);
        RC_ASSERT(must || block < found.inherit_below);
    }
}

} // namespace
} // namespace pgvigil
