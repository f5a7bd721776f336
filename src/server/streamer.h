// The background worker that streams WAL which is not a complete file yet (rules B7), and that is the synchronous
// standby of synchronous mode. It works while this server is the writer; on a standby it only waits for a promotion.
// Nothing it meets takes the server down: errors are shown and tried again later.
#pragma once

#include "server/pg.h"

namespace pgvigil {

// Called from _PG_init while shared_preload_libraries is being loaded.
void register_streamer();

} // namespace pgvigil

extern "C" PGDLLEXPORT void pgv_streamer_main(Datum argument);
