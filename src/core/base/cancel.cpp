#include "base/cancel.h"

#include "base/error.h"

namespace pgvigil {

void CancelToken::cancel() noexcept {
    {
        const std::lock_guard lock(mutex_);
        cancelled_.store(true, std::memory_order_release);
    }
    changed_.notify_all();
}

void CancelToken::check() const {
    if (is_cancelled())
        throw Error(ErrorCode::kCancelled, "canceled on request");
}

bool CancelToken::wait_for(std::chrono::milliseconds duration) const {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, duration, [this] { return is_cancelled(); });
}

} // namespace pgvigil
