#include "server/pg.h"

#include "server/waiting.h"

#include "server/log_queue.h"

#include <utility>

namespace pgvigil {

namespace {

MainTask *live_tasks = nullptr;
bool latch_taken = false;

void end_live_tasks(int /*code*/, Datum /*argument*/) {
    for (MainTask *task = live_tasks; task != nullptr; task = live_tasks)
        task->abandon();
}

void end_tasks_at_exit() {
    static bool registered = false;
    if (!registered)
        pg_section([]() noexcept { before_shmem_exit(end_live_tasks, 0); });
    registered = true;
}

uint32 wait_event(WaitReason reason) noexcept {
    static const char *const names[] = {"PgvigilWork", "PgvigilArchive", "PgvigilStream", "PgvigilSync"};
    static uint32 events[lengthof(names)];
    const auto index = static_cast<size_t>(reason);
    if (events[index] == 0)
        events[index] = compat::new_wait_event(names[index]);
    return events[index];
}

void handle_interrupts_here() noexcept {
    // The archiver is no session: it has no queries to cancel and handles its own signals.
    if (MyBackendType == B_ARCHIVER) {
        if (ProcSignalBarrierPending)
            ProcessProcSignalBarrier();
        if (LogMemoryContextPending)
            ProcessLogMemoryContextInterrupt();
    } else {
        CHECK_FOR_INTERRUPTS();
    }
}

} // namespace

void handle_interrupts() {
    pg_section([]() noexcept { handle_interrupts_here(); });
}

void wait_on_latch(int fd, long timeout_ms, WaitReason reason) {
    pg_section([=]() noexcept {
        int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
        if (timeout_ms >= 0)
            events |= WL_TIMEOUT;
        if (fd >= 0)
            events |= WL_SOCKET_READABLE;
        const int woken_by =
            WaitLatchOrSocket(MyLatch, events, fd >= 0 ? fd : PGINVALID_SOCKET, timeout_ms, wait_event(reason));
        // One event is told at a time. A latch that is set beside the descriptor stays set for the next wait: reset
        // here unseen, the wake-up that ends the archiver would be lost, and with it a minute of the shutdown.
        if ((woken_by & WL_LATCH_SET) != 0) {
            latch_taken = true;
            ResetLatch(MyLatch);
        }
        handle_interrupts_here();
    });
}

bool was_latch_taken() noexcept {
    return std::exchange(latch_taken, false);
}

MainTask::MainTask(std::function<void(const CancelToken &cancel)> body)
    : task_((end_tasks_at_exit(), std::move(body))), next_(live_tasks) {
    live_tasks = this;
}

MainTask::~MainTask() {
    for (MainTask **link = &live_tasks; *link != nullptr; link = &(*link)->next_)
        if (*link == this) {
            *link = next_;
            break;
        }
}

bool MainTask::wait_once(long timeout_ms) {
    if (!task_.done())
        wait_on_latch(task_.event_fd(), timeout_ms);
    return task_.done();
}

void MainTask::abandon() noexcept {
    live_tasks = next_;
    task_.cancel();
    try {
        task_.finish();
    } catch (...) {
        // The process ends: there is nobody left to tell.
    }
}

void wait_for(MainTask &task, const std::function<bool()> &stop) {
    constexpr long kLookUpMs = 250;
    while (!task.wait_once(kLookUpMs)) {
        process_log().flush();
        if (stop && stop())
            task.cancel();
    }
    process_log().flush();
    task.finish();
}

} // namespace pgvigil
