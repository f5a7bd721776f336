#include "repo/epochs.h"

#include "base/error.h"
#include "base/wal_name.h"
#include "repo/envelope.h"
#include "storage/faulty_store.h"
#include "storage/memory/memory_store.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

class Epochs : public ::testing::Test {
  protected:
    void SetUp() override {
        faulty_ = std::make_shared<FaultyStore>(memory_);
        repository_ =
            std::make_unique<Repository>(faulty_, create_repository_document(*memory_, cancel_), "memory:", 42);
    }
    static EpochDocument make(uint64_t number, const Uuid &instance) {
        EpochDocument epoch;
        epoch.number = number;
        epoch.instance = instance;
        epoch.host = "host";
        epoch.timeline = 1;
        epoch.lsn = Lsn{0x1000000};
        epoch.reason = "first";
        return epoch;
    }

    CancelToken cancel_;
    std::shared_ptr<MemoryStore> memory_ = std::make_shared<MemoryStore>();
    std::shared_ptr<FaultyStore> faulty_;
    std::unique_ptr<Repository> repository_;
    const Uuid a_ = random_uuid();
    const Uuid b_ = random_uuid();
};

TEST_F(Epochs, NobodyThenOne) {
    EXPECT_FALSE(highest_epoch(*repository_, cancel_));
    EXPECT_TRUE(list_epochs(*repository_, 0, cancel_).empty());
    EXPECT_FALSE(claim_epoch(*repository_, make(1, a_), cancel_));
    EXPECT_EQ(highest_epoch(*repository_, cancel_)->instance, a_);
    EXPECT_FALSE(claim_epoch(*repository_, make(1, a_), cancel_)) << "claiming again is no conflict";
    EXPECT_EQ(list_epochs(*repository_, 0, cancel_).size(), 1U);
    EXPECT_TRUE(list_epochs(*repository_, 1, cancel_).empty());
}

TEST_F(Epochs, OneOfTwoWins) {
    EXPECT_FALSE(claim_epoch(*repository_, make(1, a_), cancel_));
    const auto other = claim_epoch(*repository_, make(1, b_), cancel_);
    ASSERT_TRUE(other);
    EXPECT_EQ(other->instance, a_);
    EXPECT_FALSE(claim_epoch(*repository_, make(2, b_), cancel_));
    EXPECT_EQ(claim_epoch(*repository_, make(1, a_), cancel_)->instance, b_) << "a lower number than the highest";
}

TEST_F(Epochs, NumbersHaveNoHoles) {
    EXPECT_FALSE(claim_epoch(*repository_, make(1, a_), cancel_));
    EXPECT_FALSE(claim_epoch(*repository_, make(5, b_), cancel_));
    const auto epochs = list_epochs(*repository_, 0, cancel_);
    ASSERT_EQ(epochs.size(), 5U);
    for (uint64_t i = 0; i < 5; ++i) {
        EXPECT_EQ(epochs[i].number, i + 1);
        EXPECT_EQ(epochs[i].instance, i == 0 ? a_ : b_);
    }
}

TEST_F(Epochs, ForeignNamesAreIgnoredAndDamageIsNamed) {
    const auto put = [&](const std::string &key, const Bytes &body) {
        PutRequest request;
        request.key = key;
        request.body = body;
        ASSERT_EQ(memory_->put_new(request, cancel_), PutOutcome::kStored);
    };
    put(repository_->layout().epochs_prefix() + "readme.txt", to_bytes("x"));
    put(repository_->layout().epochs_prefix() + "7.json", to_bytes("x"));
    EXPECT_FALSE(highest_epoch(*repository_, cancel_));
    put(repository_->layout().epoch(1), encode_document(encode(make(2, a_)), 2, random_uuid()));
    try {
        (void)highest_epoch(*repository_, cancel_);
        FAIL();
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
        EXPECT_NE(error.message().find(repository_->layout().epoch(1)), std::string::npos);
    }
}

// A claim cut off at any operation, before or after its effect, is completed by the next one of the same instance.
TEST_F(Epochs, AClaimCutOffAnywhereCanBeRepeated) {
    for (const FaultMoment moment : {FaultMoment::kBefore, FaultMoment::kAfter}) {
        for (uint64_t at = 1; at < 12; ++at) {
            SetUp();
            const Uuid instance = random_uuid();
            const uint64_t number =
                (highest_epoch(*repository_, cancel_) ? highest_epoch(*repository_, cancel_)->number : 0) + 3;
            faulty_->fail_from(faulty_->calls() + at, moment);
            try {
                EXPECT_FALSE(claim_epoch(*repository_, make(number, instance), cancel_));
            } catch (const Error &error) {
                EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
            }
            faulty_->set_plan({});
            EXPECT_FALSE(claim_epoch(*repository_, make(number, instance), cancel_));
            EXPECT_EQ(highest_epoch(*repository_, cancel_)->instance, instance);
            EXPECT_EQ(highest_epoch(*repository_, cancel_)->number, number);
        }
    }
}

TEST(EpochOfSegments, HigherEpochsHideOlderFromTheirStartOn) {
    const uint64_t size = 16 * kMiB;
    const auto epoch = [](uint64_t number, TimelineId timeline, uint64_t lsn) {
        EpochDocument document;
        document.number = number;
        document.timeline = timeline;
        document.lsn = Lsn{lsn};
        return document;
    };
    const std::vector<EpochDocument> epochs = {epoch(1, 1, size), epoch(2, 1, 10 * size + 5), epoch(3, 2, 12 * size)};
    EXPECT_EQ(lowest_accepted_epoch(epochs, 1, 0, size), 0U);
    EXPECT_EQ(lowest_accepted_epoch(epochs, 1, 9, size), 1U);
    EXPECT_EQ(lowest_accepted_epoch(epochs, 1, 10, size), 2U);
    EXPECT_EQ(lowest_accepted_epoch(epochs, 1, 100, size), 2U);
    EXPECT_EQ(lowest_accepted_epoch(epochs, 2, 11, size), 0U);
    EXPECT_EQ(lowest_accepted_epoch(epochs, 2, 12, size), 3U);
    EXPECT_EQ(lowest_accepted_epoch({}, 2, 12, size), 0U);
}

} // namespace
} // namespace pgvigil
