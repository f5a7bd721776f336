// The decision who may write, from facts alone (rules C1-C3). Nothing is read or written here.
// Threading: pure functions.
#pragma once

#include "base/error.h"
#include "base/lsn.h"
#include "repo/documents.h"
#include "repo/identity.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

// The reason of the epoch that a promoted standby takes by itself.
inline constexpr const char *kPromotionReason = "promotion";

enum class WriterStanding {
    kWriter,     // may write, in the claim's epoch
    kStandby,    // a registered standby: may write backups and byte-identical segments
    kInRecovery, // in recovery and no registered standby
    kDetached,   // a restored, copied or cloned server: writes nothing until it takes over
    kStaleCopy,  // its WAL ends before what the repository already has of its timeline, or has grown again since
    kFenced,     // was the writer, or its standby, and another server has a higher epoch now
};

struct LocalFacts {
    LocalIdentity identity;
    bool in_recovery = false;
    TimelineId timeline = 0;
    Lsn wal_end;
    // The operator's order to take over, with the reason given.
    std::optional<std::string> take_over;
};

// What one repository says; in any order, the same for every call.
struct RepositoryFacts {
    std::string name;                     // for messages
    std::optional<EpochDocument> highest; // nullopt: nobody ever wrote this cluster's WAL there
    // The end of a complete record it has of the server's timeline that lies behind the server's end of WAL.
    std::optional<Lsn> record_behind_end;
    // The start of a segment that it has with other bytes, though this server wrote it in the epoch that holds.
    std::optional<Lsn> other_bytes_at;
    // Whether two that claim the same epoch are told apart by the store itself (rules C6).
    bool conditional_create = true;
};

struct WriterDecision {
    WriterStanding standing = WriterStanding::kDetached;
    uint64_t epoch = 0;           // kWriter: the epoch to write in
    bool claim = false;           // kWriter: some repository does not show this epoch yet; claim it there
    std::string reason;           // of a claim: "first", "promotion", the operator's
    std::optional<Error> refusal; // set unless kWriter
};

[[nodiscard]] WriterDecision decide_writer(const LocalFacts &local, const std::vector<RepositoryFacts> &repositories);

// The kNotWriter error for a server that has been fenced by `epoch`.
[[nodiscard]] Error fenced_error(const EpochDocument &epoch, const std::string &repository);

} // namespace pgvigil
