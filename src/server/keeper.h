// The background worker that keeps watch: it claims the writer's role, reads the catalog for the views, starts the
// first backup, watches pg_wal and its disk, and wakes the archiver when the store answers again. It runs on standbys
// too. Nothing it meets takes the server down: errors are shown and tried again later.
#pragma once

#include "server/pg.h"

namespace pgvigil {

// Called from _PG_init while shared_preload_libraries is being loaded.
void register_keeper();

} // namespace pgvigil

extern "C" PGDLLEXPORT void pgv_keeper_main(Datum argument);
