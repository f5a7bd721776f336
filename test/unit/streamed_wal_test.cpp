// What the streamed tail adds to catalogs, recovery windows and restore plans.
#include "plan_test_support.h"
#include "tail_support.h"

#include "plan/catalog_union.h"
#include "plan/plan_steps.h"
#include "plan/recovery_windows.h"
#include "repo/catalog_file.h"
#include "repo/streamed_wal.h"
#include "repo/wal_facts_reader.h"
#include "repo/wal_object.h"
#include "transfer/restore_planning.h"

namespace pgvigil {
namespace {

using test::epoch_of;
using test::piece_of;
using test::run_of;

constexpr uint64_t kSize = kMiB;
constexpr uint64_t kSystem = 42;
constexpr TailRunId kOne{1, 1};

// A repository whose segments and pieces hold nothing but what the test says of them.
class StreamedCatalog : public ::testing::Test {
  protected:
    struct Place {
        std::shared_ptr<MemoryStore> store = std::make_shared<MemoryStore>();
        std::shared_ptr<Repository> repository =
            std::make_shared<Repository>(store, RepositoryDocument{}, "memory:", kSystem);
    };
    void put(const std::string &key, const Bytes &body) {
        ASSERT_EQ(place.store->put_new({.key = key, .body = body}, cancel), PutOutcome::kStored) << key;
    }
    void segment(uint64_t number, TimelineId timeline = 1) {
        FrameEncoder encoder{Compression{}};
        WalObjectInput input;
        const Bytes plain(kSize);
        WalFacts facts;
        facts.scan.last_time_us = facts.scan.first_time_us = static_cast<int64_t>(number) * 1000000;
        input.plain = plain;
        input.whole_plain_length = kSize;
        input.digest = sha256(plain);
        input.epoch = 1;
        input.extension = encode_wal_facts(facts);
        put(layout.wal_file(segment_name(timeline, number, kSize)), encode_wal_object(input, encoder));
    }
    void history(TimelineId timeline, const std::string &text) {
        FrameEncoder encoder{Compression{}};
        WalObjectInput input;
        const Bytes plain = to_bytes(text);
        input.plain = plain;
        input.whole_plain_length = plain.size();
        input.digest = sha256(plain);
        input.epoch = 1;
        put(layout.wal_file(history_name(timeline)), encode_wal_object(input, encoder));
    }
    void run(TailRunId id, uint64_t first, TimelineId timeline = 1) {
        test::put_run(*place.store, layout, run_of(id, timeline, first, kSize));
    }
    // The piece's facts: a transaction ended at `time_us` before its end.
    std::string piece(uint64_t number, TailRunId id, uint32_t from, uint32_t to, std::optional<int64_t> time_us = {},
                      TimelineId timeline = 1) {
        FrameEncoder encoder{Compression{}};
        TailFacts facts;
        facts.segment_size = kSize;
        facts.scan.first_time_us = facts.scan.last_time_us = time_us;
        facts.scan.end_of_records = Lsn{number * kSize + to - 8};
        const TailPiece what = piece_of(id, number, from, to);
        std::string key = tail_piece_key(layout, timeline, kSize, what);
        put(key, encode_tail_piece(Bytes(to - from, std::byte{7}), id.epoch, encode_tail_facts(facts), encoder));
        return key;
    }
    void backup(const std::string &id, TimelineId timeline, Lsn start, Lsn stop) {
        CommitDocument document;
        document.id = id;
        document.system_identifier = kSystem;
        document.start_timeline = document.stop_timeline = timeline;
        document.start_lsn = start;
        document.stop_lsn = stop;
        document.stopped_ms = 1000;
        document.wal_segment_size = kSize;
        put(layout.commit(id), encode_document(encode(document), 1, Uuid{}));
    }
    Catalog load(const Catalog *known = nullptr) { return load_catalog(*place.repository, cancel, known); }
    static Lsn at(uint64_t number, uint64_t offset = 0) { return Lsn{number * kSize + offset}; }
    std::vector<RecoveryWindow> windows(const Catalog &catalog) {
        class Facts final : public WalFactsSource {
          public:
            Facts(const Repository &repository, const Catalog &catalog, const CancelToken &cancel)
                : reader(repository, catalog, cancel) {}
            void expect(TimelineId timeline, uint64_t first, uint64_t last) override {
                reader.expect(timeline, first, last);
            }
            std::optional<WalScanSummary> facts(TimelineId timeline, uint64_t segment) override {
                return reader.facts(timeline, segment);
            }
            std::vector<TransactionEnd> transaction_ends(TimelineId timeline, uint64_t segment) override {
                return reader.transaction_ends(timeline, segment);
            }
            WalFactsReader reader;
        } facts(*place.repository, catalog, cancel);
        return recovery_windows(catalog, &facts);
    }

