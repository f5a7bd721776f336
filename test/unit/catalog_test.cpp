#include "repo/catalog.h"

#include "base/error.h"
#include "codec/frame.h"
#include "crypto/digest.h"
#include "plan/recovery_windows.h"
#include "repo/wal_facts_reader.h"
#include "repo/wal_object.h"
#include "storage/memory/memory_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgvigil {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kSegment = kMiB;
constexpr uint64_t kSystem = 7123456789012345678;

class CatalogTest : public testing::Test {
  protected:
    void put(const std::string &key, const Bytes &body) {
        PutRequest request;
        request.key = key;
        request.body = body;
        ASSERT_EQ(store->put_new(request, cancel), PutOutcome::kStored) << key;
    }
    void put_wal(const std::string &key, std::string_view text, uint64_t length, uint64_t epoch,
                 std::string extension = {}) {
        FrameEncoder encoder{Compression{}};
        Bytes plain = to_bytes(text);
        plain.resize(length);
        WalObjectInput input;
        input.plain = plain;
        input.whole_plain_length = length;
        input.digest = sha256(plain);
        input.epoch = epoch;
        input.extension = std::move(extension);
        put(key, encode_wal_object(input, encoder));
    }
    void put_segment(TimelineId timeline, uint64_t segment, uint64_t epoch = 1) {
        WalFacts facts;
        facts.scan.last_time_us = static_cast<int64_t>(segment) * 1000;
        put_wal(layout.wal_file(segment_name(timeline, segment, kSegment)), "wal", kSegment, epoch,
                encode_wal_facts(facts));
    }
    void put_history(TimelineId timeline, std::string_view text) {
        put_wal(layout.wal_file(history_name(timeline)), text, text.size(), 1);
    }
    void put_commit(const std::string &id, TimelineId timeline, Lsn start, Lsn stop) {
        CommitDocument document;
        document.id = id;
        document.system_identifier = kSystem;
        document.start_timeline = document.stop_timeline = timeline;
        document.start_lsn = start;
        document.stop_lsn = stop;
        document.wal_segment_size = kSegment;
        document.packs.push_back({"000000", 10, {}});
        put(layout.commit(id), encode_document(encode(document), 1, Uuid{}));
    }
    void put_epoch(uint64_t number, TimelineId timeline, Lsn lsn) {
        EpochDocument document;
        document.number = number;
        document.timeline = timeline;
        document.lsn = lsn;
        put(layout.epoch(number), encode_document(encode(document), number, Uuid{}));
    }
    Catalog load() { return load_catalog(*repository, cancel); }

    CancelToken cancel;
    std::shared_ptr<MemoryStore> store = std::make_shared<MemoryStore>();
    ClusterLayout layout{kSystem};
    std::unique_ptr<Repository> repository =
        std::make_unique<Repository>(store, RepositoryDocument{}, "memory://catalog", kSystem);
};

TEST_F(CatalogTest, AnEmptyRepositoryHasAnEmptyCatalog) {
    const Catalog catalog = load();
    EXPECT_EQ(catalog.system_identifier, kSystem);
    EXPECT_EQ(catalog.segment_size, 0U);
    EXPECT_THAT(catalog.backups, IsEmpty());
    EXPECT_THAT(catalog.timelines, IsEmpty());
    EXPECT_THAT(recovery_windows(catalog, nullptr), IsEmpty());
}

TEST_F(CatalogTest, RunsEndAtGapsAndForeignNamesDoNotCount) {
    // 4,095 and 4,096 stand in different directories: with 1 MiB segments the name's last part counts to 4,096.
    for (const uint64_t segment : {1, 2, 3, 5, 4095, 4096})
        put_segment(1, segment);
    put_wal(layout.partial_file(segment_name(1, 4, kSegment) + ".partial", std::string(64, 'a')), "x", kSegment, 1);
    put_wal(layout.wal_part(segment_name(1, 6, kSegment), 0, "attempt"), "x", kSegment, 1);
    put_wal(layout.wal_file(segment_name(1, 7, kSegment) + ".00000028.backup"), "x", 1, 1);
    const Catalog catalog = load();
    EXPECT_EQ(catalog.segment_size, kSegment);
    ASSERT_EQ(catalog.timelines.size(), 1U);
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 3}, SegmentRun{5, 5}, SegmentRun{4095, 4096}));
}

