#include "base/time.h"
#include "storage/faulty_store.h"
#include "storage/memory/memory_store.h"
#include "storage/retrying_store.h"
#include "storage/throttled_store.h"
#include "storage_test_support.h"

#include <thread>

namespace pgvigil {
namespace {

using std::chrono::milliseconds;
using test::error_of;
using test::get;
using test::put;

constexpr RetryPolicy kQuick{milliseconds(1), milliseconds(5), milliseconds(5000)};

// A retrying store over a faulty one over memory.
struct Stack {
    explicit Stack(RetryPolicy policy = kQuick)
        : memory(std::make_shared<MemoryStore>()), owned(std::make_unique<FaultyStore>(memory)), faulty(*owned),
          store(std::move(owned), policy, log) {}

    test::RememberingLog log;
    std::shared_ptr<MemoryStore> memory;
    std::unique_ptr<FaultyStore> owned;
    FaultyStore &faulty;
    RetryingStore store;
    const CancelToken never;
};

TEST(RetryingStore, RepeatsEveryOperation) {
    Stack stack;
    for (const FaultMoment moment : {FaultMoment::kBefore, FaultMoment::kAfter}) {
        const std::string key = moment == FaultMoment::kBefore ? "before" : "after";
        const auto fail_next = [&] { stack.faulty.fail_once(stack.faulty.calls() + 1, moment); };
        fail_next();
        EXPECT_EQ(put(stack.store, key, "body"), PutOutcome::kStored);
        fail_next();
        EXPECT_EQ(get(stack.store, key), "body");
        fail_next();
        EXPECT_EQ(stack.store.get_range(key, {1, 2}, stack.never), to_bytes("od"));
        fail_next();
        EXPECT_EQ(stack.store.head(key, stack.never)->size, 4U);
        fail_next();
        EXPECT_EQ(stack.store.list({.prefix = key}, stack.never).objects.size(), 1U);
        fail_next();
        EXPECT_GT(stack.store.clock_ms(stack.never), 0);
        fail_next();
        EXPECT_TRUE(stack.store.remove({key}, stack.never).empty());
        EXPECT_EQ(get(*stack.memory, key), std::nullopt);
    }
    EXPECT_FALSE(stack.log.others().empty());
}

TEST(RetryingStore, ALostAnswerIsRecognizedByTheStoredBytes) {
    Stack stack;
    stack.faulty.fail_once(1, FaultMoment::kAfter);
    const std::string large(9 * kMiB + 1, 'x');
    EXPECT_EQ(put(stack.store, "mine", large), PutOutcome::kStored);
    EXPECT_EQ(get(*stack.memory, "mine")->size(), large.size());
}

TEST(RetryingStore, AnotherWritersObjectIsNotMistakenForOurs) {
    for (const char *theirs : {"their", "other", ""}) {
        Stack stack;
        ASSERT_EQ(put(*stack.memory, "key", theirs), PutOutcome::kStored);
        stack.faulty.fail_once(1, FaultMoment::kBefore);
        EXPECT_EQ(put(stack.store, "key", "mine!"), PutOutcome::kAlreadyExists);
        EXPECT_EQ(get(*stack.memory, "key"), theirs);
    }
}

TEST(RetryingStore, TheSameBytesOfAnotherWriterExistAtTheFirstTry) {
    Stack stack;
    ASSERT_EQ(put(*stack.memory, "key", "same"), PutOutcome::kStored);
    EXPECT_EQ(put(stack.store, "key", "same"), PutOutcome::kAlreadyExists);
}

TEST(RetryingStore, FaultsWhileComparingAreRetriedToo) {
    // put (lost), put (exists), head (fails), put (exists), head, get_range.
    Stack stack;
    stack.faulty.set_plan([&](const FaultyStore::Call &call) -> std::optional<FaultyStore::Fault> {
        if (call.number == 1)
            return FaultyStore::Fault{FaultMoment::kAfter, stack.faulty.unavailable(call.operation)};
        if (call.number == 3)
            return FaultyStore::Fault{FaultMoment::kBefore, stack.faulty.unavailable(call.operation)};
        return std::nullopt;
    });
    EXPECT_EQ(put(stack.store, "key", "mine"), PutOutcome::kStored);
}

TEST(RetryingStore, WhatDoesNotPassIsThrownAtOnce) {
    Stack stack;
    stack.faulty.set_plan([](const FaultyStore::Call &) {
        return FaultyStore::Fault{FaultMoment::kBefore, Error(ErrorCode::kAccessDenied, "no")};
    });
    EXPECT_EQ(error_of([&] { return get(stack.store, "key"); }).code(), ErrorCode::kAccessDenied);
    EXPECT_EQ(stack.faulty.calls(), 1U);
}

TEST(RetryingStore, GivesUpAtItsDeadline) {
    Stack stack({milliseconds(1), milliseconds(10), milliseconds(150)});
    stack.faulty.fail_from(1, FaultMoment::kBefore);
    const int64_t start = boot_time_ms();
    const Error error = error_of([&] { return get(stack.store, "key"); });
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_NE(error.detail().find("Gave up after"), std::string::npos) << error.detail();
    EXPECT_GT(stack.faulty.calls(), 3U);
    EXPECT_LT(boot_time_ms() - start, 10000);
}

TEST(RetryingStore, NoDeadlineMeansASingleTry) {
    Stack stack({milliseconds(1), milliseconds(10), milliseconds(0)});
    stack.faulty.fail_from(1, FaultMoment::kBefore);
    EXPECT_EQ(error_of([&] { return get(stack.store, "key"); }).detail(), "");
    EXPECT_EQ(stack.faulty.calls(), 1U);
}

TEST(RetryingStore, ACancelEndsTheWait) {
    Stack stack({milliseconds(60000), milliseconds(60000), milliseconds(600000)});
    stack.faulty.fail_from(1, FaultMoment::kBefore);
    CancelToken cancel;
    std::thread canceller([&] {
        std::this_thread::sleep_for(milliseconds(50));
        cancel.cancel();
    });
    const int64_t start = boot_time_ms();
    EXPECT_EQ(error_of([&] { return stack.store.head("key", cancel); }).code(), ErrorCode::kCancelled);
    EXPECT_LT(boot_time_ms() - start, 10000);
    canceller.join();
}

// Fails each key of a remove once, for a passing reason.
class BusyStore : public MemoryStore {
  public:
    std::vector<DeleteFailure> remove(const std::vector<std::string> &keys, const CancelToken &cancel) override {
        batches.push_back(keys.size());
        if (batches.size() == 1)
            return {{"b", false, true, "busy"}, {"c", true, false, "denied"}};
        return MemoryStore::remove(keys, cancel);
    }
    std::vector<size_t> batches;
};

TEST(RetryingStore, OnlyPassingFailuresOfABatchAreTriedAgain) {
    auto owned = std::make_unique<BusyStore>();
    BusyStore &busy = *owned;
    RetryingStore store(std::move(owned), kQuick, null_log());
    const CancelToken never;
    const auto failures = store.remove({"a", "b", "c"}, never);
    ASSERT_EQ(failures.size(), 1U);
    EXPECT_EQ(failures[0].key, "c");
    EXPECT_EQ(busy.batches, (std::vector<size_t>{3, 1}));
}

TEST(FaultyStore, AfterItsEffectTheObjectIsThere) {
    auto memory = std::make_shared<MemoryStore>();
    FaultyStore store(memory);
    store.fail_from(2, FaultMoment::kAfter);
    EXPECT_EQ(put(store, "one", "x"), PutOutcome::kStored);
    EXPECT_EQ(error_of([&] { return put(store, "two", "x"); }).code(), ErrorCode::kUnavailable);
    EXPECT_EQ(get(*memory, "two"), "x");
    store.fail_from(1, FaultMoment::kBefore);
    EXPECT_TRUE(error_of([&] { return put(store, "three", "x"); }).is_retryable());
    EXPECT_EQ(get(*memory, "three"), std::nullopt);
    EXPECT_EQ(store.calls(), 3U);
}

TEST(ThrottledStore, KeepsTheRateInBothDirections) {
    // 4 MB/s: 100 kB take 25 ms each, whoever moves them.
    auto limiter = std::make_shared<RateLimiter>(4000000);
    ThrottledStore store(std::make_unique<MemoryStore>(), limiter);
    const std::string body(100000, 'x');
    const int64_t start = boot_time_ms();
    for (int i = 0; i < 10; ++i)
        ASSERT_EQ(put(store, std::to_string(i), body), PutOutcome::kStored);
    for (int i = 0; i < 10; ++i)
        ASSERT_EQ(get(store, std::to_string(i)), body);
    const int64_t elapsed = boot_time_ms() - start;
    EXPECT_GE(elapsed, 400);
    EXPECT_LE(elapsed, 3000);
}

TEST(ThrottledStore, OneTransferMayBeLargerThanTheRate) {
    auto limiter = std::make_shared<RateLimiter>(1000);
    ThrottledStore store(std::make_unique<MemoryStore>(), limiter);
    EXPECT_EQ(put(store, "first", std::string(3000, 'x')), PutOutcome::kStored);
    CancelToken cancel;
    std::thread canceller([&] {
        std::this_thread::sleep_for(milliseconds(50));
        cancel.cancel();
    });
    EXPECT_EQ(error_of([&] {
                  return store.put_new({.key = "second", .body = as_view("x")}, cancel) == PutOutcome::kStored;
              }).code(),
              ErrorCode::kCancelled);
    canceller.join();
    limiter->set_rate(0);
    EXPECT_EQ(put(store, "third", std::string(3000000, 'x')), PutOutcome::kStored);
}

} // namespace
} // namespace pgvigil
