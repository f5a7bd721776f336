// What pgv_check() asks of every store: a write-read-delete round trip, conditional create, a missing key that is
// missing, and how far the clocks are apart. Threading: any one thread.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include "base/cancel.h"

#include <string>
#include <vector>

namespace pgvigil {

struct StoreFinding {
    std::string check;      // connect, write, read, delete, conditional create, missing key, clock
    std::string repository; // for people
    bool ok = false;
    std::string detail;
};

[[nodiscard]] std::vector<StoreFinding> check_stores(const Settings &settings, const ServerFacts &facts,
                                                     const CancelToken &cancel);

} // namespace pgvigil
