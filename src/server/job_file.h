// The file pgvigil.jobs in the data directory: what the scheduler remembers over restarts. It is replaced whole, so
// that readers see one state or the next; backups leave it out. Threading: written by the scheduler alone, read by any
// process. Errors: what the file system says; a file that makes no sense is kCorrupt.
#pragma once

#include "plan/job_log.h"

#include <string>

namespace pgvigil {

// An empty one where there is no file, or only one that was copied from another data directory.
[[nodiscard]] JobLog read_job_file(const std::string &data_directory);
void write_job_file(const std::string &data_directory, JobLog &log);

} // namespace pgvigil
