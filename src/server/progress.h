// Shows a backup's progress in pg_stat_progress_basebackup. Threading: the backup worker's main thread.
#pragma once

#include "transfer/backup_writer.h"

namespace pgvigil {

void start_progress();
void report_progress(const BackupProgress &progress);

[[nodiscard]] const char *phase_name(BackupPhase phase) noexcept;

} // namespace pgvigil
