// Writes the index objects of WAL and backups that are due (repo/wal_index_writer.h, repo/commit_index.h), so that a
// catalog stays cheap to read. Threading: the keeper's main thread; the stores are used in a thread.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include <functional>

namespace pgvigil {

// Returns whether there may be more to write at once. Throws what the stores throw.
bool write_due_indexes(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop);

} // namespace pgvigil
