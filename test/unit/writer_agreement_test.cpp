#include "agreement_support.h"

namespace pgvigil::test {
namespace {

TEST_F(AgreementTest, NothingStoredNothingToAgreeUpon) {
    have(4, 1);
    EXPECT_FALSE(agreement());
}

TEST_F(AgreementTest, BehindTheNewestSegmentThatBothHave) {
    for (uint64_t segment = 1; segment <= 3; ++segment)
        store(segment, 1);
    have(4, 1);
    ASSERT_TRUE(agreement());
    EXPECT_EQ(agreement()->start, Lsn{4 * kMiB});
    EXPECT_FALSE(agreement()->breaks);
}

TEST_F(AgreementTest, WhatTheOtherStoredDifferentlyIsNotShared) {
    store(1, 1);
    store(2, 1);
    store(3, 7);
    store(4, 7);
    have(3, 1);
    have(4, 1);
    ASSERT_TRUE(agreement());
    EXPECT_EQ(agreement()->start, Lsn{3 * kMiB});
    EXPECT_FALSE(agreement()->breaks);
}

// Two servers whose histories differ switch segments at the same place, and go on with the same records.
TEST_F(AgreementTest, TheSameBytesBehindADifferenceProveNothing) {
    store(1, 1);
    store(2, 1);
    store(3, 7);
    store(4, 1);
    have(3, 1);
    expect(3, false);
    have(2, 7);
    expect(2, false);
    have(1, 7);
    expect(1, false);
}

TEST_F(AgreementTest, TheSameTailBehindADifferenceProvesNothing) {
    store(1, 1);
    store(2, 1);
    store(3, 7);
    have(3, 1);
    have(4, 1);
    begin_run(4);
    stream(4, 1, {96});
    expect(3, false);
}

// So that pg_wal is not compared as a whole: what lies before is not looked at.
TEST_F(AgreementTest, TheSameEndOfATransactionProvesAllBefore) {
    store(1, 7);
    have(1, 1);
    have(2, 1);
    store_with_transaction(3, 1);
    have(4, 1);
    expect(4, false);
    store(4, 1);
    expect(5, false);
}

TEST_F(AgreementTest, TheSameBytesProveNothingWhereAnotherServerTookOverBeforeThem) {
    put_epoch(1, Lsn{kMiB});
    for (uint64_t segment = 1; segment <= 3; ++segment) {
        store(segment, 1);
        lack(segment);
    }
    have(4, 1);
    begin_run(4);
    stream(4, 1, {96});
    expect(4, true);
    held_epoch_ = 1;
    expect(4, false); // it was this server
    held_epoch_ = 0;
    store_with_transaction(4, 1);
    expect(5, false);
}

TEST_F(AgreementTest, WhatReadersIgnoreIsNotShared) {
    put_epoch(1, Lsn{kMiB});
    store(1, 1);
    store(2, 1);
    store(3, 1);
    put_epoch(2, Lsn{3 * kMiB});
    have(4, 1);
    EXPECT_EQ(agreement()->start, Lsn{3 * kMiB});
}

TEST_F(AgreementTest, WithoutASharedSegmentTheHistoryBreaks) {
    store(1, 1);
    store(2, 1);
    lack(1);
    lack(2);
    have(3, 1);
    have(4, 1);
    ASSERT_TRUE(agreement());
    EXPECT_EQ(agreement()->start, Lsn{3 * kMiB});
    EXPECT_TRUE(agreement()->breaks);
    // Only what is contiguous with the end counts.
    lack(4);
    EXPECT_EQ(agreement()->start, Lsn{5 * kMiB});
    EXPECT_TRUE(agreement()->breaks);
}

TEST_F(AgreementTest, ATimelineThatBeginsInPgWalBreaksNothing) {
    store(3, 7);
    have(3, 1);
    have(4, 1);
    ASSERT_TRUE(agreement());
    EXPECT_EQ(agreement()->start, Lsn{3 * kMiB});
    EXPECT_FALSE(agreement()->breaks);
}

TEST_F(AgreementTest, ARepositoryThatLagsProvesNothing) {
    use_repositories(1);
    for (uint64_t segment = 1; segment <= 4; ++segment)
        store(segment, 1);
    store(1, 1, 1);
    store(2, 1, 1);
    expect(5, false);
    // Nothing that the second has is in pg_wal any more.
    lack(1);
    lack(2);
    expect(5, false);
}

TEST_F(AgreementTest, WhatOneRepositoryHoldsDifferentlyIsArchivedAnewInAll) {
    use_repositories(1);
    for (uint64_t segment = 1; segment <= 4; ++segment)
        store(segment, 1);
    store(1, 1, 1);
    store(2, 1, 1);
    store(3, 7, 1);
    have(3, 1);
    lack(1);
    expect(3, false);
    lack(2);
    expect(3, false);
    lack(3);
    expect(5, false); // nobody can tell
}

TEST_F(AgreementTest, WhatIsStreamedDifferentlyIsArchivedAnewInAll) {
    use_repositories(1);
    for (uint64_t segment = 1; segment <= 4; ++segment)
        store(segment, 1);
    store(2, 1, 1);
    begin_run(3, 1);
    stream(3, 7, {40000}, 1);
    expect(3, false);
}

// A moved disk after a clean shutdown: pg_wal may hold the last segment alone.
TEST_F(AgreementTest, TheTailOfTheLastSegmentShowsTheSameHistory) {
    for (uint64_t segment = 1; segment <= 4; ++segment) {
        store(segment, 1);
        lack(segment);
    }
    have(5, 1);
    input_.wal_end = Lsn{5 * kMiB + 50000};
    expect(5, true);
    begin_run(5);
    stream(5, 1, {10000, 50000});
    expect(5, false);
    input_.wal_end = Lsn{5 * kMiB + 49999};
    expect(5, true); // bytes that this server does not have
    input_.wal_end = Lsn{5 * kMiB + 60000};
    expect(5, false);
    have(5, 2);
    expect(5, true);
    have(5, 1);
    put_epoch(1, Lsn{kMiB});
    put_epoch(2, Lsn{5 * kMiB});
    expect(5, true); // readers ignore that tail
}

TEST_F(AgreementTest, EveryPieceOfATailMustBeTheSame) {
    for (uint64_t segment = 1; segment <= 3; ++segment) {
        store(segment, 1);
        lack(segment);
    }
    Bytes mixed = make_segment({.name = name(4), .size = kMiB, .filling = 1});
    mixed[20000] ^= std::byte{1};
    write_file(name(4), mixed);
    begin_run(4);
    stream(4, 1, {10000, 30000, kMiB});
    expect(4, true);
}

TEST_F(AgreementTest, EarlierSegmentsMayBeThereAsTailsOnly) {
    store(1, 1);
    lack(1);
    have(2, 1);
    have(3, 1);
    have(4, 1);
    begin_run(2);
    stream(2, 1, {300000, kMiB});
    stream(3, 1, {500000, kMiB});
    expect(4, false);
    stream(4, 1, {70000});
    expect(4, false); // its beginning is the same
    have(4, 7);
    expect(4, false);
    have(3, 7);
    expect(3, false);
}

TEST_F(AgreementTest, ATailAloneIsWalOfTheTimelineToo) {
    have(5, 1);
    begin_run(3);
    EXPECT_FALSE(agreement()) << "a run that has streamed nothing";
    stream(5, 7, {10000});
    expect(5, false);
    stream(3, 1, {kMiB});
    expect(5, true);
    have(3, 2);
    have(4, 1);
    expect(3, false);
}

TEST(Breaks, HoldUntilALaterEpochBeginsAtOrBeforeThem) {
    const auto epoch = [](uint64_t number, TimelineId timeline, uint64_t segment, bool breaks) {
        EpochDocument document;
        document.number = number;
        document.timeline = timeline;
        document.lsn = segment_start(segment, kMiB);
        document.breaks = breaks;
        return document;
    };
    std::vector<EpochDocument> epochs = {epoch(1, 1, 1, false), epoch(2, 1, 9, true)};
    EXPECT_EQ(first_break(epochs, 1, 3, kMiB), 9U);
    EXPECT_EQ(first_break(epochs, 1, 9, kMiB), std::nullopt) << "what begins at the break goes on from there";
    EXPECT_EQ(first_break(epochs, 2, 3, kMiB), std::nullopt);
    epochs.push_back(epoch(3, 1, 12, true));
    EXPECT_EQ(first_break(epochs, 1, 3, kMiB), 9U);
    EXPECT_EQ(first_break(epochs, 1, 9, kMiB), 12U);
    epochs.push_back(epoch(4, 1, 7, false));
    EXPECT_EQ(first_break(epochs, 1, 3, kMiB), std::nullopt);
}

} // namespace
} // namespace pgvigil::test
