#include "repo/job_claim_places.h"

#include "base/error.h"
#include "base/time.h"
#include "storage/memory/memory_store.h"

#include <gtest/gtest.h>

namespace pgvigil {
namespace {

constexpr int64_t kSlot = 1700000040;

std::shared_ptr<Repository> new_repository(const std::string &name) {
    RepositoryDocument document;
    document.id = random_uuid();
    return std::make_shared<Repository>(std::make_shared<MemoryStore>(name), document, name, 7);
}

class JobClaimPlacesTest : public ::testing::Test {
  protected:
    [[nodiscard]] ClaimRepositories both() const { return {{r1_, r2_}, 2}; }
    // As a node sees them that cannot reach the first, or the second.
    [[nodiscard]] ClaimRepositories without_first() const { return {{r2_}, 2}; }
    [[nodiscard]] ClaimRepositories without_second() const { return {{r1_}, 2}; }

    bool take(JobClaimPlaces &claims, const ClaimRepositories &seen, int64_t now_ms = 0,
              JobKind kind = JobKind::kFull) {
        return claims.try_claim(seen, kind, kSlot, now_ms, 1, cancel_).held;
    }
    bool renew(JobClaimPlaces &claims, const ClaimRepositories &seen) {
        return claims.renew(seen, JobKind::kFull, kSlot, cancel_);
    }
    bool end(JobClaimPlaces &claims, const ClaimRepositories &seen) {
        JobEntry entry;
        entry.state = JobEntryState::kSucceeded;
        return claims.finish(seen, JobKind::kFull, kSlot, entry, cancel_);
    }
    JobStanding standing(JobClaimPlaces &claims, const ClaimRepositories &seen, int64_t now_ms = 0) {
        return claims.look(seen, JobKind::kFull, kSlot, now_ms, cancel_).standing;
    }
    size_t entries(const std::shared_ptr<Repository> &repository) {
        return repository->store().list({.prefix = "7/jobs/"}, cancel_).objects.size();
    }

    std::shared_ptr<Repository> r1_ = new_repository("r1");
    std::shared_ptr<Repository> r2_ = new_repository("r2");
    CancelToken cancel_;
    const Uuid instance_a_ = random_uuid();
    JobClaimPlaces a_{instance_a_, "a"};
    JobClaimPlaces b_{random_uuid(), "b"};
};

// The first repository is away for a node while its job runs; the other node follows it there after a term. The first
// must not win the slot back with a number that it counted elsewhere.
TEST_F(JobClaimPlacesTest, AClaimIsRenewedWhereItWasMade) {
    ASSERT_TRUE(take(a_, both()));
    EXPECT_THROW((void)renew(a_, without_first()), Error);
    EXPECT_EQ(entries(r2_), 0U);
    EXPECT_EQ(standing(b_, both(), 0), JobStanding::kOther);
    ASSERT_TRUE(take(b_, both(), kJobTermMs));
    EXPECT_FALSE(renew(a_, both())) << "it has lost the slot";
    EXPECT_TRUE(renew(b_, both()));
    EXPECT_FALSE(end(a_, both()));
    EXPECT_TRUE(end(b_, both()));
    EXPECT_EQ(standing(a_, both()), JobStanding::kDone);
}

TEST_F(JobClaimPlacesTest, TheEndIsToldWhereTheClaimLies) {
    ASSERT_TRUE(take(a_, without_first()));
    EXPECT_TRUE(renew(a_, both()));
    EXPECT_EQ(entries(r1_), 0U);
    EXPECT_THROW((void)end(a_, without_second()), Error);
    EXPECT_TRUE(end(a_, both()));
    EXPECT_EQ(entries(r2_), 3U);
}

TEST_F(JobClaimPlacesTest, WhatRanInTheSecondRepositoryIsKnownWhenTheFirstIsBack) {
    ASSERT_TRUE(take(a_, without_first()));
    EXPECT_EQ(standing(b_, both()), JobStanding::kOther);
    EXPECT_FALSE(take(b_, both()));
    EXPECT_FALSE(take(b_, both(), 0, JobKind::kIncremental)) << "one backup at a time";
    ASSERT_TRUE(end(a_, both()));
    EXPECT_EQ(standing(b_, both()), JobStanding::kDone);
    EXPECT_EQ(entries(r1_), 0U);
}

TEST_F(JobClaimPlacesTest, ARestartedOwnerFindsItsClaim) {
    ASSERT_TRUE(take(a_, without_first()));
    JobClaimPlaces again(instance_a_, "a");
    EXPECT_THROW((void)renew(again, without_second()), Error) << "it may be in the one that is away";
    EXPECT_TRUE(renew(again, both()));
    JobClaimPlaces third(instance_a_, "a");
    EXPECT_TRUE(take(third, both())) << "and goes on there";
    EXPECT_EQ(entries(r1_), 0U);
    EXPECT_FALSE(renew(b_, both())) << "nobody else's";
}

// The numbers of one repository's entries say nothing of another's.
TEST_F(JobClaimPlacesTest, EachRepositoryCountsForItself) {
    JobClaims claims(random_uuid(), "c");
    for (const auto &repository : {r1_, r2_}) {
        const JobView view = claims.look(*repository, JobKind::kFull, kSlot, 0, cancel_);
        ASSERT_TRUE(claims.claim(*repository, JobKind::kFull, kSlot, view, 1, cancel_));
        if (repository == r1_) {
            EXPECT_TRUE(claims.renew(*r1_, JobKind::kFull, kSlot, cancel_));
        }
    }
    EXPECT_TRUE(claims.renew(*r1_, JobKind::kFull, kSlot, cancel_));
    EXPECT_EQ(entries(r1_), 3U);
    EXPECT_EQ(entries(r2_), 1U);
    // Nor does the term of one: it begins when the other's entry is seen.
    JobClaims observer(random_uuid(), "d");
    EXPECT_EQ(observer.look(*r2_, JobKind::kFull, kSlot, 0, cancel_).standing, JobStanding::kOther);
    EXPECT_TRUE(claims.renew(*r2_, JobKind::kFull, kSlot, cancel_));
    EXPECT_TRUE(claims.renew(*r2_, JobKind::kFull, kSlot, cancel_));
    EXPECT_EQ(observer.look(*r2_, JobKind::kFull, kSlot, 1, cancel_).standing, JobStanding::kOther);
    EXPECT_EQ(observer.look(*r1_, JobKind::kFull, kSlot, kJobTermMs + 1, cancel_).standing, JobStanding::kOther);
}

} // namespace
} // namespace pgvigil
