#include "repo/writer_agreement.h"

#include "repo/epochs.h"
#include "wal_archiver_support.h"

#include <filesystem>
#include <gtest/gtest.h>

namespace pgvigil::test {
namespace {

// A server on timeline 1 whose WAL ends in its fifth segment, and what a repository has of that timeline.
class AgreementTest : public ArchiverTest {
  protected:
    AgreementTest() {
        use_repositories(1);
        // The segments stand in the directory itself.
        std::filesystem::create_directory_symlink(".", directory.path() + "/pg_wal");
        input_.data_directory = directory.path();
        input_.system_identifier = kSystemIdentifier;
        input_.timeline = 1;
        input_.segment_size = kMiB;
        input_.wal_end = Lsn{5 * kMiB + 100};
    }
    static std::string name(uint64_t segment) { return segment_name(1, segment, kMiB); }
    void store(uint64_t segment, unsigned filling, uint64_t epoch = 1, Lsn start = {}) {
        (void)write_segment(name(segment), filling);
        WalArchiverOptions how = options();
        how.epoch = epoch;
        how.epoch_start = start;
        how.epoch_timeline = 1;
        WalArchiver archiver(how, {repositories.at(0)}, log);
        ASSERT_EQ(archive(archiver, name(segment)), WalFileState::kDone);
    }
    void have(uint64_t segment, unsigned filling) const { (void)write_segment(name(segment), filling); }
    void lack(uint64_t segment) const { std::filesystem::remove(directory.path() + "/" + name(segment)); }
    void put_epoch(uint64_t number, Lsn lsn) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.instance = random_uuid();
        epoch.host = "host";
        epoch.timeline = 1;
        epoch.lsn = lsn;
        epoch.reason = "test";
        ASSERT_FALSE(claim_epoch(*repositories.at(0), epoch, never_));
    }
    std::optional<Agreement> agreement() {
        OpenedRepositories all;
        OpenedRepository opened;
        opened.url = "memory:";
        opened.store = stores.at(0);
        opened.document = repositories.at(0)->document();
        opened.epochs = list_epochs(*repositories.at(0), 0, never_);
        all.opened.push_back(std::move(opened));
        return find_agreement(input_, all, never_);
    }

    ClaimInput input_;
    const CancelToken never_;
};

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
