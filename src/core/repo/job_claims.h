// Who runs a scheduled job, when several nodes of one cluster could (one backup per slot of the schedule).
//
// The entries jobs/<kind>/<slot>~<n>.json are created once, numbered from 1; the highest holds. Taking a slot, each
// sign of life while the job runs, and its end are an entry each, so of two racing claimants exactly one creates the
// next number, and who was taken for dead notices at its next sign of life. A claim whose owner shows nothing new for a
// whole term may be taken over; the term is counted on the observer's own CLOCK_BOOTTIME from when it first saw the
// newest entry (rules C4): clocks of two hosts are never compared. Slots that lie ahead of the store's clock come from
// a host whose clock was wrong: they are neither claimed nor minded.
// Threading: one thread at a time. Errors: what the store throws.
#pragma once

#include "base/cancel.h"
#include "base/random.h"
#include "repo/job_kind.h"
#include "repo/repository.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pgvigil {

inline constexpr int64_t kJobTermMs = 240000;
// Signs of life come so much more often than a term ends.
inline constexpr int64_t kJobRenewalsInTerm = 4;
// How far a slot may lie ahead of the store's clock.
inline constexpr int64_t kJobClockLimitMs = 300000;

enum class JobEntryState : uint8_t {
    kRunning,   // claimed, or renewed
    kSucceeded, // the slot is done
    kGivenUp,   // cancelled, or bound to fail again: the slot is done as well
    kFailed,    // whoever may run the job may try again
};

struct JobEntry {
    uint32_t number = 0; // of the slot's entries; 0 = none yet
    Uuid instance{};
    std::string host;
    JobEntryState state = JobEntryState::kRunning;
    int64_t started_ms = 0; // the owner's clock, for people
    int64_t ended_ms = 0;   // 0 while it runs
    std::string backup_id;
    uint64_t bytes = 0; // stored, or freed
    std::string message;
};

enum class JobStanding : uint8_t {
    kFree,  // nobody's, or given back after a failure, or its owner's term is over
    kOwn,   // this instance's, from before its restart
    kOther, // another instance runs this slot or, for one kind, an earlier one
    kDone,  // this slot or a later one has been run
    kAhead, // the slot lies ahead of the store's clock: this host's clock, or the store's, is wrong
};

struct JobView {
    JobStanding standing = JobStanding::kFree;
    JobEntry entry;        // the newest of this slot, or of the other slot that decided
    bool same_slot = true; // whether it is of this slot
    int64_t store_ms = 0;  // the store's clock
};

class JobClaims {
  public:
    JobClaims(Uuid instance, std::string host, int64_t term_ms = kJobTermMs);

    // `slot_s`: when the schedule wanted the job, seconds since 1970 UTC. `now_ms`: this host's CLOCK_BOOTTIME.
    [[nodiscard]] JobView look(const Repository &repository, JobKind kind, int64_t slot_s, int64_t now_ms,
                               const CancelToken &cancel);
    // Creates the entry after `view`; false when another instance was faster.
    [[nodiscard]] bool claim(const Repository &repository, JobKind kind, int64_t slot_s, const JobView &view,
                             int64_t started_ms, const CancelToken &cancel);
    // A sign of life; false when another instance has taken over. The job must then end.
    [[nodiscard]] bool renew(const Repository &repository, JobKind kind, int64_t slot_s, const CancelToken &cancel);
    // How it ended: `end` with everything but number, instance and host. False as in renew().
    [[nodiscard]] bool finish(const Repository &repository, JobKind kind, int64_t slot_s, const JobEntry &end,
                              const CancelToken &cancel);

    void set_term(int64_t term_ms) noexcept { term_ms_ = term_ms; }
    [[nodiscard]] const Uuid &instance() const noexcept { return instance_; }

  private:
    struct Sight {
        uint32_t number = 0;
        int64_t since_ms = 0;
    };
    struct Held {
        uint32_t number = 0;
        int64_t started_ms = 0;
    };
    using Slot = std::pair<Uuid, std::string>; // of which repository, and the slot's key there
    [[nodiscard]] static Slot slot_of(const Repository &repository, JobKind kind, const std::string &slot);
    [[nodiscard]] bool is_alive(const Slot &slot, const JobEntry &entry, int64_t now_ms);
    [[nodiscard]] bool create(const Repository &repository, JobKind kind, int64_t slot_s, JobEntry entry,
                              const CancelToken &cancel);

    const Uuid instance_;
    const std::string host_;
    int64_t term_ms_;
    std::map<Slot, Sight> seen_;
    std::map<Slot, Held> held_;
};

// The entries that nobody needs any more, for expiry: those stored before `oldest_ms` of slots other than the newest of
// their kind, which tells a node that was away that the slot was run. A slot ahead of `now_ms` is not the newest: it
// goes. Both times are the store's clock.
[[nodiscard]] std::vector<ObjectInfo> obsolete_job_entries(const Repository &repository, int64_t oldest_ms,
                                                           int64_t now_ms, const CancelToken &cancel);

} // namespace pgvigil
