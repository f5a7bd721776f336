#include "repo/wal_comparison.h"

#include "agreement_support.h"

namespace pgvigil::test {
namespace {

// A server that was started again and compares what it has with what it has stored.
class ContradictionTest : public AgreementTest {
  protected:
    // The run has streamed the segment that the WAL ends in up to `to`; the last complete record ends at `records`.
    void stream_records(unsigned filling, uint32_t from, uint32_t to, uint32_t records) {
        const Bytes bytes = make_segment({.name = name(5), .size = kMiB, .filling = filling});
        TailFacts facts;
        facts.segment_size = kMiB;
        facts.scan.end_of_records = Lsn{segment_start(5, kMiB).value + records};
        FrameEncoder encoder(Compression{});
        const Bytes body =
            encode_tail_piece(ByteView(bytes).subspan(from, to - from), kRun.epoch, encode_tail_facts(facts), encoder);
        const std::string key = tail_piece_key(layout, 1, kMiB, piece_of(kRun, 5, from, to));
        ASSERT_EQ(stores.at(0)->put_new({.key = key, .body = body}, never_), PutOutcome::kStored);
    }
    // Its pg_wal has this of that segment; from `changed` on something else.
    void have_end(unsigned filling, uint32_t changed, uint32_t end) {
        Bytes bytes = make_segment({.name = name(5), .size = kMiB, .filling = filling});
        for (size_t i = changed; i < bytes.size(); ++i)
            bytes[i] = static_cast<std::byte>(~static_cast<unsigned>(bytes[i]) & 0xffU);
        write_file(name(5), bytes);
        input_.wal_end = Lsn{5 * kMiB + end};
    }
    std::optional<uint64_t> contradiction(uint64_t from = 0) {
        return find_contradiction(*repositories.at(0), list_epochs(*repositories.at(0), 0, never_), input_, from,
                                  never_);
    }
};

TEST_F(ContradictionTest, NothingStoredContradictsNothing) {
    have(4, 1);
    EXPECT_FALSE(contradiction());
}

TEST_F(ContradictionTest, WhatItHasStoredItHas) {
    store(3, 1);
    store(4, 1);
    have(5, 1);
    EXPECT_FALSE(contradiction());
}

TEST_F(ContradictionTest, AnotherSegmentIsAnotherHistory) {
    store(3, 1);
    store(4, 1);
    have(4, 2);
    EXPECT_EQ(contradiction(), 4U);
    EXPECT_FALSE(contradiction(5));
}

TEST_F(ContradictionTest, TheSameBytesBehindADifferenceDoNotHideIt) {
    store(3, 7);
    store(4, 1);
    have(3, 1);
    EXPECT_EQ(contradiction(), 3U);
}

TEST_F(ContradictionTest, WhatIsNotThereAnyMoreSaysNothing) {
    store(3, 1);
    store(4, 1);
    have(3, 2);
    lack(4);
    EXPECT_FALSE(contradiction());
}

TEST_F(ContradictionTest, AStreamedRecordThatIsThereIsNoContradiction) {
    begin_run(5);
    stream_records(1, 0, 4000, 4000);
    have_end(1, 4000, 9000);
    EXPECT_FALSE(contradiction());
}

TEST_F(ContradictionTest, AnotherStreamedRecordIsAnotherHistory) {
    begin_run(5);
    stream_records(1, 0, 4000, 4000);
    stream_records(1, 4000, 6000, 6000);
    have_end(1, 5000, 9000);
    EXPECT_EQ(contradiction(), 5U);
}

TEST_F(ContradictionTest, CrashRecoveryWritesOverARecordThatWasNotComplete) {
    begin_run(5);
    stream_records(1, 0, 4000, 4000);
    stream_records(1, 4000, 6000, 5000);
    have_end(1, 5000, 9000);
    EXPECT_FALSE(contradiction());
}

TEST_F(ContradictionTest, InAPieceWithAnIncompleteRecordTheOthersCount) {
    begin_run(5);
    stream_records(1, 0, 4000, 4000);
    stream_records(1, 4000, 6000, 5000);
    have_end(1, 4500, 9000);
    EXPECT_EQ(contradiction(), 5U);
}

// Found by its end already: that it is shorter says nothing here.
TEST_F(ContradictionTest, OnlyWhatBothHaveIsCompared) {
    begin_run(5);
    stream_records(1, 0, 4000, 4000);
    stream_records(1, 4000, 6000, 6000);
    have_end(1, 4500, 4500);
    EXPECT_FALSE(contradiction());
}

} // namespace
} // namespace pgvigil::test