    CancelToken cancel;
    Place place;
    ClusterLayout layout{kSystem};
};

TEST_F(StreamedCatalog, windows_end_with_the_last_streamed_byte) {
    backup("20261120T084013F", 1, at(1, 100), at(1, 500));
    segment(1);
    segment(2);
    run(kOne, 3);
    piece(3, kOne, 0, 2000, 7000000);
    const std::string last = piece(3, kOne, 2000, 5000, 8000000);
    const Catalog catalog = load();
    const TimelineWal &wal = *catalog.timeline(1);
    ASSERT_EQ(wal.streamed.size(), 1U);
    EXPECT_EQ(streamed_bytes(wal, 3), 5000U);
    EXPECT_EQ(streamed_bytes(wal, 2), 0U);
    const auto found = windows(catalog);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].to_lsn, at(3, 5000));
    EXPECT_EQ(found[0].to_us, 8000000);
    EXPECT_EQ(found[0].stored_ms, place.store->head(last, cancel)->modified_ms);
    // Nothing ended in the streamed part: the segment before tells.
    piece(3, kOne, 0, 6000);
    EXPECT_EQ(windows(load())[0].to_us, 2000000);
    EXPECT_EQ(windows(load())[0].to_lsn, at(3, 6000));
}

TEST_F(StreamedCatalog, whole_tails_are_passed_parts_and_holes_end_it) {
    backup("20261120T084013F", 1, at(1, 100), at(1, 500));
    segment(1);
    run(kOne, 2);
    piece(2, kOne, 0, kSize);
    piece(3, kOne, 0, kSize);
    piece(4, kOne, 0, 3000);
    EXPECT_EQ(windows(load())[0].to_lsn, at(4, 3000));
    segment(3);
    EXPECT_EQ(windows(load())[0].to_lsn, at(4, 3000));
    EXPECT_FALSE(load().timeline(1)->streamed.contains(3));
    piece(4, kOne, 3001, 4000);
    EXPECT_EQ(windows(load())[0].to_lsn, at(4)) << "of a damaged tail nothing is promised";
    segment(4);
    EXPECT_EQ(windows(load())[0].to_lsn, at(5));
}

TEST_F(StreamedCatalog, a_cluster_that_has_nothing_but_a_tail_is_seen) {
    run(kOne, 1);
    piece(1, kOne, 0, 3000);
    const Catalog catalog = load();
    EXPECT_EQ(catalog.segment_size, kSize);
    ASSERT_EQ(catalog.timelines.size(), 1U);
    EXPECT_EQ(streamed_bytes(catalog.timelines[0], 1), 3000U);
}

TEST_F(StreamedCatalog, epochs_and_runs_rule_as_for_readers) {
    segment(1);
    run(kOne, 2);
    piece(2, kOne, 0, 3000);
    const auto put_epoch = [&](uint64_t number, Lsn lsn) {
        put(layout.epoch(number), encode_document(encode(epoch_of(number, 1, lsn)), number, Uuid{}));
    };
    put_epoch(1, at(1));
    EXPECT_EQ(streamed_bytes(*load().timeline(1), 2), 3000U);
    put_epoch(2, at(2));
    EXPECT_EQ(streamed_bytes(*load().timeline(1), 2), 0U);
    run({2, 1}, 2);
    piece(2, {2, 1}, 0, 200);
    EXPECT_EQ(streamed_bytes(*load().timeline(1), 2), 200U);
}

TEST_F(StreamedCatalog, an_ancestor_reaches_to_the_switch_where_the_new_timeline_has_nothing) {
    backup("20261120T084013F", 1, at(1, 100), at(1, 500));
    segment(1);
    run(kOne, 2);
    piece(2, kOne, 0, 5000, 7000000);
    history(2, "1\t0/200400\tno recovery target specified\n");
    Catalog catalog = load();
    EXPECT_EQ(contiguous_reach(catalog, *path_to(catalog, 2), at(1, 100)).end, at(2, 0x400));
    EXPECT_EQ(contiguous_reach(catalog, *path_to(catalog, 1), at(1, 100)).end, at(2, 5000));
    run({2, 1}, 2, 2);
    piece(2, {2, 1}, 0, 6000, 9000000, 2);
    catalog = load();
    const Reach reach = contiguous_reach(catalog, *path_to(catalog, 2), at(1, 100));
    EXPECT_EQ(reach.end, at(2, 6000));
    EXPECT_EQ(reach.timeline, 2U);
}

