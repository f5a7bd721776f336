// What pgvigil's lasting background workers (keeper, scheduler, streamer) have in common: how they are registered, and
// how they begin. They run on standbys too, are started again when they end, and take SIGTERM as a wish that their loop
// looks at (ShutdownRequestPending): bgworker_die() would raise an error inside the handler.
// Threading: register_lasting_worker() in the postmaster; begin_lasting_worker() on the worker's main thread.
#pragma once

#include "server/pg.h"

namespace pgvigil {

// `function`: the worker's entry, exported by the module. `restart_s`: seconds until it is started again.
void register_lasting_worker(const char *name, const char *function, int restart_s);

void begin_lasting_worker();

} // namespace pgvigil
