// Everything PostgreSQL looks up in the module by name, but for the SQL functions. Runs in the postmaster: no threads,
// no network and no libraries with state of their own are started here.
#include "server/pg.h"

#include "server/archive_module.h"
#include "server/keeper.h"
#include "server/scheduler.h"
#include "server/settings.h"
#include "server/shared_state.h"
#include "server/streamer.h"

extern "C" {

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "pgvigil", .version = PGVIGIL_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);

void _PG_init(void) {
    pgvigil::define_settings();
    if (!process_shared_preload_libraries_in_progress)
        return;
    pgvigil::install_shared_memory_hooks();
    pgvigil::register_keeper();
    pgvigil::register_scheduler();
    pgvigil::register_streamer();
}

#if PG_VERSION_NUM >= 160000
PGDLLEXPORT const ArchiveModuleCallbacks *_PG_archive_module_init(void);

const ArchiveModuleCallbacks *_PG_archive_module_init(void) {
    static const ArchiveModuleCallbacks callbacks = {
        nullptr,
        [](ArchiveModuleState * /*state*/) { return pgvigil::archive_configured(); },
        [](ArchiveModuleState * /*state*/, const char *file, const char *path) {
            return pgvigil::archive_file(file, path);
        },
        [](ArchiveModuleState * /*state*/) { pgvigil::archive_shutdown(); },
    };
    return &callbacks;
}
#else
PGDLLEXPORT void _PG_archive_module_init(ArchiveModuleCallbacks *callbacks);

void _PG_archive_module_init(ArchiveModuleCallbacks *callbacks) {
    callbacks->check_configured_cb = pgvigil::archive_configured;
    callbacks->archive_file_cb = pgvigil::archive_file;
    callbacks->shutdown_cb = pgvigil::archive_shutdown;
}
#endif
}