TEST_F(StreamedCatalog, known_catalogs_and_the_local_file_carry_it) {
    backup("20261120T084013F", 1, at(1, 100), at(1, 500));
    segment(1);
    run(kOne, 2);
    piece(2, kOne, 0, 3000, 7000000);
    piece(2, kOne, 3000, 4000, 7500000);
    KnownCatalog known;
    known.url = "memory:";
    known.catalog = load();
    const auto read = decode_catalogs(encode_catalogs({known}));
    ASSERT_TRUE(read);
    const TimelineWal &wal = *read->at(0).catalog.timeline(1);
    EXPECT_EQ(streamed_bytes(wal, 2), 4000U);
    EXPECT_EQ(wal.streamed.at(2).pieces.size(), 2U);
    EXPECT_EQ(wal.tail_runs.at(0).id, kOne);
    EXPECT_EQ(windows(read->at(0).catalog)[0].to_us, 7500000);
    EXPECT_EQ(windows(read->at(0).catalog)[0].stored_ms, windows(known.catalog)[0].stored_ms);
    segment(2);
    piece(3, kOne, 0, 10);
    const Catalog again = load(&read->at(0).catalog);
    EXPECT_FALSE(again.timeline(1)->streamed.contains(2));
    EXPECT_EQ(streamed_bytes(*again.timeline(1), 3), 10U);
}

TEST_F(StreamedCatalog, facts_and_transactions_survive_a_piece_that_goes) {
    segment(1);
    run(kOne, 2);
    const std::string key = piece(2, kOne, 0, 3000, 7000000);
    const Catalog catalog = load();
    segment(2);
    ASSERT_TRUE(place.store->remove({key}, cancel).empty());
    WalFactsReader reader(*place.repository, catalog, cancel);
    EXPECT_EQ(reader.facts(1, 2)->last_time_us, 2000000);
    EXPECT_TRUE(reader.transaction_ends(1, 2).empty());
}

TEST_F(StreamedCatalog, a_damaged_run_document_is_shown_and_the_tail_absent) {
    segment(1);
    run(kOne, 2);
    piece(2, kOne, 0, 3000);
    place.store->overwrite_for_test(tail_run_key(layout, 1, kOne), to_bytes("x"));
    const Catalog catalog = load();
    ASSERT_EQ(catalog.unreadable.size(), 1U);
    EXPECT_EQ(catalog.unreadable[0].key, "42/tail/00000001/");
    EXPECT_TRUE(catalog.timeline(1)->streamed.empty());
    EXPECT_EQ(catalog.timeline(1)->runs.size(), 1U);
}

// A segment that completes between the two listings, and loses its pieces.
TEST_F(StreamedCatalog, nothing_is_missed_between_two_listings) {
    class Racing final : public MemoryStore {
      public:
        ListPage list(const ListRequest &request, const CancelToken &token) override {
            if (between && request.prefix == "42/tail/00000001/")
                std::exchange(between, nullptr)();
            return MemoryStore::list(request, token);
        }
        std::function<void()> between;
    };
    const auto racing = std::make_shared<Racing>();
    place.store = racing;
    place.repository = std::make_shared<Repository>(racing, RepositoryDocument{}, "memory:", kSystem);
    segment(1);
    run(kOne, 2);
    const std::string key = piece(2, kOne, 0, 3000);
    racing->between = [&] {
        segment(2);
        ASSERT_TRUE(racing->remove({key}, cancel).empty());
        piece(3, kOne, 0, 10);
    };
    const Catalog catalog = load();
    EXPECT_EQ(catalog.timeline(1)->runs, (SegmentRuns{{1, 2}}));
    EXPECT_EQ(streamed_bytes(*catalog.timeline(1), 3), 10U);
}

TEST_F(StreamedCatalog, several_repositories_are_seen_as_one) {
    backup("20261120T084013F", 1, at(1, 100), at(1, 500));
    segment(1);
    run(kOne, 2);
    piece(2, kOne, 0, 3000, 7000000);
    const Place first = place;
    place = Place();
    segment(1);
    run(kOne, 2);
    piece(2, kOne, 0, 4000, 8000000);
    piece(3, kOne, 0, 20, 9000000);
    const Place second = place;
    const std::vector<PlanSource> sources{{first.repository, load_catalog(*first.repository, cancel)},
                                          {second.repository, load_catalog(*second.repository, cancel)}};
    RestoreRequest request;
    PlannedRestore planned = plan_over(sources, request, cancel);
    EXPECT_EQ(planned.plan.wal_to, at(2, 4000));
    EXPECT_TRUE(planned.goes_on) << "a tail lies behind the hole";
    request.target = TimeTarget{7500000};
    planned = plan_over(sources, request, cancel);
    EXPECT_EQ(planned.plan.target_setting, "recovery_target_time");
    request.target = TimeTarget{8000000};
    EXPECT_TRUE(plan_over(sources, request, cancel).plan.to_planned_end);
    place = first;
    segment(2);
    const Catalog whole = unite({load_catalog(*first.repository, cancel), load_catalog(*second.repository, cancel)});
    EXPECT_FALSE(whole.timeline(1)->streamed.contains(2));
    EXPECT_EQ(contiguous_reach(whole, *path_to(whole, 1), at(1, 100)).end, at(3, 20));
}

} // namespace
} // namespace pgvigil
