// PostgreSQL's side of a base backup: entering and leaving backup mode, and reading pg_control. Leaving is guaranteed:
// by the destructor, and by PostgreSQL's own exit handler when the process ends without unwinding.
// Threading: the backup worker's main thread.
#pragma once

#include "server/pg.h"

#include "base/bytes.h"
#include "base/lsn.h"
#include "repo/documents.h"

#include <string>
#include <vector>

namespace pgvigil {

class BackupMode {
  public:
    // Waits for a checkpoint: an immediate one when `fast`, otherwise one spread over time. Ended by a query cancel.
    BackupMode(const std::string &label, bool fast);
    ~BackupMode();
    BackupMode(const BackupMode &) = delete;
    BackupMode &operator=(const BackupMode &) = delete;

    // Ends backup mode and fills in the stop position and the label. On a standby the caller has read pg_control
    // before.
    void stop();

    [[nodiscard]] Lsn start() const noexcept { return {run_.start}; }
    [[nodiscard]] TimelineId start_timeline() const noexcept { return run_.start_timeline; }
    [[nodiscard]] Lsn stop_position() const noexcept { return {run_.stop}; }
    [[nodiscard]] TimelineId stop_timeline() const noexcept { return run_.stop_timeline; }
    [[nodiscard]] const std::vector<Tablespace> &tablespaces() const noexcept { return tablespaces_; }
    [[nodiscard]] std::string tablespace_map() const;
    [[nodiscard]] const std::string &label() const noexcept { return label_; }

  private:
    compat::BackupRun run_{};
    MemoryContext context_ = nullptr;
    bool running_ = false;
    std::vector<Tablespace> tablespaces_;
    std::string label_;
};

struct WalPosition {
    TimelineId timeline = 0;
    Lsn lsn;
};

// A position that a backup started from now on does not begin before: the end of WAL, or, on a standby, the redo point
// that `control_file` names.
[[nodiscard]] WalPosition earliest_backup_start(const Bytes &control_file);

// A position that a backup started from now on ends at or after: the end of WAL, or, on a standby, its minimum recovery
// point.
[[nodiscard]] WalPosition earliest_backup_stop(const Bytes &control_file);

// pg_control as it stands on disk, not while it is being written, its CRC checked.
[[nodiscard]] Bytes read_control_file();
// What `control_file` says about page checksums; 0 = off.
[[nodiscard]] uint32_t checksum_version_of(const Bytes &control_file);

} // namespace pgvigil
