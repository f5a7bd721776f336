#include "repo/writer_lease.h"

#include "base/error.h"
#include "base/time.h"
#include "repo/envelope.h"
#include "repo/epochs.h"
#include "storage/faulty_store.h"
#include "storage/memory/memory_store.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

constexpr int64_t kTerm = 90000;

class WriterLeaseTest : public ::testing::Test {
  protected:
    static LeaseOwner owner(uint64_t epoch, int64_t term_ms = kTerm) {
        LeaseOwner owner;
        owner.epoch = epoch;
        owner.instance = instance();
        owner.host = "a";
        owner.term_ms = term_ms;
        return owner;
    }
    static Uuid instance() {
        static const Uuid id = random_uuid();
        return id;
    }
    void put_epoch(uint64_t number) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.instance = random_uuid();
        epoch.host = "b";
        epoch.timeline = 1;
        epoch.lsn = Lsn{1};
        epoch.reason = "test";
        ASSERT_FALSE(claim_epoch(repository_, epoch, cancel_));
    }
    ErrorCode failure_of(WriterLease &lease) {
        try {
            lease.round(cancel_);
        } catch (const Error &error) {
            return error.code();
        }
        return ErrorCode::kInternal;
    }
    uint64_t newest(uint64_t epoch) { return newest_renewal(repository_, epoch, 0, cancel_).number; }

    std::shared_ptr<MemoryStore> memory_ = std::make_shared<MemoryStore>();
    std::shared_ptr<FaultyStore> store_ = std::make_shared<FaultyStore>(memory_);
    Repository repository_{store_, {}, "memory:", 7};
    CancelToken cancel_;
};

TEST_F(WriterLeaseTest, ASignOfLifeAfterTheTakeOverIsSeen) {
    put_epoch(1);
    WriterLease lease(repository_, owner(1));
    lease.round(cancel_);
    const WriterSight seen = look_at_writer(repository_, cancel_);
    put_epoch(2);
    EXPECT_EQ(renewal_since(repository_, seen, cancel_), 0U);
    lease.release(cancel_); // late, by the one that was taken over from
    EXPECT_EQ(renewal_since(repository_, seen, cancel_), seen.renewal + 1);
    EXPECT_EQ(renewal_since(repository_, {}, cancel_), 0U);
}

TEST_F(WriterLeaseTest, RenewalsAreReadAsTheyWereWritten) {
    WriterRenewal renewal;
    renewal.epoch = 12345678901;
    renewal.number = 7;
    renewal.instance = random_uuid();
    renewal.host = "h\xff";
    renewal.released = true;
    renewal.created_ms = 1795312800123;
    const WriterRenewal read = decode_writer_renewal(encode(renewal), "key");
    EXPECT_EQ(read.epoch, renewal.epoch);
    EXPECT_EQ(read.number, renewal.number);
    EXPECT_EQ(read.instance, renewal.instance);
    EXPECT_EQ(read.host, renewal.host);
    EXPECT_TRUE(read.released);
    EXPECT_EQ(read.created_ms, renewal.created_ms);
}

TEST_F(WriterLeaseTest, OnlyItsOwnNamesAreRenewals) {
    const ClusterLayout layout(7);
    const auto name = parse_renewal_key(layout, layout.alive(3, 12));
    ASSERT_TRUE(name);
    EXPECT_EQ(name->epoch, 3U);
    EXPECT_EQ(name->number, 12U);
    EXPECT_EQ(layout.alive(3, 12), "7/alive/0000000003/0000000012.json");
    for (const char *key :
         {"7/alive/", "7/alive/3/0000000012.json", "7/alive/0000000003/12.json", "7/alive/0000000003/0000000012",
          "7/alive/0000000003/0000000012.json.tmp", "7/epochs/0000000003.json", "7/alive/000000000x/0000000012.json",
          "7/alive/0000000003//0000000012.json", ""})
        EXPECT_FALSE(parse_renewal_key(layout, key)) << key;
}

TEST_F(WriterLeaseTest, ARoundRenewsAndAsks) {
    put_epoch(1);
    WriterLease lease(repository_, owner(1));
    EXPECT_EQ(lease_holds_until(lease.times(), kTerm), 0);
    const int64_t before = boot_time_ms();
    lease.round(cancel_);
    EXPECT_EQ(newest(1), 1U);
    EXPECT_GE(lease.times().renewed_ms, before);
    EXPECT_GE(lease.times().listed_ms, lease.times().renewed_ms);
    lease.round(cancel_);
    EXPECT_EQ(newest(1), 1U) << "not due yet";
    // A restart goes on with the numbers.
    WriterLease next(repository_, owner(1));
    next.round(cancel_);
    EXPECT_EQ(newest(1), 2U);
}

