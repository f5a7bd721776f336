// What the archiver tells the others in shared memory. All members are no-ops where there is none.
// Threading: the archiver's main thread.
#pragma once

#include "server/archive_session.h"
#include "server/boundary.h"

#include <string>

namespace pgvigil {

void status_archived(const std::string &file, const ArchiveSession &session);
// An interrupted try is not counted as a failure.
void status_failed(const char *file, const ErrorReport &report, bool interrupted);
void status_let_go();
void status_session_ended();

} // namespace pgvigil
