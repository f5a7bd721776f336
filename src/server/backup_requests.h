// Asking for a backup: slots in shared memory and the worker that serves one. One backup runs at a time.
// Threading: main threads of sessions and of the keeper.
#pragma once

#include "server/shared_state.h"

#include "plan/backup_kind.h"

#include <cstdint>
#include <string>

namespace pgvigil {

struct BackupRequest {
    WantedKind kind = WantedKind::kAuto;
    bool fast = true;
    bool automatic = false; // asked for by pgvigil itself; nobody waits
    JobTrigger trigger = JobTrigger::kManual;
    std::string role;
    std::string annotations = "{}"; // a JSON object
};

// Where a request stands; a copy, taken below the lock.
struct BackupReport {
    bool known = false;
    BackupState state = BackupState::kFree;
    std::string id;
    std::string reason; // why it is full or incremental
    ErrorReport error;
    uint64_t bad_pages = 0;
};

class BackupTicket {
  public:
    // Takes a slot and starts the worker; throws kBusy while another backup runs.
    explicit BackupTicket(const BackupRequest &request);
    // What has become of it. Notices a worker that died or never started.
    [[nodiscard]] BackupReport look();
    // Gives the slot back; the worker goes on when it still runs.
    void leave();
    // The same while a PostgreSQL error is in flight.
    void abandon() noexcept;
    [[nodiscard]] uint64_t request() const noexcept { return request_; }

  private:
    unsigned slot_ = 0;
    uint64_t request_ = 0;
    BackgroundWorkerHandle *handle_ = nullptr;
};

// Ends the running backup, if there is one; its id when it has one already.
struct CancelledBackup {
    bool found = false;
    std::string id;
};
CancelledBackup cancel_backup();
// Ends the backup of this request only.
void cancel_request(uint64_t request) noexcept;

} // namespace pgvigil
