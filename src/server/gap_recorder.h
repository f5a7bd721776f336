// Carries the gaps of pgvigil.gaps into the repositories as documents. Threading: the keeper's main thread; the store
// is written in a thread of the core.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include <functional>

namespace pgvigil {

void record_gaps(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop);

} // namespace pgvigil
