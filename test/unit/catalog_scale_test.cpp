// The catalog of a large repository costs a known number of requests, whatever the machine does.
#include "catalog_index_support.h"
#include "plan/recovery_windows.h"
#include "plan/restore_plan.h"
#include "transfer/restore_facts.h"

#include <chrono>
#include <fmt/format.h>
#include <gmock/gmock.h>

namespace pgvigil {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr uint64_t kRanges = 2441; // of 4,096 segments: 10 million
constexpr uint64_t kTail = 200;
constexpr size_t kBackups = 1000;
constexpr uint64_t kSegmentsPerBackup = 9990;

class LargeCatalog : public test::IndexedRepository {
  protected:
    void SetUp() override {
        put_epoch(1, 1, Lsn{0});
        for (uint64_t range = 0; range < kRanges; ++range)
            put_range(range);
        put_segments(1, kRanges * 4096, kRanges * 4096 + kTail - 1);
        std::vector<CommitDocument> all;
        for (size_t i = 0; i < kBackups; ++i)
            all.push_back(commit_of(backup_id(i), 1, 1 + i * kSegmentsPerBackup));
        for (const CommitDocument &document : all)
            put_commit(document);
        ASSERT_EQ(write_due_commit_index(*repository, all, cancel), kBackups / kCommitsPerIndex);
    }

    static std::string backup_id(size_t i) {
        return fmt::format("{}{:02}{:02}T000000F", 2000 + i / 336, 1 + i % 336 / 28, 1 + i % 28);
    }

    // Only those that a search looks at have a body that tells of 4,096 segments.
    void put_range(uint64_t range) {
        WalBlock block;
        block.timeline = 1;
        block.span = 4096;
        block.start = range * 4096;
        block.segment_size = segment_size;
        block.epoch = 1;
        std::vector<IndexedSegment> segments;
        if (range == kRanges / 2 || range + 1 == kRanges || range == 0) {
            for (uint64_t segment = std::max<uint64_t>(1, block.start); segment <= block.end(); ++segment)
                segments.push_back({segment, 0, scan_of(segment)});
            summarise(block, segments, nullptr);
            put(wal_block_key(layout, block), encode_wal_block(block, segments));
            return;
        }
        const auto us = [](uint64_t segment) { return static_cast<int64_t>(segment) * 1000000; };
        block.first = block.start;
        block.last = block.end();
        block.count = 4096;
        block.first_time_us = us(block.first);
        block.last_time_us = us(block.last);
        block.first_xid = static_cast<uint32_t>(block.first);
        block.last_xid = static_cast<uint32_t>(block.last);
        put(wal_block_key(layout, block), to_bytes("never read"));
    }
};

TEST_F(LargeCatalog, AColdCatalogTakesFewRequests) {
    Catalog catalog;
    const uint64_t cold = requests([&] { catalog = load(); });
    EXPECT_THAT(catalog.backups, SizeIs(kBackups));
    EXPECT_THAT(catalog.unreadable, IsEmpty());
    EXPECT_THAT(catalog.timelines[0].runs, testing::ElementsAre(SegmentRun{1, kRanges * 4096 + kTail - 1}));
    // 15 documents of 64 backups, 40 backups that stand in none, and listings.
    EXPECT_LE(cold, 75U);
    RecordProperty("requests_cold", static_cast<int>(cold));

    Catalog again;
    const uint64_t warm = requests([&] { again = load(&catalog); });
    EXPECT_LE(warm, 14U);
    RecordProperty("requests_warm", static_cast<int>(warm));
    EXPECT_EQ(again.backups.size(), catalog.backups.size());
    EXPECT_EQ(again.timelines[0].runs, catalog.timelines[0].runs);
}

TEST_F(LargeCatalog, WindowsAndTargetsAreAnsweredFromAFewObjects) {
    const Catalog catalog = load();
    const uint64_t middle = kRanges / 2 * 4096 + 77;
    const auto plan_for = [&](const RecoveryTarget &target) {
        RepositoryWalFacts facts(*repository, catalog, cancel);
        RestoreRequest request;
        request.target = target;
        return plan_restore(catalog, request, facts);
    };
    const auto started = std::chrono::steady_clock::now();
    EXPECT_LE(requests([&] {
                  RepositoryWalFacts facts(*repository, catalog, cancel);
                  const auto windows = recovery_windows(catalog, &facts);
                  ASSERT_THAT(windows, SizeIs(1));
                  EXPECT_EQ(windows[0].to_us, static_cast<int64_t>(kRanges * 4096 + kTail - 1) * 1000000);
              }),
              2U);
    EXPECT_LE(requests([&] {
                  const RestorePlan plan = plan_for(TimeTarget{static_cast<int64_t>(middle) * 1000000});
                  EXPECT_EQ(plan.replay_to, segment_start(middle + 2, segment_size));
                  EXPECT_LE(plan.wal_segments, kSegmentsPerBackup);
              }),
              5U);
    // One object says in which segment the transaction ended; the bytes of that one, which is not here, would say
    // where.
    bool read_segment = false;
    counter->set_plan([&](const FaultyStore::Call &call) -> std::optional<FaultyStore::Fault> {
        read_segment |= call.key == layout.wal_file(segment_name(1, middle, segment_size));
        return std::nullopt;
    });
    EXPECT_LE(requests([&] { EXPECT_THROW((void)plan_for(XidTarget{static_cast<uint32_t>(middle)}), Error); }),
              kTail + 20U);
    EXPECT_TRUE(read_segment);
    EXPECT_LE(requests([&] { EXPECT_THROW((void)plan_for(NameTarget{"nothing has this name"}), Error); }), kTail + 20U);
    RecordProperty(
        "milliseconds",
        static_cast<int>(
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started).count()));
}

} // namespace
} // namespace pgvigil
