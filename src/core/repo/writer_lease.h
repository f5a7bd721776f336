// The writer's lease in one repository, and how an observer sees that a writer is silent (rules C4).
//
// The writer shows every third of a term that it lives, and asks more often whether a higher epoch is there. It may
// acknowledge WAL only for a third of a term from the beginning of the last question that found none, and for two
// thirds from the beginning of its last sign of life. An observer that saw nothing new for a whole term therefore knows
// that the writer acknowledges nothing any more: each counts on its own CLOCK_BOOTTIME, from before its own request or
// after its own answer, and no two clocks are compared. Only the clocks' speed is taken to be the same.
// Threading: pure functions; WriterLease and SilenceWatch belong to one thread at a time. Errors: what the store
// throws.
#pragma once

#include "base/cancel.h"
#include "base/random.h"
#include "repo/repository.h"
#include "repo/writer_renewal.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

inline constexpr int64_t kDefaultWriterTermMs = 90000;

// Of one repository; CLOCK_BOOTTIME in ms, each taken before the request was sent. 0: never.
struct LeaseTimes {
    int64_t listed_ms = 0;  // the last question for higher epochs that found none
    int64_t renewed_ms = 0; // the last sign of life that was stored
};

// Until when the times allow acknowledging; 0 when they do not at all. Exclusive.
[[nodiscard]] int64_t lease_holds_until(const LeaseTimes &times, int64_t term_ms) noexcept;
[[nodiscard]] bool is_renewal_due(const LeaseTimes &times, int64_t term_ms, int64_t now_ms) noexcept;
// When the next round should begin.
[[nodiscard]] int64_t next_lease_round(const LeaseTimes &times, int64_t term_ms) noexcept;
// Of several repositories: until when as many as are `required` (0 = all) allow acknowledging.
[[nodiscard]] int64_t lease_holds_until(const std::vector<LeaseTimes> &repositories, unsigned required,
                                        int64_t term_ms);

struct LeaseOwner {
    uint64_t epoch = 0;
    Uuid instance{};
    std::string host;
    int64_t term_ms = kDefaultWriterTermMs;
};

class WriterLease {
  public:
    WriterLease(const Repository &repository, LeaseOwner owner);

    // A sign of life where one is due, then the question for higher epochs. Throws kNotWriter when there is one. What
    // was done before a failure counts.
    void round(const CancelToken &cancel);
    // The last sign of life: nothing is acknowledged after it. To be called when no more is going to be written.
    void release(const CancelToken &cancel);

    [[nodiscard]] const LeaseTimes &times() const noexcept { return times_; }

  private:
    void renew(bool released, const CancelToken &cancel);

    const Repository &repository_;
    const LeaseOwner owner_;
    LeaseTimes times_;
    uint64_t newest_ = 0; // number of the newest renewal known
    bool numbered_ = false;
};

// What an observer sees of the writer in one repository.
struct WriterSight {
    uint64_t epoch = 0;       // the highest
    uint64_t renewal = 0;     // its newest; 0: none
    bool released = false;    // that one releases
    int64_t modified_ms = 0;  // of the newest sign of life, the epoch's own document included; store's clock
    int64_t store_now_ms = 0; // store's clock now

    [[nodiscard]] bool same_sign(const WriterSight &other) const noexcept {
        return epoch == other.epoch && renewal == other.renewal;
    }
};
[[nodiscard]] WriterSight look_at_writer(const Repository &repository, const CancelToken &cancel);
// The newest renewal of the epoch that was seen, whoever is the writer by now, if it is newer than that; 0: there is
// none.
[[nodiscard]] uint64_t renewal_since(const Repository &repository, const WriterSight &seen, const CancelToken &cancel);

// Waits, in the observer's own time, whether the writer shows anything new. One for each attempt to take over.
class SilenceWatch {
  public:
    explicit SilenceWatch(int64_t term_ms) : term_ms_(term_ms) {}

    enum class Verdict : uint8_t {
        kWaiting, // nothing new so far
        kSilent,  // nothing new for a whole term, or the writer had released its role
        kAlive,   // there is something new
    };
    // `sights`: one for each repository, always in the same order; `now_ms`: taken after they were read.
    [[nodiscard]] Verdict look(const std::vector<WriterSight> &sights, int64_t now_ms);
    // How long until a silent writer's term is over.
    [[nodiscard]] int64_t remaining_ms(int64_t now_ms) const noexcept;

  private:
    const int64_t term_ms_;
    std::vector<WriterSight> first_;
    int64_t since_ms_ = 0;
};

} // namespace pgvigil
