// This server's claims on slots of the schedule (repo/job_claim_places.h).
// Threading: the scheduler's main thread; the store is asked in threads of the core while that one waits.
#pragma once

#include "server/settings.h"

#include "base/error.h"
#include "repo/job_claim_places.h"

#include <deque>
#include <functional>
#include <memory>
#include <optional>

namespace pgvigil {

class JobClaiming {
  public:
    using Attempt = JobClaimPlaces::Attempt;
    // Throws what the stores throw.
    [[nodiscard]] Attempt try_claim(JobKind kind, int64_t slot_s, const std::function<bool()> &stop);
    // How the slot stands, for a node that leaves it to others.
    [[nodiscard]] JobView look(JobKind kind, int64_t slot_s, const std::function<bool()> &stop);
    // A sign of life, also of a claim made before the scheduler was restarted. False when another node has taken over;
    // the stores' errors are thrown.
    [[nodiscard]] bool renew(JobKind kind, int64_t slot_s, const std::function<bool()> &stop);
    // Says how it ended, now or when the store answers again.
    void end(JobKind kind, int64_t slot_s, const JobEntry &entry);
    [[nodiscard]] const Uuid &instance() { return claims().instance(); }
    void send_ends(const std::function<bool()> &stop);

  private:
    struct End {
        JobKind kind;
        int64_t slot_s;
        JobEntry entry;
        unsigned tries = 0;
        int64_t next_ms = 0; // boot time
    };
    JobClaimPlaces &claims();

    std::unique_ptr<JobClaimPlaces> claims_;
    std::deque<End> ends_;
};

// The error for a slot that lies ahead of the store's clock.
[[nodiscard]] Error clock_error(int64_t slot_s, const JobView &view);

} // namespace pgvigil
