// The identity of a data directory (rules C1): `pgvigil.identity`, a JSON file in it that says who this server is,
// which repositories it has accepted, and what it was last allowed to do. The file states its own inode and time of
// birth, so that a copy of it (pg_basebackup, cp -a, pg_rewind) is recognised and belongs to nobody.
//
// Guarantees: the file appears whole or not at all and is durable when a call returns (temporary file, fsync, link or
// rename, fsync of the directory; mode 0600). Any number of processes may call at the same time: of two creators one
// wins, changes are made one after another. Threading: free functions, any thread. Errors: kIo and its kin for the file
// system, kCorrupt for a file that cannot be read as an identity, kUnsupported for a newer format.
#pragma once

#include "base/cancel.h"
#include "base/lsn.h"
#include "base/random.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

inline constexpr std::string_view kIdentityFileName = "pgvigil.identity";
// Held (flock) while the identity is changed. Like every local file of pgvigil's it starts with "pgvigil.", which
// backups leave out.
inline constexpr std::string_view kIdentityLockName = "pgvigil.lock";

struct AcceptedRepository {
    std::string url; // normalised, nothing secret
    Uuid id{};
};

struct Identity {
    Uuid instance{};
    std::vector<AcceptedRepository> repositories;
    // The epoch this server last wrote in; 0 when it never was the writer.
    uint64_t held_epoch = 0;
    // An epoch this server set out to claim in several repositories; 0 once all of them have it.
    uint64_t pending_epoch = 0;
    // Set while this server is a standby that really streams from the writer: the epoch and timeline it saw then. Only
    // such a server may take the next epoch at its promotion (rules C3).
    bool registered_standby = false;
    uint64_t standby_epoch = 0;
    TimelineId standby_timeline = 0;

    [[nodiscard]] const AcceptedRepository *find_repository(std::string_view url) const noexcept;
    void accept_repository(std::string_view url, const Uuid &id);
};

enum class IdentityState {
    kNone,   // no file
    kOwn,    // written here, by this data directory's server
    kCopied, // written elsewhere: the file is a copy
};

struct LocalIdentity {
    IdentityState state = IdentityState::kNone;
    Identity identity; // also for a copy: whose it was, and which repositories that one had accepted
};

[[nodiscard]] LocalIdentity read_identity(const std::string &data_directory);

// Changes the identity and returns what is now stored. `change` is called with the current identity; where there is
// none, or only a copy, with a fresh instance that keeps nothing but a copy's accepted repositories. It may run again
// when another process was faster.
Identity update_identity(const std::string &data_directory, const std::function<void(Identity &)> &change,
                         const CancelToken &cancel);

} // namespace pgvigil
