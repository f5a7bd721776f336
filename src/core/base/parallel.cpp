#include "base/parallel.h"

#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

namespace pgvigil {

void parallel_for(size_t count, size_t threads, const std::function<void(size_t index)> &body) {
    std::atomic<size_t> next{0};
    std::mutex mutex;
    std::condition_variable ended;
    std::exception_ptr failure;
    size_t running = std::min(count, std::max<size_t>(threads, 1));
    const auto work = [&] {
        try {
            for (size_t index = next++; index < count; index = next++)
                body(index);
        } catch (...) {
            next = count;
            const std::lock_guard lock(mutex);
            if (!failure)
                failure = std::current_exception();
        }
        const std::lock_guard lock(mutex);
        --running;
        ended.notify_all();
    };
    if (running <= 1) {
        if (running == 1)
            work();
    } else {
        ThreadPool pool(running);
        for (size_t i = 0, tasks = running; i < tasks; ++i)
            pool.submit(work);
        std::unique_lock lock(mutex);
        ended.wait(lock, [&running] { return running == 0; });
    }
    if (failure)
        std::rethrow_exception(failure);
}

} // namespace pgvigil
