// The archiver's way to the repositories: open, claimed, with uploads running ahead of what PostgreSQL asks for. One
// session lives until a setting changes or the claim is lost; with it every memory of what is done goes (rules B6).
// Threading: the archiver's main thread; uploads run in threads of the core.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"
#include "server/waiting.h"
#include "server/wal_queue.h"
#include "server/writer.h"

#include "transfer/wal_archiver.h"

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace pgvigil {

class ArchiveSession {
  public:
    // Opens the repositories and claims the writer's role, in a thread; throws where that fails.
    ArchiveSession(const Settings &settings, const std::function<bool()> &stop);

    // Returns when `file` is durable; throws its error, or kCancelled once `stop` returned true.
    void archive(const std::string &file, const std::function<bool()> &stop);
    // When the last transaction in the file that archive() took last had ended, µs since 1970, where that is known.
    [[nodiscard]] std::optional<int64_t> last_transaction_us() const noexcept { return last_transaction_us_; }

    // Throws kNotWriter when another server has taken over. Asks the stores now and then, without waiting for them.
    void recheck();
    // Returns when what archive() stored may be acknowledged (rules C4); otherwise throws as ensure_lease() does.
    void confirm(const std::function<bool()> &stop);

    [[nodiscard]] const Settings &settings() const noexcept { return settings_; }
    // repositories_key() of what it was opened with.
    [[nodiscard]] uint64_t repositories() const noexcept { return repositories_; }
    [[nodiscard]] const Claim &claim() const noexcept { return *claim_; }
    [[nodiscard]] const WalArchiver &archiver() const noexcept { return *archiver_; }
    [[nodiscard]] unsigned in_flight() const;
    // Whether the session still has the role it was opened with. A standby's session ends with the promotion: what it
    // would store of the new timeline carries an epoch that readers ignore from there on (rules C2).
    [[nodiscard]] bool fits_server() const;

  private:
    void submit_ahead(const std::string &file);
    void forget_before(const std::string &file);

    Settings settings_;
    std::string wal_directory_;
    bool in_recovery_ = false;
    uint64_t repositories_ = 0;
    std::unique_ptr<Claim> claim_;
    std::unique_ptr<WalArchiver> archiver_;
    std::set<std::string, ArchiveOrder> ahead_; // submitted, not asked for yet
    std::deque<std::string> waiting_;           // found in archive_status, not submitted yet
    int64_t scanned_ms_ = 0;
    int64_t checked_ms_ = 0;
    std::optional<int64_t> last_transaction_us_;
    std::unique_ptr<MainTask> check_;
};

} // namespace pgvigil
