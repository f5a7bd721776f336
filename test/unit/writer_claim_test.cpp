
#include "repo/epochs.h"
#include "repo/wal_object.h"
#include "storage/faulty_store.h"
#include "storage/memory/memory_store.h"
#include "tail_support.h"
#include "writer_claim_support.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

namespace pgvigil {
namespace {

namespace fs = std::filesystem;
using test::Server;

constexpr uint64_t kSegment = test::kClaimSegment;
constexpr uint64_t kSystem = test::kClaimSystem;

class WriterClaim : public ::testing::Test {
  protected:
    ClaimResult claim(Server &server) { return claim_writer(server.input, stores_, cancel_); }
    ClaimResult standby(Server &server) {
        server.input.in_recovery = true;
        server.input.streaming = true;
        return open_for_standby(server.input, stores_, cancel_);
    }
    void expect_foreign(Server &server, const std::string &word) {
        try {
            (void)claim(server);
            ADD_FAILURE() << "not refused: " << word;
        } catch (const Error &error) {
            EXPECT_EQ(error.code(), ErrorCode::kForeign);
            EXPECT_NE(error.message().find(word), std::string::npos) << error.message();
            EXPECT_NE(error.hint().find("pgv_accept_repository"), std::string::npos);
        }
    }
    [[nodiscard]] size_t objects() const {
        size_t count = 0;
        for_each_page(*memory_, {}, cancel_, [&](const ListPage &page) { count += page.objects.size(); });
        return count;
    }
    // A complete segment whose last record ends at `end`.
    void put_segment(uint64_t segment, Lsn end, uint64_t epoch, bool overlay = false) {
        WalFacts facts;
        facts.scan.end_of_records = end;
        WalObjectInput input;
        const Bytes plain(100);
        input.plain = plain;
        input.whole_plain_length = plain.size();
        input.epoch = epoch;
        input.extension = encode_wal_facts(facts);
        FrameEncoder encoder({Codec::kNone, 0});
        const Bytes body = encode_wal_object(input, encoder);
        const ClusterLayout layout(kSystem);
        const std::string name = segment_name(1, segment, kSegment);
        const std::string key = overlay ? layout.wal_file_of_epoch(name, epoch) : layout.wal_file(name);
        PutRequest request;
        request.key = key;
        request.body = body;
        ASSERT_EQ(memory_->put_new(request, cancel_), PutOutcome::kStored);
    }

