// What pgv_check() asks of every store: what transfer/restore_check.h tries out, for each URL of the setting.
// Threading: any one thread.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include "base/cancel.h"

#include <string>
#include <vector>

namespace pgvigil {

struct StoreFinding {
    std::string check;      // as check_store() names it
    std::string repository; // for people
    bool ok = false;
    std::string detail;
};

[[nodiscard]] std::vector<StoreFinding> check_stores(const Settings &settings, const ServerFacts &facts,
                                                     const CancelToken &cancel);

} // namespace pgvigil
