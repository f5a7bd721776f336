// Keeps what several threads do together below a rate (max_rate).
// Threading: take() may be called from any thread.
#pragma once

#include "base/cancel.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace pgvigil {

class BackupThrottle {
  public:
    // Bytes a second; 0 = no limit.
    explicit BackupThrottle(uint64_t rate) noexcept : rate_(rate) {}

    // Waits until `bytes` more are due; ends at once when `cancel` fires.
    void take(uint64_t bytes, const CancelToken &cancel) {
        if (rate_ == 0)
            return;
        using Clock = std::chrono::steady_clock;
        const Clock::time_point now = Clock::now();
        Clock::time_point due;
        {
            const std::lock_guard lock(mutex_);
            // What was not used is lost, but for a burst of a tenth of a second.
            next_ = std::max(next_, now - kBurst);
            due = next_;
            next_ += std::chrono::nanoseconds(
                static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate_)));
        }
        if (due > now)
            static_cast<void>(cancel.wait_for(std::chrono::ceil<std::chrono::milliseconds>(due - now)));
    }

  private:
    static constexpr std::chrono::milliseconds kBurst{100};
    const uint64_t rate_;
    std::mutex mutex_;
    std::chrono::steady_clock::time_point next_{};
};

} // namespace pgvigil