    CancelToken cancel_;
    std::shared_ptr<MemoryStore> memory_ = std::make_shared<MemoryStore>();
    std::shared_ptr<MemoryStore> second_ = std::make_shared<MemoryStore>("memory:second");
    std::vector<NamedStore> stores_ = {{"file:///r", memory_}};
};

TEST_F(WriterClaim, FirstStartThenRestarts) {
    Server server("db1");
    const ClaimResult first = claim(server);
    ASSERT_EQ(first.standing, WriterStanding::kWriter);
    EXPECT_EQ(first.value().epoch, 1U);
    EXPECT_EQ(first.value().epoch_timeline, 1U);
    EXPECT_EQ(first.value().epoch_start, server.input.wal_end);
    ASSERT_EQ(first.value().repositories.size(), 1U);
    EXPECT_EQ(first.value().repositories[0]->url(), "file:///r");
    const size_t after_first = objects();
    EXPECT_EQ(after_first, 2U) << "the root document and the epoch";
    server.input.wal_end = Lsn{20 * kSegment};
    const ClaimResult again = claim(server);
    EXPECT_EQ(again.value().epoch, 1U);
    EXPECT_EQ(again.value().instance, first.value().instance);
    EXPECT_EQ(again.value().epoch_start.value, 10 * kSegment + 100);
    EXPECT_EQ(objects(), after_first);
    EXPECT_NO_THROW(check_still_writer(again.value(), cancel_));
}

TEST_F(WriterClaim, ArchivingStartsAtTheFirstSegmentThatWaits) {
    Server server("db1");
    const fs::path status = fs::path(server.input.data_directory) / "pg_wal/archive_status";
    for (const uint64_t segment : {4, 7, 9})
        std::ofstream(status / (segment_name(1, segment, kSegment) + (segment == 4 ? ".done" : ".ready")));
    std::ofstream(status / (segment_name(2, 1, kSegment) + ".ready"));
    EXPECT_EQ(claim(server).value().epoch_start.value, 7 * kSegment);
}

TEST_F(WriterClaim, RestoredAndCopiedServersWriteNothing) {
    Server original("db1");
    (void)claim(original).value();
    const size_t before = objects();
    Server restored("db2");
    restored.input.timeline = 2;
    EXPECT_EQ(claim(restored).standing, WriterStanding::kDetached);
    EXPECT_THROW((void)claim(restored).value(), Error);
    EXPECT_FALSE(fs::exists(fs::path(restored.input.data_directory) / kIdentityFileName));
    Server copied("db3");
    original.copy_to(copied);
    EXPECT_EQ(claim(copied).standing, WriterStanding::kDetached);
    EXPECT_EQ(claim(original).standing, WriterStanding::kWriter);
    EXPECT_EQ(objects(), before);
    // A store none of them has used before stays untouched as well.
    stores_.push_back({"file:///second", second_});
    EXPECT_EQ(claim(restored).standing, WriterStanding::kDetached);
    EXPECT_TRUE(second_->list({}, cancel_).objects.empty());
}

TEST_F(WriterClaim, TakingOverFencesTheOther) {
    Server original("db1");
    const Claim old_claim = claim(original).value();
    Server restored("db2");
    restored.input.timeline = 2;
    const ClaimResult taken = take_over(restored.input, stores_, "db1 burnt down", cancel_);
    ASSERT_EQ(taken.standing, WriterStanding::kWriter);
    EXPECT_EQ(taken.value().epoch, 2U);
    EXPECT_EQ(highest_epoch(*taken.value().repositories[0], cancel_)->reason, "db1 burnt down");
    try {
        check_still_writer(old_claim, cancel_);
        FAIL();
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kNotWriter);
        EXPECT_NE(error.detail().find("db2"), std::string::npos);
    }
    EXPECT_EQ(claim(original).standing, WriterStanding::kFenced);
    EXPECT_EQ(claim(restored).value().epoch, 2U);
    EXPECT_EQ(take_over(restored.input, stores_, "again", cancel_).value().epoch, 2U) << "it is the writer already";
    EXPECT_EQ(take_over(original.input, stores_, "back", cancel_).value().epoch, 3U);
    EXPECT_EQ(claim(restored).standing, WriterStanding::kFenced);
}

TEST_F(WriterClaim, TheTakeOverFileIsObeyedOnce) {
    Server original("db1");
    (void)claim(original).value();
    Server restored("db2");
    const fs::path file = fs::path(restored.input.data_directory) / kTakeOverFileName;
    std::ofstream(file) << "moved to new hardware\n";
    restored.input.in_recovery = true;
    EXPECT_EQ(claim(restored).standing, WriterStanding::kInRecovery);
    EXPECT_TRUE(fs::exists(file)) << "kept until recovery has ended";
    restored.input.in_recovery = false;
    const Claim taken = claim(restored).value();
    EXPECT_EQ(taken.epoch, 2U);
    EXPECT_EQ(highest_epoch(*taken.repositories[0], cancel_)->reason, "moved to new hardware");
    EXPECT_FALSE(fs::exists(file));
}

TEST_F(WriterClaim, StandbysRegisterAndTakeOverAtPromotion) {
    Server primary("db1");
    Server second("db2");
    Server third("db3");
    EXPECT_EQ(standby(second).standing, WriterStanding::kInRecovery) << "nobody has written yet";
    (void)claim(primary).value();
    primary.copy_to(second);
    const ClaimResult registered = standby(second);
    ASSERT_EQ(registered.standing, WriterStanding::kStandby);
    EXPECT_EQ(registered.value().epoch, 1U);
    EXPECT_NE(registered.value().instance, claim(primary).value().instance);
    ASSERT_EQ(standby(third).standing, WriterStanding::kStandby);
    second.input.streaming = false;
    EXPECT_EQ(open_for_standby(second.input, stores_, cancel_).standing, WriterStanding::kStandby);

    second.promote();
    const ClaimResult promoted = claim(second);
    ASSERT_EQ(promoted.standing, WriterStanding::kWriter);
    EXPECT_EQ(promoted.value().epoch, 2U);
    EXPECT_EQ(promoted.value().epoch_timeline, 2U);
    EXPECT_EQ(claim(primary).standing, WriterStanding::kFenced);
    // The other standby still follows the old writer: its promotion would split the cluster.
    third.input.streaming = false;
    EXPECT_EQ(open_for_standby(third.input, stores_, cancel_).standing, WriterStanding::kFenced);
    third.promote();
    EXPECT_EQ(claim(third).standing, WriterStanding::kFenced);
    // Once it streams from the new one it may be promoted.
    ASSERT_EQ(standby(third).standing, WriterStanding::kStandby);
    third.promote();
    EXPECT_EQ(claim(third).value().epoch, 3U);
    // And the first primary, turned into a standby, comes back the same way.
    primary.input.timeline = 3;
    ASSERT_EQ(standby(primary).standing, WriterStanding::kStandby);
    primary.promote();
    EXPECT_EQ(claim(primary).value().epoch, 4U);
}

TEST_F(WriterClaim, ATestRestoreInRecoveryIsNoStandby) {
    Server primary("db1");
    (void)claim(primary).value();
    Server restored("db2");
    restored.input.in_recovery = true;
    const ClaimResult result = open_for_standby(restored.input, stores_, cancel_);
    EXPECT_EQ(result.standing, WriterStanding::kInRecovery);
    EXPECT_FALSE(fs::exists(fs::path(restored.input.data_directory) / kIdentityFileName));
}

TEST_F(WriterClaim, StaleCopies) {
    Server server("db1");
    (void)claim(server).value();
    const Lsn end = server.input.wal_end;
    put_segment(9, Lsn{10 * kSegment - 8}, 1);
    EXPECT_EQ(claim(server).standing, WriterStanding::kWriter);
    put_segment(10, end, 1);
    EXPECT_EQ(claim(server).standing, WriterStanding::kWriter) << "it ends exactly where the server's WAL ends";
    put_segment(11, Lsn{12 * kSegment - 16}, 1);
    const ClaimResult stale = claim(server);
    EXPECT_EQ(stale.standing, WriterStanding::kStaleCopy);
    EXPECT_NE(stale.refusal->detail().find(to_string(Lsn{12 * kSegment - 16})), std::string::npos);
    server.input.timeline = 2;
    EXPECT_EQ(claim(server).standing, WriterStanding::kWriter) << "another timeline";
    server.input.timeline = 1;
    // The operator gives up what lies beyond: a new epoch from here on, and the old segments count no more.
    EXPECT_EQ(take_over(server.input, stores_, "snapshot rolled back", cancel_).value().epoch, 2U);
    EXPECT_EQ(claim(server).value().epoch, 2U);
    put_segment(12, Lsn{13 * kSegment - 16}, 1);
    EXPECT_EQ(claim(server).value().epoch, 2U) << "an older epoch's late segment is ignored";
    put_segment(12, Lsn{13 * kSegment - 16}, 2, true);
    EXPECT_EQ(claim(server).standing, WriterStanding::kStaleCopy);
}

// What was streamed counts as what is stored complete does.
TEST_F(WriterClaim, ACopyBehindTheTailIsStale) {
    Server server("db1");
    (void)claim(server).value();
    const ClusterLayout layout(kSystem);
    const TailRunId run{1, 1};
    test::put_run(*memory_, layout, test::run_of(run, 1, 10, kSegment));
    const auto stream_to = [&](uint32_t from, uint32_t to, Lsn record) {
        FrameEncoder encoder({Codec::kNone, 0});
        TailFacts facts;
        facts.segment_size = kSegment;
        facts.scan.end_of_records = record;
        const TailPiece piece = test::piece_of(run, 10, from, to);
        const Bytes body = encode_tail_piece(Bytes(to - from), 1, encode_tail_facts(facts), encoder);
        const std::string key = tail_piece_key(layout, 1, kSegment, piece);
        PutRequest request;
        request.key = key;
        request.body = body;
        ASSERT_EQ(memory_->put_new(request, cancel_), PutOutcome::kStored);
    };
    stream_to(0, 300, server.input.wal_end);
    EXPECT_EQ(claim(server).standing, WriterStanding::kWriter) << "behind the server's end there is no whole record";
    const Lsn beyond{server.input.wal_end.value + 200};
    stream_to(300, 400, beyond);
    const ClaimResult stale = claim(server);
    ASSERT_EQ(stale.standing, WriterStanding::kStaleCopy);
    EXPECT_NE(stale.refusal->detail().find(to_string(beyond)), std::string::npos);
    EXPECT_EQ(take_over(server.input, stores_, "snapshot rolled back", cancel_).value().epoch, 2U);
    EXPECT_EQ(claim(server).standing, WriterStanding::kWriter) << "an older epoch's tail counts no more";
}

TEST_F(WriterClaim, AMovedDiskGoesOnFromItsTail) {
    Server server("db1");
    (void)claim(server).value();
    const ClusterLayout layout(kSystem);
    const TailRunId run{1, 1};
    const Bytes bytes(kSegment, std::byte{5});
    test::put_run(*memory_, layout, test::run_of(run, 1, 10, kSegment));
    (void)test::put_piece(*memory_, layout, 1, kSegment, test::piece_of(run, 10, 0, 80), bytes);
    put_segment(9, Lsn{10 * kSegment - 8}, 1);
    Server moved("db2");
    server.copy_to(moved);
    std::ofstream(fs::path(moved.input.data_directory) / "pg_wal" / segment_name(1, 10, kSegment)) << as_text(bytes);
    EXPECT_EQ(claim(moved).standing, WriterStanding::kDetached);
    const Claim taken = take_over(moved.input, stores_, "moved", cancel_).value();
    EXPECT_EQ(taken.epoch_start, Lsn{10 * kSegment});
    EXPECT_FALSE(highest_epoch(*taken.repositories[0], cancel_)->breaks);
}

TEST_F(WriterClaim, AMissingOrForeignRepositoryStopsUntilAccepted) {
    Server server("db1");
    (void)claim(server).value();
    const auto good = stores_;
    stores_ = {{"file:///r", second_}}; // an unmounted directory
    expect_foreign(server, "missing");
    EXPECT_TRUE(second_->list({}, cancel_).objects.empty());
    (void)create_repository_document(*second_, cancel_);
    expect_foreign(server, "another repository");
    stores_ = {{"file:///mistyped", std::make_shared<MemoryStore>()}};
    expect_foreign(server, "accepted");
    stores_ = {{"file:///someone-elses", second_}};
    expect_foreign(server, "accepted");
    stores_ = {{"file:///same-by-another-path", memory_}};
    EXPECT_EQ(claim(server).standing, WriterStanding::kWriter) << "the id is what counts";

    stores_ = {{"file:///r", second_}};
    const auto lines = accept_repositories(server.input, stores_, cancel_);
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_NE(lines[0].find("accepted"), std::string::npos);
    EXPECT_EQ(claim(server).value().epoch, 2U) << "numbers are not used twice by one server";
    stores_ = good;
    expect_foreign(server, "another repository");
}

TEST_F(WriterClaim, SeveralRepositoriesShareOneEpoch) {
    Server server("db1");
    stores_.push_back({"file:///second", second_});
    EXPECT_EQ(claim(server).value().repositories.size(), 2U);
    auto third = std::make_shared<MemoryStore>("memory:third");
    stores_.push_back({"file:///third", third});
    expect_foreign(server, "accepted");
    (void)accept_repositories(server.input, stores_, cancel_);
    const Claim wider = claim(server).value();
    EXPECT_EQ(wider.epoch, 1U);
    ASSERT_EQ(wider.repositories.size(), 3U);
    EXPECT_EQ(highest_epoch(*wider.repositories[2], cancel_)->instance, wider.instance);
    EXPECT_EQ(highest_epoch(*wider.repositories[2], cancel_)->lsn, wider.epoch_start);
}

TEST_F(WriterClaim, AnUnreachableRepositoryDelaysOnlyWhatNeedsIt) {
    auto faulty = std::make_shared<FaultyStore>(second_);
    stores_.push_back({"file:///second", faulty});
    Server server("db1");
    server.input.required = 1;
    faulty->fail_from(1, FaultMoment::kBefore);
    EXPECT_THROW((void)claim(server), Error) << "a new epoch needs all";
    EXPECT_EQ(objects(), 0U);
    faulty->set_plan({});
    (void)claim(server).value();
    faulty->fail_from(faulty->calls() + 1, FaultMoment::kBefore);
    const Claim kept = claim(server).value();
    EXPECT_EQ(kept.repositories.size(), 1U);
    ASSERT_EQ(kept.unreachable.size(), 1U);
    EXPECT_EQ(kept.unreachable[0].url, "file:///second");
    server.input.required = 0;
    EXPECT_THROW((void)claim(server), Error);
}

} // namespace
} // namespace pgvigil
