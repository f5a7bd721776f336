// What the next backup will be: full or incremental, and on which parent. Gathers what plan/backup_kind.h decides by:
// the backups that all repositories offer, the cluster's facts, its WAL summaries.
// Threading: the backup worker's main thread; the repositories are read in a thread.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include "base/bytes.h"
#include "plan/backup_kind.h"
#include "repo/repository.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

class BackupChoice {
  public:
    // `tick` is asked while the repositories are read; true ends it.
    BackupChoice(WantedKind wanted, const Settings &settings, const ServerFacts &facts,
                 std::vector<std::shared_ptr<Repository>> repositories, const Bytes &control_file,
                 const std::function<bool()> &tick);

    [[nodiscard]] bool full() const noexcept { return decision_.full; }
    [[nodiscard]] const KindDecision &decision() const noexcept { return decision_; }
    // Those that the backup goes to: an incremental only to those that have its parents.
    [[nodiscard]] const std::vector<std::shared_ptr<Repository>> &repositories() const noexcept {
        return repositories_;
    }
    // Of an incremental.
    [[nodiscard]] const CommitDocument &parent() const { return *choice_.parent; }

    // Decides anew, once the backup has begun and the summaries turned out not to be there. What was to be incremental
    // may become full.
    void do_without_summaries(const std::string &problem);

  private:
    void read_offers(const std::function<bool()> &tick);
    void decide();

    KindRequest request_;
    ClusterFacts cluster_;
    std::vector<std::shared_ptr<Repository>> repositories_;
    std::vector<CommitDocument> backups_; // that every repository has
    ParentChoice choice_;
    KindDecision decision_;
};

// WAL that was let go since the newest full backup began: the next one is full (rules H1). A sentence, or empty.
[[nodiscard]] std::string wal_gap_reason();

} // namespace pgvigil
