// Synchronous mode: keeps the connection that makes pgvigil a synchronous standby, tells PostgreSQL what is durable,
// and lets commits go when a store is away for longer than pgvigil.synchronous_timeout, until it is back.
// Threading: the streamer's main thread. Errors: none are thrown for the connection, which is tried again.
#pragma once

#include "server/boundary.h"
#include "server/flush_watch.h"
#include "server/shared_stream.h"
#include "server/stream_settings.h"
#include "server/sync_link.h"

#include "base/backoff.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace pgvigil {

class SyncMode {
  public:
    struct Situation {
        FlushPosition flushed;
        Lsn durable;                      // and acknowledged (rules C4)
        std::optional<int64_t> oldest_ms; // since when the oldest byte waits that is not
        bool may_let_go = true;           // false: another server writes now
    };

    // Connects when that is due, takes what has come, answers.
    void serve(const StreamSettings &settings, const Situation &situation);
    // Not wanted, or not possible now: the connection ends.
    void end();

    [[nodiscard]] bool is_connected() const noexcept { return link_ != nullptr; }
    // False for a moment after connecting: serve() is to be called ten times a second then.
    [[nodiscard]] bool is_settled() const noexcept;
    // -1 while there is no connection.
    [[nodiscard]] int socket() const noexcept { return link_ ? link_->socket() : -1; }
    [[nodiscard]] bool is_degraded() const noexcept { return degraded_; }
    // The mode to show.
    [[nodiscard]] StreamMode mode() const noexcept;

  private:
    void connect(const StreamSettings &settings, const FlushPosition &flushed);
    void failed(const ErrorReport &report);
    void decide(const StreamSettings &settings, const Situation &situation);

    std::unique_ptr<SyncLink> link_;
    Backoff backoff_{std::chrono::milliseconds(500), std::chrono::milliseconds(5000)};
    std::string user_; // by the setting
    int64_t next_try_ms_ = 0;
    int64_t connected_ms_ = 0;
    int64_t replied_ms_ = 0;
    Lsn replied_;
    bool degraded_ = false;
    std::string last_failure_;
};

} // namespace pgvigil
