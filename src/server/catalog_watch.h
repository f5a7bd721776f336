// Reads the catalog of the repositories for the status view, and records gaps of WAL there. Threading: look() on the
// keeper's main thread; the store is read in a thread of the core.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include <functional>
#include <string>

namespace pgvigil {

struct CatalogSummary {
    bool readable = false; // at least one repository was read
    uint32_t backups = 0;  // of the readable repository that has the fewest
    Lsn last_full_start;   // of the newest full backup; invalid when there is none
    Lsn behind_a_gap;      // stored WAL that no backup leads to begins here; invalid when there is none
};

// Publishes to shared memory. Throws only what cannot be shown per repository.
CatalogSummary refresh_catalog(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop);

} // namespace pgvigil
