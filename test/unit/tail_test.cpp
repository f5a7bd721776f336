// The streamed tail: names and listings, which run holds a segment, what of it counts.
#include "tail_support.h"

#include "base/wal_name.h"

namespace pgvigil {
namespace {

using test::epoch_of;
using test::piece_of;
using test::run_of;

constexpr uint64_t kSize = kMiB;
constexpr TailRunId kOne{1, 1};
constexpr TailRunId kTwo{1, 2};
constexpr TailRunId kThree{2, 1};

class Tail : public ::testing::Test {
  protected:
    Tail() {
        tail.timeline = 1;
        tail.segment_size = kSize;
    }
    void add_run(TailRunId id, uint64_t first_segment) { tail.runs.push_back(run_of(id, 1, first_segment, kSize)); }
    void add(TailRunId id, uint64_t segment, uint32_t from, uint32_t to) {
        auto &pieces = tail.segments[segment];
        pieces.push_back(piece_of(id, segment, from, to));
        std::sort(pieces.begin(), pieces.end(), [](const TailPiece &a, const TailPiece &b) {
            return std::tie(a.run, a.from, a.to) < std::tie(b.run, b.from, b.to);
        });
    }
    [[nodiscard]] TailContext context() {
        return {epochs, [this](uint64_t segment) {
                    ++asked;
                    return segment <= last_stored;
                }};
    }
    // "1-2: 0-100 100-300", with " hole" behind; "" when nobody holds the segment.
    std::string cover(uint64_t segment) {
        const auto found = tail_cover(tail, context(), segment);
        if (!found)
            return "";
        std::string text = std::to_string(found->run.epoch) + "-" + std::to_string(found->run.number) + ":";
        for (const TailPiece &piece : found->pieces)
            text += " " + std::to_string(piece.from) + "-" + std::to_string(piece.to);
        EXPECT_EQ(found->end, found->pieces.back().to);
        return text + (found->hole ? " hole" : "");
    }

