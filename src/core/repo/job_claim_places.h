// Claims on slots of the schedule (repo/job_claims.h) for a cluster with several repositories. A slot is claimed in the
// first repository that answers, unless another one shows that somebody runs or has run it. What follows, signs of life
// and the end, goes to that same repository: while it is away nothing is said elsewhere, where another numbering holds
// and nobody who looks at the claim would see it.
// Threading: one thread at a time. Errors: what the stores throw; kUnavailable when the claim's repository is away.
#pragma once

#include "repo/job_claims.h"

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pgvigil {

struct ClaimRepositories {
    std::vector<std::shared_ptr<Repository>> answering; // in the order of the setting
    size_t configured = 0;
};

class JobClaimPlaces {
  public:
    struct Attempt {
        bool held = false;
        JobView view; // when it is not: why
    };

    JobClaimPlaces(Uuid instance, std::string host, int64_t term_ms = kJobTermMs);

    // `now_ms`: this host's CLOCK_BOOTTIME; `started_ms`: its wall clock.
    [[nodiscard]] Attempt try_claim(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s, int64_t now_ms,
                                    int64_t started_ms, const CancelToken &cancel);
    // How the slot stands, for a node that leaves it to others.
    [[nodiscard]] JobView look(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s, int64_t now_ms,
                               const CancelToken &cancel);
    // As JobClaims::renew() and finish(), where the slot was claimed.
    [[nodiscard]] bool renew(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s,
                             const CancelToken &cancel);
    [[nodiscard]] bool finish(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s, const JobEntry &end,
                              const CancelToken &cancel);

    void set_term(int64_t term_ms) noexcept { claims_.set_term(term_ms); }
    [[nodiscard]] const Uuid &instance() const noexcept { return claims_.instance(); }

  private:
    struct Place {
        std::shared_ptr<Repository> repository;
        JobView view;
    };
    [[nodiscard]] Place best_place(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s, int64_t now_ms,
                                   const CancelToken &cancel);
    // Where this instance's claim lies; null when it has none.
    [[nodiscard]] std::shared_ptr<Repository> place_of(const ClaimRepositories &repositories, JobKind kind,
                                                       int64_t slot_s, const CancelToken &cancel);

    JobClaims claims_;
    std::map<std::pair<JobKind, int64_t>, Uuid> places_; // of the claims this process knows to be its own
};

} // namespace pgvigil
