#include "repo/wal_index_writer.h"

#include "catalog_index_support.h"
#include "plan/wal_search.h"
#include "repo/expired_wal.h"
#include "repo/wal_facts_reader.h"
#include "transfer/restore_facts.h"

#include <gmock/gmock.h>

namespace pgvigil {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class WalIndexWriterTest : public test::IndexedRepository {
  protected:
    void remove_segments(TimelineId timeline, uint64_t first, uint64_t last) {
        std::vector<std::string> gone;
        for (uint64_t segment = first; segment <= last; ++segment)
            gone.push_back(layout.wal_file(segment_name(timeline, segment, segment_size)));
        ASSERT_THAT(store->remove(gone, cancel), IsEmpty());
    }
};

TEST_F(WalIndexWriterTest, OnlyWholeRangesAreWrittenAndTheRestIsListed) {
    for (const uint64_t size : {kMiB, 16 * kMiB, 1024 * kMiB}) {
        store = std::make_shared<MemoryStore>();
        counter = std::make_shared<FaultyStore>(store);
        repository = std::make_unique<Repository>(counter, RepositoryDocument{}, "memory://sizes", kSystem);
        segment_size = size;
        put_segments(1, 1, 600);
        EXPECT_EQ(write_index(), 2U);
        const Catalog catalog = load();
        EXPECT_EQ(catalog.segment_size, size);
        EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 600}));
        ASSERT_THAT(catalog.timelines[0].blocks, SizeIs(2));
        EXPECT_EQ(catalog.timelines[0].blocks[0].count, 255U);
        EXPECT_EQ(catalog.timelines[0].blocks[1].count, 256U);
        WalFactsReader reader(*repository, catalog, cancel);
        for (const uint64_t segment : {1, 255, 256, 511, 512, 600}) {
            const auto facts = reader.facts(1, segment);
            ASSERT_TRUE(facts) << segment;
            EXPECT_EQ(facts->last_time_us, scan_of(segment).last_time_us);
            EXPECT_EQ(facts->end_of_records, scan_of(segment).end_of_records);
        }
        EXPECT_FALSE(reader.facts(1, 601));
    }
}

TEST_F(WalIndexWriterTest, ALargeRangeReplacesTheSmallOnes) {
    put_segments(1, 1, 4200);
    EXPECT_EQ(write_index(), 17U);
    const Catalog catalog = load();
    ASSERT_THAT(catalog.timelines[0].blocks, SizeIs(1));
    EXPECT_EQ(catalog.timelines[0].blocks[0].span, 4096U);
    EXPECT_EQ(catalog.timelines[0].blocks[0].count, 4095U);
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 4200}));
    WalFactsReader reader(*repository, catalog, cancel);
    EXPECT_EQ(reader.facts(1, 4095)->first_xid, 4095U);
    EXPECT_THAT(list_needless_wal_index(*repository, load().epochs, segment_size, cancel), SizeIs(16));
}

TEST_F(WalIndexWriterTest, AHoleWaitsAndWhatArrivesLateIsSeenAtOnceAndIndexedAgain) {
    put_segments(1, 1, 99);
    put_segments(1, 102, 300);
    EXPECT_EQ(write_index(), 0U) << "the hole may still be filled";
    put_segments(1, 301, 520);
    EXPECT_EQ(write_index(), 2U) << "WAL has gone on: the hole stays for now";
    Catalog catalog = load();
    ASSERT_THAT(catalog.timelines[0].blocks, SizeIs(2));
    EXPECT_FALSE(catalog.timelines[0].blocks[0].is_whole());
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 99}, SegmentRun{102, 520}));

    put_segments(1, 101, 101);
    const Catalog known = catalog;
    catalog = load(&known);
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 99}, SegmentRun{101, 520}));
    EXPECT_EQ(write_index(), 1U);
    put_segments(1, 100, 100);
    EXPECT_EQ(write_index(), 1U);
    catalog = load();
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 520}));
    EXPECT_EQ(catalog.timelines[0].blocks[0].generation, 3U);
    EXPECT_EQ(catalog.timelines[0].blocks[0].count, 255U);
    EXPECT_EQ(write_index(), 0U);
}

