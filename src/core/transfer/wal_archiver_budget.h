// A bound on memory shared by threads (rules B5), and buffers that are used again.
// Threading: every member may be called from any thread.
#pragma once

#include "base/bytes.h"
#include "base/error.h"

#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

namespace pgvigil {

class MemoryBudget {
  public:
    explicit MemoryBudget(uint64_t limit) noexcept : limit_(limit) {}

    // Waits until `bytes` fit, or nothing else is held: one holder always gets on, however small the limit. Throws
    // kCancelled once stop() was called.
    void acquire(uint64_t bytes) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopped_ || held_ == 0 || held_ + bytes <= limit_; });
        if (stopped_)
            throw Error(ErrorCode::kCancelled, "cancelled");
        held_ += bytes;
    }
    void release(uint64_t bytes) noexcept {
        if (bytes == 0)
            return;
        {
            const std::lock_guard lock(mutex_);
            held_ -= bytes;
        }
        changed_.notify_all();
    }
    void stop() noexcept {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        changed_.notify_all();
    }
    [[nodiscard]] uint64_t held() const {
        const std::lock_guard lock(mutex_);
        return held_;
    }

  private:
    const uint64_t limit_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    uint64_t held_ = 0;
    bool stopped_ = false;
};

// A share of a budget that is given back at the end of its life at the latest.
class BudgetShare {
  public:
    BudgetShare() noexcept = default;
    BudgetShare(MemoryBudget &budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) { budget.acquire(bytes); }
    BudgetShare(BudgetShare &&other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    BudgetShare &operator=(BudgetShare &&other) noexcept {
        std::swap(budget_, other.budget_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~BudgetShare() {
        if (budget_ != nullptr)
            budget_->release(bytes_);
    }

    // A share of `bytes`, taken off this one.
    [[nodiscard]] BudgetShare split(uint64_t bytes) noexcept {
        BudgetShare part;
        part.budget_ = budget_;
        part.bytes_ = bytes;
        bytes_ -= bytes;
        return part;
    }
    void shrink_to(uint64_t bytes) noexcept {
        if (budget_ == nullptr || bytes >= bytes_)
            return;
        budget_->release(bytes_ - bytes);
        bytes_ = bytes;
    }

  private:
    MemoryBudget *budget_ = nullptr;
    uint64_t bytes_ = 0;
};

// Buffers whose pages the kernel has already given: a fresh 16 MiB costs 4096 page faults.
class BufferPool {
  public:
    explicit BufferPool(size_t keep) noexcept : keep_(keep) {}

    [[nodiscard]] Bytes take() {
        const std::lock_guard lock(mutex_);
        if (free_.empty())
            return {};
        Bytes buffer = std::move(free_.back());
        free_.pop_back();
        return buffer;
    }
    void give(Bytes buffer) {
        const std::lock_guard lock(mutex_);
        if (free_.size() < keep_ && buffer.capacity() > 0) {
            buffer.clear();
            free_.push_back(std::move(buffer));
        }
    }

  private:
    const size_t keep_;
    std::mutex mutex_;
    std::vector<Bytes> free_;
};

} // namespace pgvigil
