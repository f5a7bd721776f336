#include "base/thread_pool.h"

#include "base/error.h"
#include "base/signal_mask.h"

#include <system_error>
#include <utility>

namespace pgvigil {

ThreadPool::ThreadPool(size_t threads) {
    const SignalsBlocked blocked;
    try {
        threads_.reserve(threads);
        for (size_t i = 0; i < threads; ++i)
            threads_.emplace_back([this] { run(); });
    } catch (const std::system_error &error) {
        stop();
        throw Error(ErrorCode::kOutOfMemory, std::string("could not start a thread: ") + error.what()).retryable();
    }
}

ThreadPool::~ThreadPool() {
    stop();
}

void ThreadPool::stop() noexcept {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        tasks_.clear();
    }
    changed_.notify_all();
    for (std::thread &thread : threads_)
        thread.join();
    threads_.clear();
}

void ThreadPool::submit(std::function<void()> task) {
    {
        const std::lock_guard lock(mutex_);
        tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
}

void ThreadPool::run() {
    for (;;) {
        std::function<void()> task;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
            if (stopping_)
                return;
            task = std::move(tasks_.front());
            tasks_.pop_front();
        }
        task();
    }
}

} // namespace pgvigil
