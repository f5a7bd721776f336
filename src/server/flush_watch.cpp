#include "server/pg.h"

#include "server/flush_watch.h"

#include "server/boundary.h"

namespace pgvigil {

namespace {

// Enough for minutes of an outage at the usual pace; then they become coarser.
constexpr size_t kMaxSamples = 4096;

} // namespace

void FlushAges::note(Lsn flushed, int64_t now_ms) {
    if (flushed <= flushed_)
        return;
    flushed_ = flushed;
    if (!samples_.empty() && samples_.back().time_ms == now_ms) {
        samples_.back().flushed = flushed;
        return;
    }
    samples_.push_back({flushed, now_ms});
    if (samples_.size() < kMaxSamples)
        return;
    // Of two neighbours the earlier time stays, with the later position: ages are never shown too low.
    std::deque<Sample> thinned;
    for (size_t i = 0; i < samples_.size(); i += 2)
        thinned.push_back({samples_[std::min(i + 1, samples_.size() - 1)].flushed, samples_[i].time_ms});
    samples_ = std::move(thinned);
}

void FlushAges::forget_below(Lsn durable) {
    while (!samples_.empty() && samples_.front().flushed <= durable)
        samples_.pop_front();
}

std::optional<int64_t> FlushAges::oldest_ms() const {
    if (samples_.empty())
        return std::nullopt;
    return samples_.front().time_ms;
}

void FlushAges::clear() {
    samples_.clear();
    flushed_ = {};
}

std::optional<FlushPosition> flush_position() {
    bool in_recovery = false;
    TimeLineID timeline = 0;
    XLogRecPtr flushed = InvalidXLogRecPtr;
    pg_section([&]() noexcept {
        in_recovery = RecoveryInProgress();
        if (!in_recovery)
            flushed = GetFlushRecPtr(&timeline);
    });
    if (in_recovery)
        return std::nullopt;
    return FlushPosition{Lsn{flushed}, timeline};
}

FlushSignal::FlushSignal(bool wanted) {
    ConditionVariable *const signal = wanted ? compat::flush_signal() : nullptr;
    if (signal == nullptr)
        return;
    pg_section([=]() noexcept { ConditionVariablePrepareToSleep(signal); });
    armed_ = true;
}

FlushSignal::~FlushSignal() {
    // Raises nothing: it takes this process off a list, if it stands there still.
    if (armed_)
        ConditionVariableCancelSleep();
}

} // namespace pgvigil
