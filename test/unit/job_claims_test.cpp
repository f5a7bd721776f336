#include "repo/job_claims.h"

#include "base/error.h"
#include "base/time.h"
#include "storage/faulty_store.h"
#include "storage/memory/memory_store.h"

#include <gtest/gtest.h>
#include <thread>

namespace pgvigil {
namespace {

constexpr int64_t kSlot = 1795312800; // 2026-11-22 02:00 UTC
constexpr int64_t kWeek = int64_t{7} * 86400;

// A store whose clock the test sets.
class ClockedStore : public MemoryStore {
  public:
    int64_t clock_ms(const CancelToken & /*cancel*/) override { return now_ms; }
    int64_t now_ms = (kSlot + 2000 * int64_t{86400}) * 1000;
};

class JobClaimsTest : public ::testing::Test {
  protected:
    JobStanding standing(JobClaims &claims, int64_t slot, int64_t now_ms, JobKind kind = JobKind::kFull) {
        return claims.look(repository_, kind, slot, now_ms, cancel_).standing;
    }
    bool take(JobClaims &claims, int64_t slot, int64_t now_ms, JobKind kind = JobKind::kFull) {
        const JobView view = claims.look(repository_, kind, slot, now_ms, cancel_);
        return (view.standing == JobStanding::kFree || view.standing == JobStanding::kOwn) &&
               claims.claim(repository_, kind, slot, view, 1, cancel_);
    }
    bool end(JobClaims &claims, int64_t slot, JobEntryState state) {
        JobEntry entry;
        entry.state = state;
        entry.ended_ms = 2;
        entry.backup_id = "20261122T020000F";
        entry.message = "word";
        return claims.finish(repository_, JobKind::kFull, slot, entry, cancel_);
    }

