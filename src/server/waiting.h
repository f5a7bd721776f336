// How the main thread waits while the core works in threads of its own: on its latch together with an event
// descriptor, handling PostgreSQL's interrupts meanwhile. A cancelled query, a terminated process or the postmaster's
// death end the work: the threads are cancelled and joined before the process goes on.
// Threading: the process's main thread only.
#pragma once

#include "server/boundary.h"

#include "base/background_task.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>

namespace pgvigil {

// What a wait is shown as in pg_stat_activity, from 17 on.
enum class WaitReason : uint8_t {
    kWork,    // PgvigilWork: a task in a thread
    kArchive, // PgvigilArchive: the archiver, for a file that is on its way
    kStream,  // PgvigilStream: the streamer, for WAL or for a piece that is on its way
    kSync,    // PgvigilSync: the same, where commits wait for it
};

// Sleeps until the latch is set, `fd` (or -1) is readable or `timeout_ms` (or -1) has passed; then resets the latch and
// handles interrupts: CHECK_FOR_INTERRUPTS in sessions and workers, barriers in the archiver.
void wait_on_latch(int fd, long timeout_ms, WaitReason reason = WaitReason::kWork);
// Whether the latch was found set since the last call: code that is called from another's loop may have taken a wake-up
// that was meant for that one.
[[nodiscard]] bool was_latch_taken() noexcept;
// Handles what has been signalled, without waiting.
void handle_interrupts();

// A BackgroundTask that is also ended when the process exits while it runs (a FATAL error never unwinds).
class MainTask {
  public:
    explicit MainTask(std::function<void(const CancelToken &cancel)> body);
    ~MainTask();
    MainTask(const MainTask &) = delete;
    MainTask &operator=(const MainTask &) = delete;

    [[nodiscard]] bool done() const noexcept { return task_.done(); }
    void cancel() noexcept { task_.cancel(); }
    [[nodiscard]] int event_fd() const noexcept { return task_.event_fd(); }
    // Waits at most `timeout_ms` or until something happened; true when the task has ended.
    bool wait_once(long timeout_ms);
    // Rethrows what escaped from the body.
    void finish() { task_.finish(); }
    // For the exit of the process.
    void abandon() noexcept;

  private:
    BackgroundTask task_;
    MainTask *next_;
};

// Waits for `task`, writing the process's log meanwhile. `stop` is asked after every wake-up: when it returns true the
// task is cancelled. Throws what the task threw.
void wait_for(MainTask &task, const std::function<bool()> &stop = {});

// Runs `work(cancel)` in a thread and returns what it returns.
template <class F> auto in_background(F work, const std::function<bool()> &stop = {}) {
    using Result = std::invoke_result_t<F, const CancelToken &>;
    if constexpr (std::is_void_v<Result>) {
        MainTask task([&](const CancelToken &cancel) { work(cancel); });
        wait_for(task, stop);
    } else {
        std::optional<Result> result;
        MainTask task([&](const CancelToken &cancel) { result.emplace(work(cancel)); });
        wait_for(task, stop);
        return std::move(*result);
    }
}

} // namespace pgvigil
