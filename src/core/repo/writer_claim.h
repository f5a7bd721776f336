// The protocol by which a server becomes, stays and stops being the writer of its repositories (rules C1-C3): opens
// them, compares their ids with the identity file, decides by repo/writer_decision.h, and claims epochs.
//
// Guarantees: nothing but root documents of repositories never used before and epoch documents is written; nothing at
// all by a detached, stale or fenced server. Every step may be cut off by a crash or a lost answer and be run again.
// Several processes of one server may call at the same time. Threading: free functions, any thread; they block on the
// stores. Errors: kForeign for a repository that is missing or another than the accepted one (hint:
// pgv_accept_repository()), what the stores and the file system throw.
#pragma once

#include "base/cancel.h"
#include "base/error.h"
#include "base/lsn.h"
#include "repo/repository.h"
#include "repo/writer_decision.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

// A file in the data directory that orders a take-over; its text is the reason. Removed once it was obeyed.
inline constexpr std::string_view kTakeOverFileName = "pgvigil.take_over";

struct ClaimInput {
    std::string data_directory;
    uint64_t system_identifier = 0;
    std::string host;
    bool in_recovery = false;
    bool streaming = false; // a WAL receiver is connected to a primary now
    TimelineId timeline = 0;
    Lsn wal_end;               // end of the WAL flushed (replayed, in recovery)
    uint64_t segment_size = 0; // bytes
    // This run of the server was found to be no stale copy already. WAL that it has archived since it took `wal_end`
    // must not speak against it.
    bool known_current = false;
    // How many repositories must answer for a server that is the writer already; 0 = all. A new epoch needs all.
    unsigned required = 0;
    // A take-over is refused when another server's epoch above this one is there: it was decided by what was known of
    // this one.
    std::optional<uint64_t> only_after;
};

struct NamedStore {
    std::string url; // normalised
    std::shared_ptr<ObjectStore> store;
};

struct UnreachableRepository {
    std::string url;
    Error error;
};

struct Claim {
    std::vector<std::shared_ptr<Repository>> repositories; // in the order given, without unreachable ones
    std::vector<UnreachableRepository> unreachable;        // only where `required` allows it
    Uuid instance{};
    // Of the writer: this server, or the one that a standby follows.
    uint64_t epoch = 0;
    Lsn epoch_start;
    TimelineId epoch_timeline = 0;
};

struct ClaimResult {
    WriterStanding standing = WriterStanding::kDetached;
    std::optional<Claim> claim;          // kWriter and kStandby
    std::optional<Error> refusal;        // otherwise: kNotWriter with detail and hint
    std::optional<EpochDocument> writer; // who the repositories say it is; nullopt: nobody yet

    // The claim, or throws the refusal.
    [[nodiscard]] const Claim &value() const;
};

// For a server that is not in recovery. First start: makes the identity, missing root documents and epoch 1. The same
// instance keeps its epoch; a registered standby that was promoted takes the next one; the file pgvigil.take_over is
// obeyed. Everything else is refused. Nothing is claimed while a required repository cannot be reached.
[[nodiscard]] ClaimResult claim_writer(const ClaimInput &input, const std::vector<NamedStore> &stores,
                                       const CancelToken &cancel);

// For a server in recovery: registers it while it streams. kStandby when it is registered.
[[nodiscard]] ClaimResult open_for_standby(const ClaimInput &input, const std::vector<NamedStore> &stores,
                                           const CancelToken &cancel);

// Throws kNotWriter when a repository of the claim shows a higher epoch. One list request for each.
void check_still_writer(const Claim &claim, const CancelToken &cancel);

// Takes the next epoch by the operator's order; keeps the present one where this server is the writer already.
[[nodiscard]] ClaimResult take_over(const ClaimInput &input, const std::vector<NamedStore> &stores,
                                    std::string_view reason, const CancelToken &cancel);

// Accepts the repositories as they are, creating missing root documents; returns one line for each.
std::vector<std::string> accept_repositories(const ClaimInput &input, const std::vector<NamedStore> &stores,
                                             const CancelToken &cancel);

} // namespace pgvigil
