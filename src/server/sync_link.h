// The replication connection of this server to itself that makes pgvigil a synchronous standby: what comes over it only
// wakes, the bytes are read from pg_wal; what goes back are positions that PostgreSQL takes for a standby's. It uses
// the server's own module libpqwalreceiver. Threading: the process's main thread. Errors: kUnavailable with libpq's
// words; PostgreSQL's own errors.
#pragma once

#include "server/flush_watch.h"

#include "base/lsn.h"

#include <string>

struct WalReceiverConn;

namespace pgvigil {

// The name that synchronous_standby_names has to contain.
inline constexpr const char *kSynchronousName = "pgvigil";

class SyncLink {
  public:
    // Connects as `user` (empty: libpq's default); `name` is the connection's application_name.
    SyncLink(const std::string &user, const char *name);
    ~SyncLink();
    SyncLink(const SyncLink &) = delete;
    SyncLink &operator=(const SyncLink &) = delete;

    // Asks for the WAL from `from` on, which must be flushed.
    void start(const FlushPosition &from);
    // Takes what has come; throws when the connection has ended.
    void receive();
    // Says that everything before `position` is written, flushed and applied.
    void reply(Lsn position);

    [[nodiscard]] int socket() const noexcept { return socket_; }
    [[nodiscard]] Lsn received() const noexcept { return received_; }
    [[nodiscard]] bool wants_reply() const noexcept { return wants_reply_; }

  private:
    void take(const char *message, int length);

    WalReceiverConn *connection_ = nullptr;
    int socket_ = -1;
    Lsn received_;
    bool wants_reply_ = false;
};

// Who connects: the setting, or libpq's default.
[[nodiscard]] std::string sync_user(const std::string &setting);
// Where it connects to: a directory of sockets, or an address.
[[nodiscard]] std::string sync_host();

} // namespace pgvigil