    std::shared_ptr<ClockedStore> store_ = std::make_shared<ClockedStore>();
    Repository repository_{store_, {}, "memory:", 7};
    CancelToken cancel_;
    const Uuid instance_a_ = random_uuid();
    JobClaims a_{instance_a_, "a"};
    JobClaims b_{random_uuid(), "b"};
};

TEST_F(JobClaimsTest, OneRunsAndTheOtherSeesTheEnd) {
    EXPECT_TRUE(take(a_, kSlot, 0));
    EXPECT_EQ(standing(b_, kSlot, 0), JobStanding::kOther);
    EXPECT_EQ(standing(b_, kSlot, 0, JobKind::kIncremental), JobStanding::kFree);
    EXPECT_TRUE(a_.renew(repository_, JobKind::kFull, kSlot, cancel_));
    EXPECT_TRUE(end(a_, kSlot, JobEntryState::kSucceeded));
    const JobView view = b_.look(repository_, JobKind::kFull, kSlot, 1, cancel_);
    EXPECT_EQ(view.standing, JobStanding::kDone);
    EXPECT_EQ(view.entry.host, "a");
    EXPECT_EQ(view.entry.backup_id, "20261122T020000F");
    EXPECT_EQ(view.entry.message, "word");
    // An earlier slot that nobody ran is past; the next one is free.
    EXPECT_EQ(standing(b_, kSlot - kWeek, 1), JobStanding::kDone);
    EXPECT_EQ(standing(b_, kSlot + kWeek, 1), JobStanding::kFree);
    EXPECT_FALSE(end(a_, kSlot, JobEntryState::kSucceeded)) << "it was ended already";
}

TEST_F(JobClaimsTest, AnEarlierSlotThatStillRunsKeepsTheNextOneFromStarting) {
    EXPECT_TRUE(take(a_, kSlot, 0));
    EXPECT_EQ(standing(b_, kSlot + 3600, 0), JobStanding::kOther);
    EXPECT_EQ(standing(b_, kSlot + 3600, kJobTermMs), JobStanding::kFree);
    EXPECT_TRUE(a_.renew(repository_, JobKind::kFull, kSlot, cancel_));
    EXPECT_EQ(standing(b_, kSlot + 3600, kJobTermMs), JobStanding::kOther);
    EXPECT_EQ(standing(b_, kSlot + 9 * 86400, kJobTermMs), JobStanding::kFree);
}

TEST_F(JobClaimsTest, AFailureGivesTheSlotBackAndACancelEndsIt) {
    EXPECT_TRUE(take(a_, kSlot, 0));
    EXPECT_TRUE(end(a_, kSlot, JobEntryState::kFailed));
    EXPECT_TRUE(take(b_, kSlot, 0));
    EXPECT_EQ(standing(a_, kSlot, 0), JobStanding::kOther);
    EXPECT_TRUE(end(b_, kSlot, JobEntryState::kGivenUp));
    EXPECT_EQ(standing(a_, kSlot, 0), JobStanding::kDone);
}

// The term is counted from when the observer saw the newest entry, on its own clock.
TEST_F(JobClaimsTest, ADeadOwnerIsFollowedAfterAWholeTerm) {
    EXPECT_TRUE(take(a_, kSlot, 123456789));
    EXPECT_EQ(standing(b_, kSlot, 5000), JobStanding::kOther);
    EXPECT_EQ(standing(b_, kSlot, 5000 + kJobTermMs - 1), JobStanding::kOther);
    EXPECT_TRUE(a_.renew(repository_, JobKind::kFull, kSlot, cancel_));
    EXPECT_EQ(standing(b_, kSlot, 5000 + kJobTermMs), JobStanding::kOther);
    EXPECT_EQ(standing(b_, kSlot, 5000 + 2 * kJobTermMs - 1), JobStanding::kOther);
    EXPECT_TRUE(take(b_, kSlot, 5000 + 2 * kJobTermMs));
    // The owner was only paused: it learns that it has lost the slot, and cannot end it.
    EXPECT_FALSE(a_.renew(repository_, JobKind::kFull, kSlot, cancel_));
    EXPECT_FALSE(end(a_, kSlot, JobEntryState::kSucceeded));
    EXPECT_EQ(standing(a_, kSlot, 0), JobStanding::kOther);
    EXPECT_TRUE(end(b_, kSlot, JobEntryState::kSucceeded));
}

TEST_F(JobClaimsTest, ARestartedOwnerGoesOnAtOnce) {
    EXPECT_TRUE(take(a_, kSlot, 0));
    JobClaims again(instance_a_, "a");
    EXPECT_EQ(standing(again, kSlot, 0), JobStanding::kOwn);
    EXPECT_TRUE(take(again, kSlot, 0));
    // Or, where the job has outlived the process that watched it, just says how it ended.
    JobClaims third(instance_a_, "a");
    EXPECT_TRUE(third.renew(repository_, JobKind::kFull, kSlot, cancel_));
    EXPECT_TRUE(end(third, kSlot, JobEntryState::kSucceeded));
    EXPECT_EQ(standing(b_, kSlot, 0), JobStanding::kDone);
}

TEST_F(JobClaimsTest, OfTwoRacingClaimantsOneWins) {
    for (int64_t round = 0; round < 200; ++round) {
        std::atomic<int> winners{0};
        const auto run = [&](JobClaims &claims) {
            if (take(claims, kSlot + round * 60, 0)) {
                ++winners;
                EXPECT_TRUE(end(claims, kSlot + round * 60, JobEntryState::kSucceeded));
            }
        };
        std::thread first([&] { run(a_); });
        std::thread second([&] { run(b_); });
        first.join();
        second.join();
        ASSERT_EQ(winners, 1) << round;
    }
}

// One claimant is cut off at each of its store operations, before or after its effect; then the other comes, and the
// slot is still run, once.
TEST_F(JobClaimsTest, ACrashAtEveryStepLeavesTheSlotToOneOfThem) {
    for (const FaultMoment moment : {FaultMoment::kBefore, FaultMoment::kAfter})
        for (uint64_t step = 1; step <= 6; ++step) {
            const int64_t slot = kSlot + static_cast<int64_t>(step) * 86400 * 30 +
                                 (moment == FaultMoment::kAfter ? 400 * int64_t{86400} : 0);
            auto faulty = std::make_shared<FaultyStore>(store_);
            const Repository through(faulty, {}, "memory:", 7);
            faulty->fail_from(step, moment);
            int finished = 0;
            try {
                const JobView view = a_.look(through, JobKind::kFull, slot, 0, cancel_);
                ASSERT_EQ(view.standing, JobStanding::kFree);
                ASSERT_TRUE(a_.claim(through, JobKind::kFull, slot, view, 1, cancel_));
                ASSERT_TRUE(a_.renew(through, JobKind::kFull, slot, cancel_));
                JobEntry done;
                done.state = JobEntryState::kSucceeded;
                finished += a_.finish(through, JobKind::kFull, slot, done, cancel_) ? 1 : 0;
            } catch (const Error &error) {
                EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
            }
            const JobStanding now = standing(b_, slot, 0);
            if (now != JobStanding::kDone) {
                if (now == JobStanding::kOther) {
                    EXPECT_EQ(standing(b_, slot, kJobTermMs - 1), JobStanding::kOther);
                }
                ASSERT_TRUE(take(b_, slot, kJobTermMs));
                finished += end(b_, slot, JobEntryState::kSucceeded) ? 1 : 0;
                EXPECT_EQ(finished, 1);
            }
            EXPECT_EQ(standing(a_, slot, 0), JobStanding::kDone);
        }
}

TEST_F(JobClaimsTest, ExpiryKeepsTheNewestSlotOfEachKind) {
    EXPECT_TRUE(take(a_, kSlot, 0));
    EXPECT_TRUE(a_.renew(repository_, JobKind::kFull, kSlot, cancel_));
    EXPECT_TRUE(end(a_, kSlot, JobEntryState::kSucceeded));
    EXPECT_TRUE(take(a_, kSlot + 60, 0));
    EXPECT_TRUE(take(a_, kSlot, 0, JobKind::kExpire));
    const int64_t now = unix_time_ms();
    EXPECT_TRUE(obsolete_job_entries(repository_, now - 3600000, store_->now_ms, cancel_).empty());
    std::vector<std::string> keys;
    for (const ObjectInfo &object : obsolete_job_entries(repository_, now + 3600000, store_->now_ms, cancel_))
        keys.push_back(object.key);
    EXPECT_EQ(keys, (std::vector<std::string>{"7/jobs/full/20261122T020000~000001.json",
                                              "7/jobs/full/20261122T020000~000002.json",
                                              "7/jobs/full/20261122T020000~000003.json"}));
}

// A node whose clock was in 2030 has left a slot there: neither it nor a node with the right clock minds it.
TEST_F(JobClaimsTest, ASlotAheadOfTheStoresClockSilencesNobody) {
    const int64_t wrong = kSlot + 4 * 365 * int64_t{86400};
    store_->now_ms = wrong * 1000;
    EXPECT_TRUE(take(a_, wrong, 0));
    EXPECT_TRUE(end(a_, wrong, JobEntryState::kSucceeded));
    EXPECT_EQ(standing(b_, kSlot, 0), JobStanding::kDone) << "as long as the store says it is 2030";

    store_->now_ms = kSlot * 1000;
    EXPECT_EQ(standing(b_, kSlot, 0), JobStanding::kFree);
    EXPECT_TRUE(take(b_, kSlot, 0));
    EXPECT_TRUE(end(b_, kSlot, JobEntryState::kSucceeded));
    // Its entry goes with the next expiry, and the slot that was really run stays.
    std::vector<std::string> keys;
    for (const ObjectInfo &object : obsolete_job_entries(repository_, unix_time_ms() + 1, store_->now_ms, cancel_))
        keys.push_back(object.key);
    EXPECT_EQ(keys, (std::vector<std::string>{"7/jobs/full/20301121T020000~000001.json",
                                              "7/jobs/full/20301121T020000~000002.json"}));
}

TEST_F(JobClaimsTest, ASlotAheadOfTheStoresClockIsNotClaimed) {
    store_->now_ms = kSlot * 1000 - kJobClockLimitMs;
    EXPECT_EQ(standing(a_, kSlot, 0), JobStanding::kFree);
    store_->now_ms -= 1000;
    EXPECT_EQ(standing(a_, kSlot, 0), JobStanding::kAhead);
    EXPECT_EQ(a_.look(repository_, JobKind::kFull, kSlot, 0, cancel_).store_ms, store_->now_ms);
    EXPECT_FALSE(end(a_, kSlot, JobEntryState::kFailed));
    EXPECT_TRUE(store_->list({.prefix = "7/jobs/"}, cancel_).objects.empty());
}

TEST_F(JobClaimsTest, ALaterSlotsEntryIsToldFromTheSlotsOwn) {
    EXPECT_TRUE(take(a_, kSlot + 60, 0));
    EXPECT_TRUE(end(a_, kSlot + 60, JobEntryState::kSucceeded));
    EXPECT_TRUE(b_.look(repository_, JobKind::kFull, kSlot + 60, 0, cancel_).same_slot);
    EXPECT_FALSE(b_.look(repository_, JobKind::kFull, kSlot, 0, cancel_).same_slot);
}

} // namespace
} // namespace pgvigil