TEST_F(WriterLeaseTest, AHigherEpochEndsIt) {
    put_epoch(1);
    WriterLease lease(repository_, owner(1));
    lease.round(cancel_);
    const LeaseTimes times = lease.times();
    put_epoch(2);
    EXPECT_EQ(failure_of(lease), ErrorCode::kNotWriter);
    EXPECT_EQ(lease.times().listed_ms, times.listed_ms) << "the question that was answered badly does not count";
}

TEST_F(WriterLeaseTest, ALostAnswerIsNoSignOfAnother) {
    put_epoch(1);
    // With whichever call of the round something goes wrong, before or after its effect, the next round succeeds.
    for (const FaultMoment moment : {FaultMoment::kBefore, FaultMoment::kAfter})
        for (uint64_t call = 1; call <= 3; ++call) {
            WriterLease lease(repository_, owner(1));
            store_->fail_once(store_->calls() + call, moment);
            const uint64_t number = newest_renewal(Repository(memory_, {}, "m", 7), 1, 0, cancel_).number;
            EXPECT_EQ(failure_of(lease), ErrorCode::kUnavailable) << call;
            EXPECT_EQ(lease.times().listed_ms, 0) << call;
            lease.round(cancel_);
            EXPECT_GT(lease_holds_until(lease.times(), kTerm), boot_time_ms());
            EXPECT_GT(newest(1), number);
        }
}

TEST_F(WriterLeaseTest, TwoProcessesOfOneServerShareTheNumbers) {
    put_epoch(1);
    WriterLease keeper(repository_, owner(1, 0));
    WriterLease archiver(repository_, owner(1, 0));
    for (int i = 0; i < 5; ++i) {
        keeper.round(cancel_);
        archiver.round(cancel_);
    }
    EXPECT_EQ(newest(1), 10U);
}

TEST_F(WriterLeaseTest, AnotherInstanceUnderTheSameNumberIsAnotherWriter) {
    put_epoch(1);
    LeaseOwner other = owner(1, 0);
    other.instance = random_uuid();
    WriterLease mine(repository_, owner(1, 0));
    WriterLease copy(repository_, other);
    mine.round(cancel_);
    copy.round(cancel_);
    EXPECT_EQ(failure_of(mine), ErrorCode::kNotWriter);
}

TEST_F(WriterLeaseTest, AReleaseIsSeenAndEndsTheLease) {
    put_epoch(1);
    WriterLease lease(repository_, owner(1));
    lease.round(cancel_);
    SilenceWatch watch(kTerm);
    EXPECT_EQ(watch.look({look_at_writer(repository_, cancel_)}, 5), SilenceWatch::Verdict::kWaiting);
    lease.release(cancel_);
    EXPECT_EQ(lease_holds_until(lease.times(), kTerm), 0);
    SilenceWatch later(kTerm);
    EXPECT_EQ(later.look({look_at_writer(repository_, cancel_)}, 5), SilenceWatch::Verdict::kSilent);
    lease.round(cancel_); // it is started again
    SilenceWatch last(kTerm);
    EXPECT_EQ(last.look({look_at_writer(repository_, cancel_)}, 5), SilenceWatch::Verdict::kWaiting);
}

TEST_F(WriterLeaseTest, AnObserverCountsATermOfItsOwn) {
    put_epoch(1);
    WriterLease lease(repository_, owner(1, 0));
    lease.round(cancel_);
    SilenceWatch watch(kTerm);
    EXPECT_EQ(watch.look({look_at_writer(repository_, cancel_)}, 1000), SilenceWatch::Verdict::kWaiting);
    EXPECT_EQ(watch.remaining_ms(1000), kTerm);
    EXPECT_EQ(watch.look({look_at_writer(repository_, cancel_)}, 1000 + kTerm - 1), SilenceWatch::Verdict::kWaiting);
    EXPECT_EQ(watch.look({look_at_writer(repository_, cancel_)}, 1000 + kTerm), SilenceWatch::Verdict::kSilent);
    lease.round(cancel_);
    EXPECT_EQ(watch.look({look_at_writer(repository_, cancel_)}, 1000 + kTerm), SilenceWatch::Verdict::kAlive);
    SilenceWatch another(kTerm);
    EXPECT_EQ(another.look({look_at_writer(repository_, cancel_)}, 0), SilenceWatch::Verdict::kWaiting);
    put_epoch(2);
    EXPECT_EQ(another.look({look_at_writer(repository_, cancel_)}, 1), SilenceWatch::Verdict::kAlive);
}

TEST_F(WriterLeaseTest, OfSeveralRepositoriesEveryOneHasToBeSilent) {
    WriterSight released;
    released.epoch = 1;
    released.renewal = 4;
    released.released = true;
    WriterSight not_released = released;
    not_released.released = false;
    WriterSight unused;
    SilenceWatch both(kTerm);
    EXPECT_EQ(both.look({released, not_released}, 0), SilenceWatch::Verdict::kWaiting);
    SilenceWatch one(kTerm);
    EXPECT_EQ(one.look({released, unused}, 0), SilenceWatch::Verdict::kSilent);
    not_released.renewal = 5;
    EXPECT_EQ(both.look({released, not_released}, 1), SilenceWatch::Verdict::kAlive);
}

