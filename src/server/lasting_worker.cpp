#include "server/pg.h"

#include "server/lasting_worker.h"

#include "server/stream_settings.h"

namespace pgvigil {

namespace {

void handle_terminate(SIGNAL_ARGS) {
    const int saved = errno;
    (void)postgres_signal_arg;
    ShutdownRequestPending = true;
    SetLatch(MyLatch);
    errno = saved;
}

} // namespace

void register_lasting_worker(const char *name, const char *function, int restart_s) {
    BackgroundWorker worker;
    memset(&worker, 0, sizeof worker);
    strlcpy(worker.bgw_name, name, BGW_MAXLEN);
    strlcpy(worker.bgw_type, name, BGW_MAXLEN);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_ConsistentState;
    worker.bgw_restart_time = restart_s;
    strlcpy(worker.bgw_library_name, "pgvigil", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
    RegisterBackgroundWorker(&worker);
}

void begin_lasting_worker() {
    pqsignal(SIGTERM, handle_terminate);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    commit_without_waiting();
}

} // namespace pgvigil
