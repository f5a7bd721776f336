// A fixed set of threads that run queued tasks. All signals are blocked in them: the process's main thread alone
// handles signals, and PostgreSQL is never called from here. Threading: submit() and size() from any thread; the
// destructor from the owner, after which no task runs. Tasks that were queued but not started are dropped by the
// destructor; running ones are waited for (cancel them first).
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pgvigil {

class ThreadPool {
  public:
    // Throws kOutOfMemory when a thread cannot be started.
    explicit ThreadPool(size_t threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool &) = delete;
    ThreadPool &operator=(const ThreadPool &) = delete;

    // `task` must not throw; an exception that escapes it ends the process.
    void submit(std::function<void()> task);
    [[nodiscard]] size_t size() const noexcept { return threads_.size(); }

  private:
    void run();
    void stop() noexcept;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> tasks_;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

} // namespace pgvigil
