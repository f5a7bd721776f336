// What the settings mean in requests to a store a month, for those who pay by the request (rules G5).
// Threading: the process's main thread; asks nobody.
#pragma once

#include "server/server_facts.h"

#include <string>

namespace pgvigil {

// Requests a month to each repository, backups left out.
[[nodiscard]] double estimate_requests(const ServerFacts &facts);
// One sentence, for each repository.
[[nodiscard]] std::string describe_requests(const ServerFacts &facts);

} // namespace pgvigil
