// The steps of one backup, in order: choose its kind, name the attempt, enter backup mode, look for WAL summaries,
// copy, read pg_control, leave backup mode, wait until the repositories have the WAL, commit. Threading: the backup
// worker's main thread.
#pragma once

#include "server/backup_choice.h"
#include "server/backup_mode.h"
#include "server/server_facts.h"
#include "server/settings.h"
#include "server/shared_state.h"
#include "server/wal_wait.h"
#include "server/writer.h"

#include "base/log.h"
#include "transfer/backup_writer.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pgvigil {

struct BackupOrder {
    WantedKind kind = WantedKind::kAuto;
    bool fast = true;
    std::map<std::string, std::string> annotations; // name → JSON text
    int wal_timeout_s = 600;
};

struct BackupResult {
    std::string id;
    std::string parent; // of an incremental
    Lsn start;
    std::vector<std::string> repositories;
    std::vector<PageDamage> damage;
};

// What a backup is called, and the one it builds on when it is incremental.
struct BackupName {
    std::string id;
    std::string parent; // empty: full
    std::string reason; // why that kind, a sentence
};

class BackupJob {
  public:
    // `progress` outlives the job. `named` is called as soon as the backup has an id; once more if it begins again as a
    // full one.
    BackupJob(BackupOrder order, BackupProgress &progress, std::function<void(const BackupName &name)> named);

    // Throws what goes wrong, after the server has left backup mode.
    BackupResult run();

  private:
    void open();
    void choose();
    void begin();
    // What changed since the parent; without summaries the choice is made anew.
    void look_for_changes(const BackupMode &mode);
    void stop(BackupMode &mode);
    void copy(const BackupMode &mode);
    void wait_for_wal(const BackupMode &mode);
    // Puts the needed WAL that a repository lacks into the backup (rules E6).
    void bring_own_wal(const WalNeed &need, Lsn stop);
    CommitDocument describe_backup(const BackupMode &mode) const;
    // Asked after every wake-up while a thread works: reports progress, true to stop.
    bool tick();

    BackupOrder order_;
    BackupProgress &progress_;
    std::function<void(const BackupName &)> named_;
    Settings settings_;
    ServerFacts facts_;
    std::unique_ptr<Claim> claim_;
    std::unique_ptr<BackupChoice> choice_;
    std::shared_ptr<const BlockChanges> changes_; // where WAL summaries tell them
    std::unique_ptr<BackupWriter> backup_;
    Bytes control_file_;
    BackupSource source_;
    std::vector<WalRange> ranges_;
    std::string id_;
    int64_t started_ms_ = 0;
    int64_t stopped_ms_ = 0;
    bool own_wal_ = false;
};

} // namespace pgvigil