TEST(WriterLeaseTimes, HoldAThirdFromTheQuestionAndTwoFromTheSign) {
    EXPECT_EQ(lease_holds_until({1000, 900}, kTerm), 31000);
    EXPECT_EQ(lease_holds_until({50000, 900}, kTerm), 60900);
    EXPECT_EQ(lease_holds_until({0, 900}, kTerm), 0);
    EXPECT_EQ(lease_holds_until({1000, 0}, kTerm), 0);
    EXPECT_TRUE(is_renewal_due({1000, 0}, kTerm, 1));
    EXPECT_FALSE(is_renewal_due({1000, 1000}, kTerm, 30999));
    EXPECT_TRUE(is_renewal_due({1000, 1000}, kTerm, 31000));
    EXPECT_EQ(next_lease_round({}, kTerm), 0);
    EXPECT_EQ(next_lease_round({1000, 1000}, kTerm), 11000);
    EXPECT_EQ(next_lease_round({30000, 1000}, kTerm), 31000);
}

TEST(WriterLeaseTimes, AsManyRepositoriesAsAreRequired) {
    const std::vector<LeaseTimes> two = {{1000, 1000}, {2000, 2000}};
    EXPECT_EQ(lease_holds_until(two, 0, kTerm), 31000);
    EXPECT_EQ(lease_holds_until(two, 1, kTerm), 32000);
    EXPECT_EQ(lease_holds_until(two, 3, kTerm), 0);
    EXPECT_EQ(lease_holds_until(std::vector<LeaseTimes>{}, 0, kTerm), 0);
    EXPECT_EQ(lease_holds_until({{1000, 1000}, {}}, 0, kTerm), 0);
}

TEST_F(WriterLeaseTest, ExpiryKeepsTheLastSignsOfLife) {
    const auto put = [&](uint64_t epoch, uint64_t number) {
        WriterRenewal renewal;
        renewal.epoch = epoch;
        renewal.number = number;
        renewal.instance = instance();
        const Bytes body = encode_document(encode(renewal), epoch, random_uuid());
        const std::string key = repository_.layout().alive(epoch, number);
        PutRequest request;
        request.key = key;
        request.body = body;
        ASSERT_EQ(memory_->put_new(request, cancel_), PutOutcome::kStored);
    };
    for (uint64_t number = 1; number <= 10; ++number)
        put(1, number);
    for (uint64_t number = 1; number <= 7; ++number)
        put(2, number);
    EXPECT_TRUE(obsolete_renewals(repository_, 0, cancel_).empty()) << "all are young";
    std::vector<std::string> keys;
    for (const ObjectInfo &object : obsolete_renewals(repository_, INT64_MAX, cancel_))
        keys.push_back(object.key);
    // All of the former epoch, and the first ones of the present one.
    EXPECT_EQ(keys.size(), 13U);
    EXPECT_EQ(keys.back(), repository_.layout().alive(2, 3));
    EXPECT_EQ(newest(2), 7U);
}

// Whatever the delays of requests: while the writer may acknowledge, no observer has found it silent.
RC_GTEST_PROP(WriterLeaseTimes, NoObserverFindsAWriterSilentThatMayAcknowledge, ()) {
    const int64_t term = *rc::gen::inRange<int64_t>(3000, 200000);
    // True time 0 is where both clocks begin; each clock is off by a constant.
    const int64_t writer_offset = *rc::gen::inRange<int64_t>(1, 1000000);
    const int64_t observer_offset = *rc::gen::inRange<int64_t>(1, 1000000);
    const int64_t sent = *rc::gen::inRange<int64_t>(0, 100000);
    const int64_t stored = sent + *rc::gen::inRange<int64_t>(0, 200000);
    const int64_t listed = stored + *rc::gen::inRange<int64_t>(0, 200000);
    const int64_t read_sent = stored + *rc::gen::inRange<int64_t>(0, 200000); // it sees this sign, and no later one
    const int64_t read_done = read_sent + *rc::gen::inRange<int64_t>(0, 200000);
    const LeaseTimes times{listed + writer_offset, sent + writer_offset};
    WriterSight sight;
    sight.epoch = 1;
    sight.renewal = 1;
    SilenceWatch watch(term);
    RC_ASSERT(watch.look({sight}, read_done + observer_offset) == SilenceWatch::Verdict::kWaiting);
    const int64_t later = read_done + *rc::gen::inRange<int64_t>(0, 400000);
    if (watch.look({sight}, later + observer_offset) == SilenceWatch::Verdict::kSilent)
        RC_ASSERT(later + writer_offset >= lease_holds_until(times, term));
}

} // namespace
} // namespace pgvigil
