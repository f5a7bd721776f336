#include "server/pg.h"

#include "server/progress.h"

#include "server/boundary.h"

#include <array>

namespace pgvigil {

namespace {

int64 phase_number(BackupPhase phase) noexcept {
    switch (phase) {
    case BackupPhase::kStarting:
        return 0; // "initializing"
    case BackupPhase::kCheckpoint:
        return PROGRESS_BASEBACKUP_PHASE_WAIT_CHECKPOINT;
    case BackupPhase::kWaitingForSummaries:
    case BackupPhase::kEstimating:
        return PROGRESS_BASEBACKUP_PHASE_ESTIMATE_BACKUP_SIZE;
    case BackupPhase::kCopying:
        return PROGRESS_BASEBACKUP_PHASE_STREAM_BACKUP;
    case BackupPhase::kFinishing:
    case BackupPhase::kWaitingForWal:
        return PROGRESS_BASEBACKUP_PHASE_WAIT_WAL_ARCHIVE;
    case BackupPhase::kCommitting:
    case BackupPhase::kDone:
        return PROGRESS_BASEBACKUP_PHASE_TRANSFER_WAL;
    }
    return 0;
}

} // namespace

const char *phase_name(BackupPhase phase) noexcept {
    switch (phase) {
    case BackupPhase::kStarting:
        return "starting";
    case BackupPhase::kCheckpoint:
        return "waiting for checkpoint";
    case BackupPhase::kWaitingForSummaries:
        return "waiting for WAL summaries";
    case BackupPhase::kEstimating:
        return "estimating size";
    case BackupPhase::kCopying:
        return "copying";
    case BackupPhase::kFinishing:
        return "finishing";
    case BackupPhase::kWaitingForWal:
        return "waiting for WAL";
    case BackupPhase::kCommitting:
        return "committing";
    case BackupPhase::kDone:
        return "done";
    }
    return "unknown";
}

void start_progress() {
    pg_section([]() noexcept { pgstat_progress_start_command(PROGRESS_COMMAND_BASEBACKUP, InvalidOid); });
}

void report_progress(const BackupProgress &progress) {
    const int parameters[] = {PROGRESS_BASEBACKUP_PHASE, PROGRESS_BASEBACKUP_BACKUP_TOTAL,
                              PROGRESS_BASEBACKUP_BACKUP_STREAMED, PROGRESS_BASEBACKUP_TBLSPC_TOTAL,
                              PROGRESS_BASEBACKUP_TBLSPC_STREAMED};
    const auto total = static_cast<int64>(progress.bytes_total.load());
    const auto done = static_cast<int64>(progress.bytes_done.load());
    // Unknown is shown as null (-1); files that grew must not show more than all.
    const int64 values[] = {phase_number(progress.phase.load()), total == 0 ? -1 : std::max(total, done), done,
                            static_cast<int64>(progress.tablespaces_total.load()),
                            static_cast<int64>(progress.tablespaces_done.load())};
    pg_section([&]() noexcept { pgstat_progress_update_multi_param(lengthof(parameters), parameters, values); });
}

} // namespace pgvigil
