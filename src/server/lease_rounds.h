// Keeps the writer's lease (repo/writer_lease.h) in the repositories of a claim, and publishes how long it holds. Never
// waits for a store: rounds run in threads, one for each repository; poll() starts what is due and takes in what ended.
// Threading: the main thread of the process that owns it. Errors: none; what a store throws is published.
#pragma once

#include "server/settings.h"
#include "server/waiting.h"

#include "repo/writer_claim.h"
#include "repo/writer_lease.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace pgvigil {

class LeaseRounds {
  public:
    LeaseRounds() = default;
    ~LeaseRounds() { forget(); }
    LeaseRounds(const LeaseRounds &) = delete;
    LeaseRounds &operator=(const LeaseRounds &) = delete;

    void poll(const Claim &claim, const Settings &settings);
    // Cancels what runs: this server is not the writer any more, or a setting changed.
    void forget() noexcept;
    // How long poll() may be left alone, in ms.
    [[nodiscard]] long pause_ms() const noexcept;

  private:
    struct Lane {
        std::shared_ptr<Repository> repository;
        std::unique_ptr<WriterLease> lease;
        LeaseTimes times; // as of the last round that has ended
        std::unique_ptr<MainTask> task;
        int64_t started_ms = 0;
        int64_t next_ms = 0;
    };
    [[nodiscard]] bool fits(const Claim &claim, int64_t term_ms) const;
    void rebuild(const Claim &claim, int64_t term_ms);
    void take_in(Lane &lane);

    uint64_t epoch_ = 0;
    int64_t term_ms_ = 0;
    std::vector<Lane> lanes_;
};

// Clean shutdown: tells the repositories that this server has ended, so that nobody has to wait for a term. From its
// beginning on nothing is acknowledged any more. Gives up after `limit_ms`.
void release_lease(const Claim &claim, const Settings &settings, int64_t limit_ms);

} // namespace pgvigil
