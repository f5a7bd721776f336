// The background worker that runs jobs by schedule: it knows when each is due, agrees with the other nodes of the
// cluster on who runs it, starts it in a process of its own, and keeps the history of every job, whoever asked for it.
// It runs on standbys too. Nothing it meets takes the server down: failures are shown and tried again later.
#pragma once

#include "server/pg.h"

namespace pgvigil {

// Called from _PG_init while shared_preload_libraries is being loaded.
void register_scheduler();

} // namespace pgvigil

extern "C" PGDLLEXPORT void pgv_scheduler_main(Datum argument);
