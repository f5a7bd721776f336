#include "server/pg.h"

#include "server/lease.h"

#include "server/lease_rounds.h"
#include "server/lease_state.h"
#include "server/shared_state.h"
#include "server/waiting.h"

#include "base/time.h"

#include <algorithm>

namespace pgvigil {

namespace {

SharedLease own_lease{}; // where there is no shared memory

constexpr long kPauseMs = 50;
// A keeper that has not looked for so long is busy, or gone: whoever acknowledges helps itself.
constexpr int64_t kKeeperLateMs = 1500;

// Below the lock where there is one. `body` must be noexcept.
template <class F> void with_lease(LWLockMode mode, F body) {
    if (shared_state() == nullptr) {
        body(own_lease);
        return;
    }
    with_lock(mode, [&](SharedState &shared) noexcept { body(shared.lease); });
}

bool keeper_is_there() {
    bool there = false;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { there = shared.keeper.pid != 0; });
    return there;
}

// What this process has claimed the keeper may not know of before its next look.
void wake_keeper() {
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        ++shared.writer.decisions;
        if (shared.keeper.latch != nullptr)
            SetLatch(shared.keeper.latch);
    });
}

bool holds(const SharedLease &lease, uint64_t epoch) noexcept {
    return lease.epoch == epoch && !lease.released && lease.lost_epoch < epoch && boot_time_ms() < lease.holds_until_ms;
}

template <size_t N> void set_text_of(char (&field)[N], const std::string &text) noexcept {
    strlcpy(field, text.c_str(), N);
}

} // namespace

SharedLease lease_state() {
    SharedLease copy{};
    with_lease(LW_SHARED, [&](SharedLease &lease) noexcept { copy = lease; });
    return copy;
}

void publish_lease(uint64_t epoch, int64_t holds_until_ms) {
    with_lease(LW_EXCLUSIVE, [=](SharedLease &lease) noexcept {
        if (epoch < lease.epoch)
            return;
        if (epoch > lease.epoch) {
            lease.epoch = epoch;
            lease.holds_until_ms = 0;
            lease.released = false;
            lease.trouble[0] = '\0';
        }
        lease.looked_ms = boot_time_ms();
        if (lease.released || lease.lost_epoch >= epoch)
            return;
        if (holds_until_ms > lease.holds_until_ms)
            lease.trouble[0] = '\0';
        lease.holds_until_ms = std::max(lease.holds_until_ms, holds_until_ms);
    });
}

void publish_lease_lost(uint64_t epoch, const Error &error) {
    with_lease(LW_EXCLUSIVE, [&](SharedLease &lease) noexcept {
        if (epoch <= lease.lost_epoch)
            return;
        lease.lost_epoch = epoch;
        set_text_of(lease.lost_message, error.message());
        set_text_of(lease.lost_detail, error.detail());
        set_text_of(lease.lost_hint, error.hint());
        if (lease.epoch == epoch)
            lease.holds_until_ms = 0;
    });
}

void publish_lease_trouble(uint64_t epoch, const Error &error) {
    with_lease(LW_EXCLUSIVE, [&](SharedLease &lease) noexcept {
        if (epoch == lease.epoch)
            set_text_of(lease.trouble, error.message());
    });
}

void publish_lease_released(uint64_t epoch) {
    with_lease(LW_EXCLUSIVE, [=](SharedLease &lease) noexcept {
        if (epoch < lease.epoch)
            return;
        lease.epoch = epoch;
        lease.holds_until_ms = 0;
        lease.released = true;
    });
}

bool may_acknowledge(uint64_t epoch) {
    bool may = false;
    with_lease(LW_SHARED, [&](SharedLease &lease) noexcept { may = holds(lease, epoch); });
    return may;
}

void check_lease(uint64_t epoch) {
    const SharedLease lease = lease_state();
    if (lease.lost_epoch >= epoch)
        throw Error(ErrorCode::kNotWriter, lease.lost_message).detail(lease.lost_detail).hint(lease.lost_hint);
    // What was opened in the former epoch has to be opened again.
    if (lease.epoch > epoch)
        throw Error(ErrorCode::kNotWriter, "this server writes in a later epoch now")
            .detail("It had epoch " + std::to_string(epoch) + " and has taken over again with epoch " +
                    std::to_string(lease.epoch) + ".");
}

void ensure_lease(const Claim &claim, const Settings &settings, const std::function<bool()> &stop) {
    static LeaseRounds rounds;
    const int64_t started = boot_time_ms();
    const int64_t limit = std::chrono::duration_cast<std::chrono::milliseconds>(settings.request_timeout).count();
    if (!may_acknowledge(claim.epoch))
        wake_keeper();
    for (;;) {
        check_lease(claim.epoch);
        const SharedLease lease = lease_state();
        if (holds(lease, claim.epoch))
            return;
        if (lease.epoch == claim.epoch && lease.released)
            throw Error(ErrorCode::kCancelled, "this server has given back the writer's role: it is going down");
        const int64_t now = boot_time_ms();
        if (!keeper_is_there() || now - std::max(lease.looked_ms, started) > kKeeperLateMs)
            rounds.poll(claim, settings);
        if (now - started > limit) {
            rounds.forget();
            throw Error(ErrorCode::kUnavailable, "could not make sure that this server is still the writer")
                .detail(*lease.trouble == '\0' ? std::string("A repository has not answered in time.")
                                               : std::string(lease.trouble))
                .retryable();
        }
        if (stop && stop()) {
            rounds.forget();
            throw Error(ErrorCode::kCancelled, "waiting for the writer's lease was interrupted");
        }
        wait_on_latch(-1, kPauseMs);
    }
}

} // namespace pgvigil