TEST_F(WalIndexWriterTest, WhatAnEpochFencedIsNotIndexedAndAnOlderIndexIsNotTrustedThere) {
    put_epoch(1, 1, Lsn{0});
    put_segments(1, 1, 520);
    EXPECT_EQ(write_index(), 2U);
    // Another server takes over within the second range; what epoch 1 stored from there on does not count any more.
    put_epoch(2, 1, Lsn{segment_start(500, segment_size).value + 5});
    Catalog catalog = load();
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 499}));
    EXPECT_THAT(catalog.timelines[0].blocks, SizeIs(1));
    for (uint64_t segment = 500; segment <= 520; ++segment) {
        WalScanSummary scan = scan_of(segment);
        scan.last_time_us = *scan.last_time_us + 7;
        put_segment(1, segment, scan, 2, true);
    }
    put_segments(1, 521, 530, 2);
    EXPECT_EQ(write_index(), 1U);
    catalog = load();
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 530}));
    ASSERT_THAT(catalog.timelines[0].blocks, SizeIs(2));
    EXPECT_EQ(catalog.timelines[0].blocks[1].epoch, 2U);
    WalFactsReader reader(*repository, catalog, cancel);
    EXPECT_EQ(reader.indexed(1, 505)->epoch, 2U);
    EXPECT_EQ(reader.facts(1, 505)->last_time_us, *scan_of(505).last_time_us + 7);
    EXPECT_EQ(reader.facts(1, 515)->last_time_us, *scan_of(515).last_time_us + 7) << "listed, not indexed";
    EXPECT_EQ(reader.facts(1, 499)->last_time_us, scan_of(499).last_time_us);
}

TEST_F(WalIndexWriterTest, AnEndedTimelineIsIndexedAfterAGrace) {
    put_segments(1, 1, 40);
    put_segments(2, 40, 60);
    ObjectHeader header;
    header.kind = ObjectKind::kWal;
    const std::string text = "1\t0/28400000\tpromoted\n";
    FrameEncoder encoder{Compression{}};
    WalObjectInput input;
    input.plain = as_view(text);
    input.whole_plain_length = text.size();
    put(layout.wal_file(history_name(2)), encode_wal_object(input, encoder));
    EXPECT_EQ(write_index(unix_time_ms()), 0U);
    EXPECT_EQ(write_index(unix_time_ms() + 3600000), 2U) << "both spans of timeline 1, none of timeline 2";
    const Catalog catalog = load();
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 40}));
    EXPECT_THAT(catalog.timelines[0].blocks, SizeIs(1));
    EXPECT_THAT(catalog.timelines[1].runs, ElementsAre(SegmentRun{40, 60}));
    EXPECT_THAT(catalog.timelines[1].blocks, IsEmpty());
}

TEST_F(WalIndexWriterTest, ExpiredWalIsGoneAtOnceWhateverTheIndexSays) {
    put_segments(1, 1, 1100);
    EXPECT_EQ(write_index(), 4U);
    const Catalog known = load();
    mark_wal_expired(*repository, {1, {0, 700}, 1}, cancel);
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{701, 1100})) << "before the first is deleted";
    EXPECT_THAT(load(&known).timelines[0].runs, ElementsAre(SegmentRun{701, 1100}));
    remove_segments(1, 1, 700);
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{701, 1100}));
    const auto needless = list_needless_wal_index(*repository, load().epochs, segment_size, cancel);
    EXPECT_THAT(needless, SizeIs(2));
    ASSERT_THAT(store->remove(needless, cancel), IsEmpty());
    const Catalog catalog = load();
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{701, 1100}));
    ASSERT_THAT(catalog.timelines[0].blocks, SizeIs(2));
    EXPECT_EQ(write_index(), 0U) << "a range that is expired in part is not written again";
}

// Expiry had marked what the server writes anew after it was put back to an earlier state.
TEST_F(WalIndexWriterTest, AMarkSaysNothingOfWhatALaterEpochWrites) {
    put_epoch(1, 1, Lsn{0});
    put_segments(1, 1, 800);
    mark_wal_expired(*repository, {1, {0, 700}, 1}, cancel);
    const Catalog known = load();
    EXPECT_THAT(known.timelines[0].runs, ElementsAre(SegmentRun{701, 800}));
    put_epoch(2, 1, Lsn{segment_start(600, segment_size).value + 5});
    for (uint64_t segment = 600; segment <= 650; ++segment)
        put_segment(1, segment, scan_of(segment), 2, true);
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{600, 650}));
    EXPECT_THAT(load(&known).timelines[0].runs, ElementsAre(SegmentRun{600, 650}));
    for (uint64_t segment = 651; segment <= 800; ++segment)
        put_segment(1, segment, scan_of(segment), 2, true);
    put_segments(1, 801, 1100, 2);
    EXPECT_GE(write_index(), 1U);
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{600, 1100}));
    const std::vector<std::string> needless = list_needless_wal_index(*repository, load().epochs, segment_size, cancel);
    EXPECT_THAT(needless, IsEmpty());
    // What the new history expires is marked with its epoch.
    mark_wal_expired(*repository, {1, {0, 620}, 2}, cancel);
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{621, 1100}));
    mark_wal_expired(*repository, {1, {0, 700}, 2}, cancel);
    EXPECT_THAT(list_needless_wal_index(*repository, load().epochs, segment_size, cancel),
                testing::UnorderedElementsAre(expired_wal_key(layout, {1, {0, 700}, 1}),
                                              expired_wal_key(layout, {1, {0, 620}, 2})));
}