TEST_F(CatalogTest, BackupsTimelinesAndWindowsComeTogether) {
    for (uint64_t segment = 1; segment <= 4; ++segment)
        put_segment(1, segment);
    for (uint64_t segment = 4; segment <= 6; ++segment)
        put_segment(2, segment);
    put_history(2, "1\t0/410000\tno recovery target specified\n");
    put_commit("20260101T000000F", 1, Lsn{kSegment + 40}, Lsn{2 * kSegment + 80});
    const Catalog catalog = load();
    ASSERT_EQ(catalog.timelines.size(), 2U);
    ASSERT_EQ(catalog.timelines[1].ancestors.size(), 1U);
    EXPECT_EQ(catalog.timelines[1].ancestors[0].end, Lsn{0x410000});
    ASSERT_NE(catalog.backup("20260101T000000F"), nullptr);
    EXPECT_THAT(catalog.backup("20260101T000000F")->packs, IsEmpty());
    WalFactsReader reader(*repository, catalog.segment_size, cancel);
    EXPECT_EQ(reader.facts(2, 6)->last_time_us, 6000);
    EXPECT_FALSE(reader.facts(2, 7));
    const auto windows = recovery_windows(catalog, nullptr);
    ASSERT_EQ(windows.size(), 2U);
    EXPECT_EQ(windows[0].to_lsn, Lsn{5 * kSegment});
    EXPECT_EQ(windows[1].timeline, 2U);
    EXPECT_EQ(windows[1].to_lsn, Lsn{7 * kSegment});
}

TEST_F(CatalogTest, WhatALostWriterStoredBehindAnEpochDoesNotCount) {
    for (uint64_t segment = 1; segment <= 6; ++segment)
        put_segment(1, segment, 1);
    put_epoch(1, 1, Lsn{0});
    put_epoch(2, 1, Lsn{3 * kSegment + 100}); // the new writer goes on in segment 3
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{1, 2}));
    put_wal(layout.wal_file_of_epoch(segment_name(1, 3, kSegment), 2), "own", kSegment, 2);
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{1, 3}));
}

// Put back by far more than a lost writer has on its way: nothing of what was given up may look like the new history.
TEST_F(CatalogTest, AllThatARollbackGaveUpDoesNotCount) {
    for (uint64_t segment = 1; segment <= 500; ++segment)
        put_segment(1, segment, 1);
    put_epoch(1, 1, Lsn{0});
    put_epoch(2, 1, Lsn{100 * kSegment + 100});
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{1, 99}));
    const auto put_own = [&](uint64_t segment) {
        put_wal(layout.wal_file_of_epoch(segment_name(1, segment, kSegment), 2), "own", kSegment, 2);
    };
    for (uint64_t segment = 100; segment <= 300; ++segment)
        if (segment != 250)
            put_own(segment);
    EXPECT_THAT(load().timelines[0].runs, ElementsAre(SegmentRun{1, 249}, SegmentRun{251, 300}));
    for (uint64_t segment = 301; segment <= 500; ++segment)
        put_own(segment);
    for (uint64_t segment = 501; segment <= 900; ++segment)
        put_segment(1, segment, 2);
    const Catalog catalog = load();
    EXPECT_THAT(catalog.timelines[0].runs, ElementsAre(SegmentRun{1, 249}, SegmentRun{251, 900}));
    EXPECT_LE(catalog.timelines[0].header_epochs.size(), 130U) << "no header of all the others is read";
}

// A server that takes over on an old timeline writes on it though newer ones are there.
TEST_F(CatalogTest, TheWritersTimelineIsReadAgainHoweverOldItIs) {
    put_epoch(1, 1, Lsn{kSegment});
    for (TimelineId timeline = 1; timeline <= 4; ++timeline)
        put_segment(timeline, 1);
    put_epoch(2, 1, Lsn{2 * kSegment});
    const Catalog known = load();
    put_segment(1, 2, 2);
    const Catalog now = load_catalog(*repository, cancel, &known);
    ASSERT_NE(now.timeline(1), nullptr);
    EXPECT_THAT(now.timeline(1)->runs, ElementsAre(SegmentRun{1, 2}));
}

TEST_F(CatalogTest, ADamagedCommitIsNamedAndTheOthersAreListed) {
    put_commit("20260101T000000F", 1, Lsn{kSegment}, Lsn{kSegment + 80});
    Bytes broken = *store->get(layout.commit("20260101T000000F"), kMiB, cancel);
    broken[broken.size() / 2] ^= std::byte{1};
    put(layout.commit("20260102T000000F"), broken);
    const Catalog catalog = load();
    EXPECT_EQ(catalog.backups.size(), 1U);
    ASSERT_EQ(catalog.unreadable.size(), 1U);
    EXPECT_THAT(catalog.unreadable[0].message, HasSubstr("commits/20260102T000000F.json"));
    // A commit under another backup's name is not that backup.
    put(layout.commit("20260103T000000F"), *store->get(layout.commit("20260101T000000F"), kMiB, cancel));
    EXPECT_EQ(load().unreadable.size(), 2U);
    EXPECT_THROW(static_cast<void>(load_commit(*repository, "20260103T000000F", cancel)), Error);
    EXPECT_FALSE(load_commit(*repository, "20260104T000000F", cancel));
    EXPECT_THROW(static_cast<void>(load_commit(*repository, "../../etc", cancel)), Error);
}

} // namespace
} // namespace pgvigil
