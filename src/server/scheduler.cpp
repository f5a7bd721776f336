#include "server/pg.h"

#include "server/scheduler.h"

#include "server/boundary.h"
#include "server/log_queue.h"
#include "server/schedule_runner.h"
#include "server/shared_state.h"
#include "server/stream_settings.h"
#include "server/waiting.h"

namespace pgvigil {

namespace {

constexpr long kCycleMs = 1000;

void handle_terminate(SIGNAL_ARGS) {
    const int saved = errno;
    (void)postgres_signal_arg;
    ShutdownRequestPending = true;
    SetLatch(MyLatch);
    errno = saved;
}

void leave(int /*code*/, Datum /*argument*/) {
    SharedState *const shared = shared_state();
    LWLockReleaseAll();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->scheduler.pid = 0;
    shared->scheduler.latch = nullptr;
    LWLockRelease(shared->lock);
}

void enter() {
    SharedState *const shared = shared_state();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->scheduler.pid = MyProcPid;
    shared->scheduler.latch = MyLatch;
    LWLockRelease(shared->lock);
    before_shmem_exit(leave, 0);
}

void reload_if_asked(ScheduleRunner &runner) {
    if (!ConfigReloadPending)
        return;
    pg_section([]() noexcept {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    });
    runner.settings_changed();
}

void run() {
    enter();
    ScheduleRunner runner;
    bool started = false;
    char last[sizeof(ErrorReport::message)] = "";
    while (!ShutdownRequestPending) {
        ErrorReport report;
        const bool fine = cpp_attempt(
            [&] {
                reload_if_asked(runner);
                if (!started)
                    runner.start();
                started = true;
                runner.cycle();
                process_log().flush();
                wait_on_latch(runner.event_fd(), kCycleMs);
            },
            report);
        if (fine || ShutdownRequestPending) {
            last[0] = '\0';
            continue;
        }
        // The same trouble every second is said once.
        if (strcmp(last, report.message) != 0)
            warn(report, "pgvigil scheduler");
        strlcpy(last, report.message, sizeof last);
        pg_usleep(1000000);
    }
}

} // namespace

void register_scheduler() {
    BackgroundWorker worker;
    memset(&worker, 0, sizeof worker);
    strlcpy(worker.bgw_name, "pgvigil scheduler", BGW_MAXLEN);
    strlcpy(worker.bgw_type, "pgvigil scheduler", BGW_MAXLEN);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_ConsistentState;
    worker.bgw_restart_time = 5;
    strlcpy(worker.bgw_library_name, "pgvigil", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, "pgv_scheduler_main", BGW_MAXLEN);
    RegisterBackgroundWorker(&worker);
}

} // namespace pgvigil

void pgv_scheduler_main(Datum /*argument*/) {
    pqsignal(SIGTERM, pgvigil::handle_terminate);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    pgvigil::commit_without_waiting();
    pgvigil::run();
    // Not 0: after that a worker is never started again.
    proc_exit(1);
}
