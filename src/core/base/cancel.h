// Cooperative cancellation. The core polls a token between steps of at most some hundred milliseconds; waits go through
// wait_for(), which a cancel ends at once.
// Threading: every member may be called from any thread; cancel() is not async-signal-safe (it takes a mutex).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace pgvigil {

class CancelToken {
  public:
    // Not defaulted: clang refuses a constant object ("never cancelled") of a type without a constructor of its own.
    CancelToken() noexcept {}
    void cancel() noexcept;
    [[nodiscard]] bool is_cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }
    // Throws kCancelled once cancel() was called.
    void check() const;
    // Sleeps for `duration`; returns true when that time passed and false as soon as the token is cancelled.
    [[nodiscard]] bool wait_for(std::chrono::milliseconds duration) const;

  private:
    std::atomic<bool> cancelled_{false};
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
};

} // namespace pgvigil
