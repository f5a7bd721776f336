#include "server/pg.h"

#include "server/scheduler.h"

#include "server/boundary.h"
#include "server/lasting_worker.h"
#include "server/log_queue.h"
#include "server/schedule_runner.h"
#include "server/shared_state.h"
#include "server/waiting.h"

namespace pgvigil {

namespace {

constexpr long kCycleMs = 1000;

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
    register_lasting_worker("pgvigil scheduler", "pgv_scheduler_main", 5);
}

} // namespace pgvigil

void pgv_scheduler_main(Datum /*argument*/) {
    pgvigil::begin_lasting_worker();
    pgvigil::run();
    // Not 0: after that a worker is never started again.
    proc_exit(1);
}
