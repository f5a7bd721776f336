#include "transfer/tail_tidy.h"

#include "base/error.h"
#include "base/signal_mask.h"

#include <fmt/format.h>

#include <utility>

namespace pgvigil {

namespace {

using Clock = std::chrono::steady_clock;

// Between two looks whether a segment has been stored.
constexpr std::chrono::seconds kLookAgain{5};
// A segment that never gets there leaves its pieces to expiry.
constexpr size_t kMostDebris = 256;

} // namespace

TailTidy::TailTidy(const TailWriterOptions &options, TailShipper &shipper, LogSink &log)
    : options_(options), shipper_(shipper), log_(log),
      source_(options.wal_directory, options.system_identifier, options.segment_size, options.timeline),
      encoder_(options.compression), may_remove_(options.cleanup) {
    const SignalsBlocked blocked;
    thread_ = std::thread([this] { run(); });
}

TailTidy::~TailTidy() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    cancel_.cancel();
    changed_.notify_all();
    thread_.join();
}

void TailTidy::look() {
    {
        const std::lock_guard lock(mutex_);
        wanted_ = true;
    }
    changed_.notify_all();
}

void TailTidy::run() noexcept {
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            const auto ready = [this] { return wanted_ || stopping_; };
            if (debris_.empty())
                changed_.wait(lock, ready);
            else
                (void)changed_.wait_for(lock, kLookAgain, ready);
            if (stopping_)
                return;
            wanted_ = false;
        }
        merge();
        collect();
        remove_due();
    }
}

void TailTidy::merge() {
    uint64_t segment = 0;
    while (const auto range = shipper_.begin_merge(segment)) {
        bool stored = false;
        try {
            shipper_.store_merged(segment, *range, source_, encoder_, cancel_);
            stored = true;
        } catch (const std::exception &) {
            // The pieces are all there as they are.
        }
        shipper_.end_merge(segment, *range, stored);
        if (!stored || cancel_.is_cancelled())
            return;
    }
}

void TailTidy::collect() {
    for (TailGarbage &garbage : shipper_.take_garbage())
        if (may_remove_)
            debris_.push_back({std::move(garbage), Clock::now()});
    while (debris_.size() > kMostDebris)
        debris_.pop_front();
}

void TailTidy::remove_due() {
    const size_t count = debris_.size();
    for (size_t i = 0; i < count && may_remove_ && !cancel_.is_cancelled(); ++i) {
        Debris debris = std::move(debris_.front());
        debris_.pop_front();
        if (Clock::now() < debris.look_at || !remove(debris)) {
            debris.look_at = std::max(debris.look_at, Clock::now() + kLookAgain);
            debris_.push_back(std::move(debris));
        }
    }
    if (!may_remove_)
        debris_.clear();
}

bool TailTidy::remove(const Debris &debris) {
    try {
        if (!shipper_.is_stored(debris.garbage.segment, cancel_))
            return false;
        for (const DeleteFailure &failure : shipper_.repository().store().remove(debris.garbage.keys, cancel_))
            if (failure.access_denied)
                give_up(failure.message);
        return true;
    } catch (const Error &error) {
        if (error.code() != ErrorCode::kAccessDenied)
            return false;
        give_up(error.message());
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

void TailTidy::give_up(const std::string &reason) {
    if (std::exchange(may_remove_, false))
        log_.emit(LogLevel::kWarning,
                  fmt::format("\"{}\" lets nothing be deleted: what was streamed stays until expiry removes it",
                              shipper_.repository().url()),
                  reason);
}

} // namespace pgvigil
