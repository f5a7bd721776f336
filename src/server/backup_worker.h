// The process that makes one backup: PostgreSQL's backup mode on the main thread, the core's BackupWriter in threads.
// It serves one slot of shared memory and leaves its result there. Cancelled by SIGINT or SIGTERM within a second;
// whatever ends it, the server leaves backup mode. Threading: its main thread.
#pragma once

#include "server/pg.h"

extern "C" PGDLLEXPORT void pgv_backup_worker_main(Datum argument);