TEST_F(WalIndexWriterTest, ADamagedIndexObjectIsNamedAndItsRangeListed) {
    put_segments(1, 1, 99);
    put_segments(1, 101, 520);
    EXPECT_EQ(write_index(), 2U);
    const std::string key = keys(layout.walindex_prefix()).front();
    Bytes object = *store->get(key, kMiB, cancel);
    object[object.size() / 2] ^= std::byte{1};
    store->overwrite_for_test(key, object);
    const Catalog catalog = load();
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 99}, SegmentRun{101, 520}));
    ASSERT_THAT(catalog.unreadable, SizeIs(1));
    EXPECT_EQ(catalog.unreadable[0].key, key);
}

TEST_F(WalIndexWriterTest, WhatArrivedLateInAHoleOfTheIndexIsFound) {
    for (uint64_t segment = 1; segment <= 520; ++segment) {
        WalScanSummary idle;
        idle.end_of_records = segment_start(segment + 1, segment_size);
        if (segment != 101)
            put_segment(1, segment, idle);
    }
    EXPECT_EQ(write_index(), 2U);
    WalScanSummary late = scan_of(101);
    late.restore_points.push_back({"late", 101000000, Lsn{segment_start(101, segment_size).value + 99}});
    put_segment(1, 101, late);
    const Catalog catalog = load();
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 520}));
    ASSERT_FALSE(catalog.timelines[0].blocks[0].is_whole());
    const TimelinePath path{{1, Lsn{0}, Lsn{0}}};
    const Lsn from = segment_start(1, segment_size);
    const Lsn to = segment_start(521, segment_size);
    RepositoryWalFacts facts(*repository, catalog, cancel);
    WalSearch search(path, segment_size, facts);
    EXPECT_THAT(search.find_restore_points("late", from, to), SizeIs(1));
    EXPECT_EQ(search.end_of_replay_to(50000000, from, to), segment_start(102, segment_size));
    EXPECT_EQ(search.last_transaction_us(from, to), 101000000);
}

TEST_F(WalIndexWriterTest, SearchesFindTheSameWithAndWithoutTheIndex) {
    put_segments(1, 1, 299);
    WalScanSummary named = scan_of(300);
    named.restore_points.push_back({"before the upgrade", 300000000, Lsn{segment_start(300, segment_size).value + 99}});
    put_segment(1, 300, named);
    for (uint64_t segment = 301; segment <= 700; ++segment) { // idle: no transaction
        WalScanSummary scan;
        scan.end_of_records = segment_start(segment + 1, segment_size);
        put_segment(1, segment, scan);
    }
    const TimelinePath path{{1, Lsn{0}, Lsn{0}}};
    const Lsn from = segment_start(1, segment_size);
    const Lsn to = segment_start(701, segment_size);
    const auto check = [&](const Catalog &catalog) {
        RepositoryWalFacts facts(*repository, catalog, cancel);
        WalSearch search(path, segment_size, facts);
        EXPECT_EQ(search.last_transaction_us(from, to), 300000000);
        EXPECT_THAT(search.find_restore_points("before the upgrade", from, to), SizeIs(1));
        EXPECT_THAT(search.find_restore_points("another", from, to), IsEmpty());
        EXPECT_EQ(search.end_of_replay_to(99500000, from, to), segment_start(101, segment_size));
        EXPECT_FALSE(search.end_of_replay_to(300000000, from, to));
        EXPECT_EQ(search.end_of_records(from, to), segment_start(701, segment_size));
    };
    check(load());
    EXPECT_EQ(write_index(), 2U);
    check(load());
}

} // namespace
} // namespace pgvigil
