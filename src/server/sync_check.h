// What synchronous mode needs of the server, for pgv_check(): the settings that belong together, the role, the line in
// pg_hba.conf, and whether the connection comes about. Threading: a session's main thread, in a transaction.
#pragma once

#include "server/server_facts.h"
#include "server/stream_settings.h"

#include <string>
#include <vector>

namespace pgvigil {

struct SyncFinding {
    std::string check;
    bool ok = false;
    std::string detail;
};

// Empty where nothing speaks of synchronous mode, and in recovery.
[[nodiscard]] std::vector<SyncFinding> check_synchronous_mode(const StreamSettings &settings, const ServerFacts &facts);

} // namespace pgvigil