    TimelineTail tail;
    std::vector<EpochDocument> epochs{epoch_of(1, 1, Lsn{kSize})};
    uint64_t last_stored = 0;
    size_t asked = 0;
};

TEST_F(Tail, a_cover_takes_the_fewest_pieces) {
    EXPECT_EQ(cover(5), "");
    add_run(kOne, 5);
    add(kOne, 5, 0, 100);
    add(kOne, 5, 100, 150);
    add(kOne, 5, 150, 300);
    EXPECT_EQ(cover(5), "1-1: 0-100 100-150 150-300");
    add(kOne, 5, 0, 150);
    EXPECT_EQ(cover(5), "1-1: 0-150 150-300");
    add(kOne, 5, 50, 310);
    EXPECT_EQ(cover(5), "1-1: 0-150 50-310");
    EXPECT_EQ(asked, 0U) << "one run needs no look at what is stored";
}

TEST_F(Tail, what_lies_behind_a_hole_is_damage_and_does_not_count) {
    add_run(kOne, 5);
    add(kOne, 5, 0, 100);
    add(kOne, 5, 101, 150);
    EXPECT_EQ(cover(5), "1-1: 0-100 hole");
    add(kOne, 6, 10, 20);
    EXPECT_EQ(cover(6), "") << "no first byte, nobody holds it";
}

TEST_F(Tail, the_highest_run_with_the_first_bytes_holds_a_segment) {
    add_run(kOne, 5);
    add(kOne, 5, 0, 100);
    add_run(kTwo, 5);
    EXPECT_EQ(cover(5), "1-1: 0-100");
    add(kTwo, 5, 90, 120); // of an opening that is written backwards
    EXPECT_EQ(cover(5), "1-1: 0-100");
    add(kTwo, 5, 0, 90);
    EXPECT_EQ(cover(5), "1-2: 0-90 90-120");
}

TEST_F(Tail, a_run_that_is_open_ends_earlier_ones_behind_its_first_segment) {
    add_run(kOne, 5);
    add(kOne, 5, 0, kSize);
    add(kOne, 6, 0, 100);
    add(kOne, 7, 0, 10);
    add_run(kTwo, 5); // recovery ended in segment 5
    EXPECT_EQ(cover(6), "1-1: 0-100") << "it has shipped nothing yet";
    EXPECT_TRUE(has_later_tail(tail, context(), 5));
    add(kTwo, 5, 0, 50);
    EXPECT_EQ(cover(5), "1-2: 0-50");
    EXPECT_EQ(cover(6), "");
    EXPECT_FALSE(has_later_tail(tail, context(), 5));
    add(kTwo, 6, 0, 7);
    EXPECT_EQ(cover(6), "1-2: 0-7");
    EXPECT_EQ(cover(7), "");
}

TEST_F(Tail, a_run_opens_in_a_later_segment_too) {
    add_run(kOne, 5);
    add(kOne, 7, 0, 10);
    add_run(kTwo, 5);
    add(kTwo, 6, 0, 5); // its first segment went complete, and its pieces with that
    EXPECT_EQ(cover(7), "");
    tail.segments.erase(6);
    EXPECT_EQ(cover(7), "1-1: 0-10");
    last_stored = 5;
    EXPECT_EQ(cover(7), "") << "its first segment is stored complete";
}

TEST_F(Tail, backlog_before_its_first_segment_does_not_open_a_run) {
    add_run(kOne, 3);
    add(kOne, 4, 0, 10);
    add(kOne, 6, 0, 10);
    add_run(kTwo, 5);
    add(kTwo, 4, 0, kSize);
    EXPECT_EQ(cover(4), "1-2: 0-1048576");
    EXPECT_EQ(cover(6), "1-1: 0-10");
}

TEST_F(Tail, an_epoch_ends_earlier_ones_from_its_segment_on) {
    add_run(kOne, 5);
    add(kOne, 5, 0, 100);
    add(kOne, 6, 0, 100);
    epochs.push_back(epoch_of(2, 1, segment_start(6, kSize)));
    EXPECT_EQ(cover(5), "1-1: 0-100");
    EXPECT_EQ(cover(6), "");
    EXPECT_FALSE(has_later_tail(tail, context(), 5));
    add_run(kThree, 6);
    add(kThree, 6, 0, 5);
    EXPECT_EQ(cover(6), "2-1: 0-5");
    EXPECT_TRUE(has_later_tail(tail, context(), 5));
    // What the earlier writer streams late, in a new run even, changes nothing.
    add_run({1, 9}, 6);
    add({1, 9}, 6, 0, 500);
    EXPECT_EQ(cover(6), "2-1: 0-5");
}

TEST_F(Tail, an_epoch_of_another_timeline_says_nothing) {
    add_run(kOne, 5);
    add(kOne, 5, 0, 100);
    epochs.push_back(epoch_of(2, 2, segment_start(5, kSize)));
    EXPECT_EQ(cover(5), "1-1: 0-100");
}

class TailStore : public Tail {
  protected:
    TailStore() { repository = std::make_unique<Repository>(store, create_repository_document(*store, never), "", 42); }
    [[nodiscard]] const ClusterLayout &layout() const { return repository->layout(); }
    std::string put(TailRunId run, uint64_t segment, uint32_t from, uint32_t to, TimelineId timeline = 1) {
        return test::put_piece(*store, layout(), timeline, kSize, piece_of(run, segment, from, to), Bytes(kSize));
    }
    void put_text(const std::string &key) {
        const Bytes body = to_bytes("x");
        EXPECT_EQ(store->put_new({.key = key, .body = body}, never), PutOutcome::kStored);
    }
    // The pieces of a listing, in its order.
    static std::string text(const TimelineTail &tail) {
        std::string text;
        for (const auto &[segment, pieces] : tail.segments)
            for (const TailPiece &piece : pieces)
                text += fmt_piece(piece) + " ";
        return text;
    }
    static std::string fmt_piece(const TailPiece &piece) {
        return std::to_string(piece.segment) + ":" + std::to_string(piece.run.number) + ":" +
               std::to_string(piece.from) + "-" + std::to_string(piece.to);
    }
    const CancelToken never;
    std::shared_ptr<MemoryStore> store = std::make_shared<MemoryStore>();
    std::unique_ptr<Repository> repository;
};

TEST_F(TailStore, keys_are_those_of_the_format) {
    EXPECT_EQ(put(kTwo, 0x1ff, 0x1000, 0x2abc),
              "42/tail/00000001/0000000100000000000001FF/0000000001-000002-00001000-00002ABC");
    EXPECT_EQ(tail_run_key(layout(), 0xab, {12, 34}), "42/tail/000000AB/runs/0000000012-000034.json");
}

TEST_F(TailStore, lists_what_was_written_and_nothing_else) {
    test::put_run(*store, layout(), run_of(kOne, 1, 5, kSize));
    test::put_run(*store, layout(), run_of(kThree, 1, 6, kSize));
    put(kThree, 6, 0, 10);
    put(kOne, 6, 0, 20);
    put(kOne, 5, 16, 32);
    put(kOne, 5, 0, 16);
    put(kOne, 0x1000, 0, kSize);
    put(kOne, 5, 0, 99, 2);
    const std::string directory = layout().tail_segment_prefix(segment_name(1, 5, kSize));
    for (const char *name :
         {"0000000001-000001-00000000", "0000000001-000001-00000000-0000000a", "0000000001-000001-00000010-00000010",
          "0000000001-000001-00000000-00000010.tmp", "0000000001-000001-00000000-40000001", "x",
          "000000001-0000001-00000000-00000010", "+000000001-000001-00000000-00000010"})
        put_text(directory + name);
    put_text(layout().tail_prefix(1) + "notes/x");
    put_text(layout().tail_runs_prefix(1) + "x.json");
    const TimelineTail listed = list_tail(*repository, 1, 0, 0, never);
    EXPECT_EQ(text(listed), "5:1:0-16 5:1:16-32 6:1:0-20 6:1:0-10 4096:1:0-1048576 ");
    EXPECT_EQ(listed.segment_size, kSize);
    ASSERT_EQ(listed.runs.size(), 2U);
    EXPECT_EQ(listed.runs[1].id, kThree);
    EXPECT_EQ(listed.runs[1].from, segment_start(6, kSize));
    EXPECT_EQ(listed.runs[1].host, "host");
    EXPECT_GT(listed.segments.at(5).at(0).modified_ms, 0);
    EXPECT_GT(listed.segments.at(5).at(0).stored_bytes, 16U);
    EXPECT_EQ(text(list_tail(*repository, 1, kSize, 6, never)), "6:1:0-20 6:1:0-10 4096:1:0-1048576 ");
    // With the first piece of the run that ends the other one.
    EXPECT_EQ(text(list_tail_from(*repository, 1, segment_name(1, 7, kSize), never)), "6:1:0-10 4096:1:0-1048576 ");
    EXPECT_EQ(list_tail_timelines(*repository, never), (std::vector<TimelineId>{1, 2}));
    EXPECT_EQ(list_tail(*repository, 7, 0, 0, never).segment_size, 0U);
}

TEST_F(TailStore, a_listing_from_a_segment_on_knows_whether_earlier_runs_are_open) {
    test::put_run(*store, layout(), run_of(kOne, 1, 5, kSize));
    test::put_run(*store, layout(), run_of(kTwo, 1, 5, kSize));
    put(kOne, 5, 0, kSize);
    put(kOne, 6, 0, 100);
    put(kTwo, 5, 0, 50);
    tail = list_tail(*repository, 1, kSize, 6, never);
    EXPECT_EQ(text(tail), "5:2:0-50 6:1:0-100 ");
    EXPECT_EQ(cover(6), "");
}

TEST_F(TailStore, known_runs_are_not_read_again) {
    test::put_run(*store, layout(), run_of(kOne, 1, 5, kSize));
    TimelineTail known = list_tail(*repository, 1, 0, 0, never);
    known.runs[0].host = "remembered";
    test::put_run(*store, layout(), run_of(kTwo, 1, 5, kSize));
    const TimelineTail listed = list_tail(*repository, 1, 0, 0, never, &known);
    ASSERT_EQ(listed.runs.size(), 2U);
    EXPECT_EQ(listed.runs[0].host, "remembered");
    EXPECT_EQ(listed.runs[1].host, "host");
}

TEST_F(TailStore, runs_are_claimed_one_after_the_other_within_an_epoch) {
    TailRun run = run_of({2, 0}, 1, 5, kSize);
    claim_tail_run(*repository, run, never);
    EXPECT_EQ(run.id, (TailRunId{2, 1}));
    claim_tail_run(*repository, run, never);
    EXPECT_EQ(run.id, (TailRunId{2, 2}));
    TailRun later = run_of({3, 0}, 1, 5, kSize);
    claim_tail_run(*repository, later, never);
    EXPECT_EQ(later.id, (TailRunId{3, 1}));
    TailRun earlier = run_of({1, 0}, 1, 5, kSize);
    claim_tail_run(*repository, earlier, never);
    EXPECT_EQ(earlier.id, (TailRunId{1, 1}));
    const TimelineTail listed = list_tail(*repository, 1, 0, 0, never);
    ASSERT_EQ(listed.runs.size(), 4U);
    EXPECT_EQ(listed.runs[2].id, (TailRunId{2, 2}));
}

TEST_F(TailStore, refuses_a_run_that_cannot_be_meant) {
    const std::string good = encode(run_of(kOne, 1, 5, kSize));
    EXPECT_EQ(decode_tail_run(good, "k").from, segment_start(5, kSize));
    for (const auto &[from, to] : {std::pair<std::string, std::string>{"\"0/500000\"", "\"0/500001\""},
                                   {"1048576", "1048577"},
                                   {"\"epoch\": 1", "\"epoch\": -1"},
                                   {"\"timeline\": 1", "\"timeline\": \"1\""}}) {
        std::string bad = good;
        ASSERT_NE(bad.find(from), std::string::npos) << from;
        bad.replace(bad.find(from), from.size(), to);
        EXPECT_THROW((void)decode_tail_run(bad, "k"), Error) << to;
    }
}

TEST_F(TailStore, a_piece_is_read_back_and_held_against_its_name) {
    Bytes segment(kSize);
    for (size_t i = 0; i < segment.size(); ++i)
        segment[i] = static_cast<std::byte>(i * 7 + i / 300);
    const TailPiece piece = piece_of(kTwo, 5, 1000, 3000);
    const std::string key = test::put_piece(*store, layout(), 1, kSize, piece, segment);
    const Bytes object = store->get(key, kMiB, never).value();
    FrameDecoder decoder;
    Bytes plain = to_bytes("before");
    decode_tail_piece(object, piece, plain, decoder, key);
    EXPECT_EQ(as_text(ByteView(plain).first(6)), "before");
    EXPECT_TRUE(std::equal(plain.begin() + 6, plain.end(), segment.begin() + 1000, segment.begin() + 3000));
    EXPECT_EQ(decode_tail_facts(parse_header(object, key).header.extension, key).segment_size, kSize);
    TailPiece other = piece;
    other.to += 1;
    EXPECT_THROW(decode_tail_piece(object, other, plain, decoder, key), Error);
    other = piece;
    other.run.epoch = 9;
    EXPECT_THROW(decode_tail_piece(object, other, plain, decoder, key), Error);
    for (const size_t at : {size_t{0}, size_t{60}, object.size() - 1}) {
        Bytes damaged = object;
        damaged[at] ^= std::byte{4};
        EXPECT_THROW(decode_tail_piece(damaged, piece, plain, decoder, key), Error) << at;
    }
}

TEST(TailFacts, are_read_back) {
    TailFacts facts;
    facts.segment_size = 16 * kMiB;
    facts.scan.last_time_us = 1800000000123456;
    facts.scan.first_time_us = 1800000000000000;
    facts.scan.commits = 3;
    facts.scan.end_of_records = Lsn{0x3000100};
    const TailFacts read = decode_tail_facts(encode_tail_facts(facts), "k");
    EXPECT_EQ(read.segment_size, facts.segment_size);
    EXPECT_EQ(read.scan.last_time_us, facts.scan.last_time_us);
    EXPECT_EQ(read.scan.commits, 3U);
    EXPECT_EQ(read.scan.end_of_records, facts.scan.end_of_records);
    EXPECT_EQ(decode_tail_facts("", "k").segment_size, 0U);
    EXPECT_THROW((void)decode_tail_facts("{\"segment_size\": \"x\"}", "k"), Error);
}

} // namespace
} // namespace pgvigil
