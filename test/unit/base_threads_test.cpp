// Waiting, cancelling and threads.

#include "base/background_task.h"
#include "base/backoff.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <gtest/gtest.h>
#include <poll.h>
#include <rapidcheck/gtest.h>
#include <thread>

namespace pgvigil {
namespace {

using namespace std::chrono_literals;

bool readable(int fd, std::chrono::milliseconds time_limit) {
    pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&wait, 1, static_cast<int>(time_limit.count())) == 1;
}

RC_GTEST_PROP(Backoff, StaysBelowItsBound, ()) {
    const auto base = *rc::gen::inRange(1, 1000);
    const auto cap = *rc::gen::inRange(1, 100000);
    Backoff backoff{std::chrono::milliseconds(base), std::chrono::milliseconds(cap)};
    int64_t bound = base;
    for (int i = 0; i < 50; ++i) {
        const int64_t wait = backoff.next().count();
        RC_ASSERT(wait >= 0);
        RC_ASSERT(wait <= std::min<int64_t>(bound, cap));
        bound = std::min<int64_t>(bound * 2, cap);
    }
    RC_ASSERT(backoff.attempts() == 50U);
}

TEST(Backoff, UsesTheWholeRange) {
    Backoff backoff{1000ms, 1000ms};
    int64_t low = 1000;
    int64_t high = 0;
    for (int i = 0; i < 500; ++i) {
        const int64_t wait = backoff.next().count();
        low = std::min(low, wait);
        high = std::max(high, wait);
    }
    EXPECT_LT(low, 100);
    EXPECT_GT(high, 900);
}

TEST(CancelToken, EndsAWaitAtOnce) {
    CancelToken token;
    std::thread other([&] {
        std::this_thread::sleep_for(50ms);
        token.cancel();
    });
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(token.wait_for(60s));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
    other.join();
    EXPECT_FALSE(token.wait_for(60s));
    EXPECT_THROW(token.check(), Error);
}

TEST(CancelToken, WaitsItsTimeOtherwise) {
    const CancelToken token;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(token.wait_for(30ms));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 30ms);
    EXPECT_NO_THROW(token.check());
}

TEST(ThreadPool, RunsEveryTaskAndSeveralAtATime) {
    std::atomic<int> done{0};
    std::promise<void> first_may_end;
    std::promise<void> all_done;
    ThreadPool pool(2);
    pool.submit([&] { first_may_end.get_future().wait(); });
    for (int i = 0; i < 100; ++i)
        pool.submit([&] {
            if (++done == 100)
                all_done.set_value();
        });
    // The second thread gets through all of them while the first one is held.
    EXPECT_EQ(all_done.get_future().wait_for(30s), std::future_status::ready);
    first_may_end.set_value();
    EXPECT_EQ(pool.size(), 2U);
}

TEST(ThreadPool, DropsWhatHasNotStarted) {
    std::promise<void> started;
    std::promise<void> may_end;
    std::atomic<bool> dropped_ran{false};
    std::thread releaser;
    {
        ThreadPool pool(1);
        pool.submit([&] {
            started.set_value();
            may_end.get_future().wait();
        });
        pool.submit([&] { dropped_ran = true; });
        started.get_future().wait();
        // The destructor drops the queue, then waits for the running task.
        releaser = std::thread([&] {
            std::this_thread::sleep_for(100ms);
            may_end.set_value();
        });
    }
    releaser.join();
    EXPECT_FALSE(dropped_ran);
}

TEST(ThreadPool, ItsThreadsTakeNoSignals) {
    std::promise<sigset_t> mask;
    ThreadPool pool(1);
    pool.submit([&] {
        sigset_t set;
        pthread_sigmask(SIG_BLOCK, nullptr, &set);
        mask.set_value(set);
    });
    const sigset_t set = mask.get_future().get();
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM})
        EXPECT_EQ(sigismember(&set, signal), 1) << signal;
    sigset_t own;
    pthread_sigmask(SIG_BLOCK, nullptr, &own);
    EXPECT_EQ(sigismember(&own, SIGTERM), 0) << "the caller's mask must come back";
}

TEST(BackgroundTask, SignalsItsEndAndCarriesTheError) {
    BackgroundTask task([](const CancelToken &) { throw Error(ErrorCode::kBusy, "x"); });
    EXPECT_TRUE(readable(task.event_fd(), 30s));
    EXPECT_TRUE(task.done());
    try {
        task.finish();
        FAIL();
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kBusy);
    }
    EXPECT_NO_THROW(task.finish()) << "an error is handed over once";
}

TEST(BackgroundTask, CancelReachesTheBody) {
    BackgroundTask task([](const CancelToken &cancel) {
        if (!cancel.wait_for(60s))
            cancel.check();
    });
    EXPECT_FALSE(readable(task.event_fd(), 20ms));
    task.cancel();
    EXPECT_TRUE(readable(task.event_fd(), 30s));
    EXPECT_THROW(task.finish(), Error);
}

TEST(BackgroundTask, TheDestructorCancelsAndWaits) {
    std::atomic<bool> ended{false};
    {
        const BackgroundTask task([&](const CancelToken &cancel) {
            (void)cancel.wait_for(60s);
            ended = true;
        });
    }
    EXPECT_TRUE(ended);
}

TEST(EventFd, IsReadableFromSignalToClear) {
    EventFd event;
    EXPECT_FALSE(readable(event.fd(), 0ms));
    event.signal();
    event.signal();
    EXPECT_TRUE(readable(event.fd(), 0ms));
    event.clear();
    EXPECT_FALSE(readable(event.fd(), 0ms));
}

} // namespace
} // namespace pgvigil
