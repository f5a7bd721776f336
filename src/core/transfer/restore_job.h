// Restores a backup, full or incremental, into an empty directory or over an earlier state of the cluster (--delta), so
// that the server can be started on it.
//
// Guarantees: pg_control is written last, after everything else is durable, so a restore that was interrupted leaves a
// directory that cannot start. Every byte was checked against the checksums in the repository. Nothing is written
// outside of the data directory and the tablespaces' directories (rules E7). The result passes pg_verifybackup, and
// carries no identity file: it is detached and writes nothing into a repository until it takes over (rules C3).
// Threading: run_restore() blocks its caller; `progress` may be read by any thread. Memory: about 8 MiB for each thread
// and 50 MiB for the table, whatever the size of the cluster.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "plan/restore_plan.h"
#include "transfer/restore_settings.h"

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct RestoreOptions {
    std::string data_directory;                        // absolute
    std::map<std::string, std::string> tablespace_map; // old location → new, both absolute
    unsigned threads = 4;
    bool sync = true;
    bool delta = false; // the directory may hold an earlier state of this cluster; what is there already is kept
    std::optional<std::string> take_over; // the reason; left in kTakeOverFileName for the server (rules C3)
    RecoverySettings settings;
};

enum class RestorePhase { kPreparing, kFiles, kWal, kSyncing, kDone };

struct RestoreProgress {
    std::atomic<RestorePhase> phase{RestorePhase::kPreparing};
    std::atomic<uint64_t> bytes_total{0};
    std::atomic<uint64_t> bytes_done{0};    // kept or written
    std::atomic<uint64_t> bytes_kept{0};    // were there already
    std::atomic<uint64_t> bytes_fetched{0}; // of packs, as stored
    std::atomic<uint64_t> files_removed{0}; // with --delta
    std::atomic<uint64_t> files_total{0};
    std::atomic<uint64_t> files_done{0};
};

// Where each tablespace goes: oid → location; in-place ones are not listed. Throws kInvalidArgument for a mapping that
// fits none, kCorrupt for a location that no server has.
[[nodiscard]] std::map<uint32_t, std::string> tablespace_locations(const std::vector<Tablespace> &tablespaces,
                                                                   const std::map<std::string, std::string> &mapping,
                                                                   const std::string &data_directory);

void run_restore(const std::vector<std::shared_ptr<Repository>> &repositories, const std::string &backup,
                 const RestoreOptions &options, RestoreProgress &progress, LogSink &log, const CancelToken &cancel);

} // namespace pgvigil
