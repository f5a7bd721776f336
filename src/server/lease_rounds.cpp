#include "server/pg.h"

#include "server/lease_rounds.h"

#include "server/lease_state.h"
#include "server/server_facts.h"

#include "base/time.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr int64_t kShortestPauseMs = 100;
// A round is begun anew when it takes longer than what it could bring, but not before this.
constexpr int64_t kShortestRoundMs = 1000;

LeaseOwner owner_for(const Claim &claim, int64_t term_ms) {
    LeaseOwner owner;
    owner.epoch = claim.epoch;
    owner.instance = claim.instance;
    owner.host = server_facts().host;
    owner.term_ms = term_ms;
    return owner;
}

} // namespace

bool LeaseRounds::fits(const Claim &claim, int64_t term_ms) const {
    return claim.epoch == epoch_ && term_ms == term_ms_ && claim.repositories.size() == lanes_.size() &&
           std::equal(
               lanes_.begin(), lanes_.end(), claim.repositories.begin(),
               [](const Lane &lane, const auto &repository) { return lane.repository->id() == repository->id(); });
}

void LeaseRounds::rebuild(const Claim &claim, int64_t term_ms) {
    forget();
    epoch_ = claim.epoch;
    term_ms_ = term_ms;
    for (const auto &repository : claim.repositories) {
        Lane lane;
        lane.repository = repository;
        lane.lease = std::make_unique<WriterLease>(*repository, owner_for(claim, term_ms));
        lanes_.push_back(std::move(lane));
    }
}

void LeaseRounds::forget() noexcept {
    for (Lane &lane : lanes_)
        if (lane.task)
            lane.task->cancel();
    lanes_.clear();
    epoch_ = 0;
}

void LeaseRounds::take_in(Lane &lane) {
    const std::unique_ptr<MainTask> ended = std::move(lane.task);
    const int64_t now = boot_time_ms();
    try {
        ended->finish();
        lane.times = lane.lease->times();
        lane.next_ms = std::max(next_lease_round(lane.times, term_ms_), now + kShortestPauseMs);
    } catch (const Error &error) {
        lane.times = lane.lease->times();
        lane.next_ms = now + std::max(kShortestPauseMs, term_ms_ / 18);
        if (error.code() == ErrorCode::kNotWriter)
            publish_lease_lost(epoch_, error);
        else if (error.code() != ErrorCode::kCancelled)
            publish_lease_trouble(epoch_, error);
    }
}

void LeaseRounds::poll(const Claim &claim, const Settings &settings) {
    const int64_t term_ms = settings.writer_term_ms;
    if (!fits(claim, term_ms))
        rebuild(claim, term_ms);
    const int64_t now = boot_time_ms();
    std::vector<LeaseTimes> times;
    for (Lane &lane : lanes_) {
        if (lane.task && lane.task->done())
            take_in(lane);
        if (lane.task && now - lane.started_ms > std::max(kShortestRoundMs, term_ms_ / 3))
            lane.task->cancel();
        if (!lane.task && now >= lane.next_ms) {
            lane.started_ms = now;
            lane.task = std::make_unique<MainTask>(
                [lease = lane.lease.get()](const CancelToken &cancel) { lease->round(cancel); });
        }
        times.push_back(lane.times);
    }
    publish_lease(epoch_, lease_holds_until(times, settings.required, term_ms_));
}

long LeaseRounds::pause_ms() const noexcept {
    if (lanes_.empty())
        return -1;
    int64_t next = boot_time_ms() + term_ms_ / 9;
    for (const Lane &lane : lanes_)
        next = std::min(next, lane.task ? boot_time_ms() + 2 * kShortestPauseMs : lane.next_ms);
    return static_cast<long>(std::max(next - boot_time_ms(), kShortestPauseMs));
}

void release_lease(const Claim &claim, const Settings &settings, int64_t limit_ms) {
    publish_lease_released(claim.epoch);
    const int64_t until = boot_time_ms() + limit_ms;
    const LeaseOwner owner = owner_for(claim, settings.writer_term_ms);
    // The repositories one after another: a token ends all of it.
    MainTask task([&](const CancelToken &cancel) {
        for (const auto &repository : claim.repositories)
            WriterLease(*repository, owner).release(cancel);
    });
    while (!task.wait_once(static_cast<long>(std::max<int64_t>(kShortestPauseMs, until - boot_time_ms()))))
        if (boot_time_ms() >= until)
            task.cancel();
    task.finish();
}

} // namespace pgvigil
