#include "transfer/tail_writer.h"

#include "base/backoff.h"
#include "base/signal_mask.h"
#include "base/time.h"
#include "base/wal_name.h"
#include "transfer/tail_shipper.h"
#include "transfer/tail_tidy.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace pgvigil {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{5000};
// How long a backlog that the archiver works on is left to it for one segment.
constexpr std::chrono::milliseconds kLongestGrace{10000};
constexpr std::chrono::milliseconds kShortestLook{20};

// What cannot get better by trying the same once more.
bool is_fatal(const Error &error) noexcept {
    return error.code() == ErrorCode::kConflict || error.code() == ErrorCode::kNotWriter ||
           error.code() == ErrorCode::kForeign || error.code() == ErrorCode::kInternal;
}

} // namespace

struct TailWriter::State {
    State(TailWriterOptions wanted, std::vector<std::shared_ptr<Repository>> repositories, LogSink &sink);
    ~State();

    // One repository's thread, and what the owner is told of it.
    struct Lane {
        std::unique_ptr<TailShipper> shipper;
        std::unique_ptr<TailTidy> tidy;
        std::optional<Error> failure;
        int64_t failing_since_ms = 0;
        std::thread thread;
    };

    void run(Lane &lane) noexcept;
    // Waits until there is something to do; false at the end.
    bool wait_for_work(const Lane &lane, Clock::time_point not_before);
    // Takes steps until the position has reached what is flushed now, or the archiver is waited for.
    void round(Lane &lane);
    // Called with the mutex held.
    [[nodiscard]] bool is_impatient(Clock::time_point complete_since) const;
    void failed(Lane &lane, const Error &error);
    void recovered(Lane &lane);
    void publish();

    const TailWriterOptions options;
    LogSink &log;
    EventFd event;
    CancelToken cancel;

    mutable std::mutex mutex;
    std::condition_variable changed;
    Lsn flushed;
    Lsn durable;
    int64_t last_transaction_us = 0; // before durable
    bool hurrying = false;
    bool stopping = false;
    Clock::time_point archiver_moved{};
    std::vector<std::unique_ptr<Lane>> lanes;
};

TailWriter::State::State(TailWriterOptions wanted, std::vector<std::shared_ptr<Repository>> repositories, LogSink &sink)
    : options(std::move(wanted)), log(sink), flushed(options.wal_end) {
    for (auto &repository : repositories) {
        auto lane = std::make_unique<Lane>();
        lane->shipper = std::make_unique<TailShipper>(options, std::move(repository));
        lane->tidy = std::make_unique<TailTidy>(options, *lane->shipper, log);
        lanes.push_back(std::move(lane));
    }
    const SignalsBlocked blocked;
    for (auto &lane : lanes)
        lane->thread = std::thread([this, &lane = *lane] { run(lane); });
}

TailWriter::State::~State() {
    {
        const std::lock_guard lock(mutex);
        stopping = true;
    }
    cancel.cancel();
    changed.notify_all();
    for (auto &lane : lanes)
        if (lane->thread.joinable())
            lane->thread.join();
    // They use the shippers.
    for (auto &lane : lanes)
        lane->tidy.reset();
}

void TailWriter::State::run(Lane &lane) noexcept {
    Backoff backoff(kFirstPause, kLongestPause);
    auto not_before = Clock::now();
    while (wait_for_work(lane, not_before)) {
        const auto began = Clock::now();
        try {
            round(lane);
            backoff.reset();
            recovered(lane);
            const std::lock_guard lock(mutex);
            not_before = began + (hurrying ? std::chrono::milliseconds(0) : options.interval);
        } catch (const Error &error) {
            failed(lane, error);
            not_before = Clock::now() + backoff.next();
        } catch (const std::exception &error) {
            failed(lane, Error(ErrorCode::kInternal, error.what()));
            not_before = Clock::now() + backoff.next();
        }
    }
}

bool TailWriter::State::wait_for_work(const Lane &lane, Clock::time_point not_before) {
    std::unique_lock lock(mutex);
    for (;;) {
        if (stopping)
            return false;
        const bool fatal = lane.failure && is_fatal(*lane.failure);
        const bool due = !fatal && flushed > lane.shipper->position();
        if (due && Clock::now() >= not_before)
            return true;
        if (due)
            changed.wait_until(lock, not_before);
        else
            changed.wait(lock);
        if (hurrying && !lane.failure)
            not_before = Clock::time_point::min();
    }
}

bool TailWriter::State::is_impatient(Clock::time_point complete_since) const {
    const auto now = Clock::now();
    return hurrying || now - complete_since >= kLongestGrace ||
           now - std::max(complete_since, archiver_moved) >= options.archiver_grace;
}

void TailWriter::State::round(Lane &lane) {
    Lsn goal_lsn;
    {
        const std::lock_guard lock(mutex);
        goal_lsn = flushed;
    }
    auto complete_since = Clock::now();
    for (bool impatient = false;;) {
        cancel.check();
        const Lsn before = lane.shipper->position();
        const TailStep step = lane.shipper->step({goal_lsn, impatient}, cancel);
        lane.tidy->look();
        publish();
        if (step == TailStep::kIdle || lane.shipper->position() >= goal_lsn)
            return;
        if (segment_of(before, options.segment_size) != segment_of(lane.shipper->position(), options.segment_size))
            complete_since = Clock::now();
        std::unique_lock lock(mutex);
        if (step == TailStep::kWaiting && !stopping)
            changed.wait_for(lock, std::clamp(options.archiver_grace / 4, kShortestLook, kFirstPause));
        impatient = is_impatient(complete_since);
        // What was flushed meanwhile goes with the next piece, once the segments before are done.
        if (step == TailStep::kWaiting)
            goal_lsn = flushed;
    }
}

void TailWriter::State::publish() {
    std::vector<TailShipper::Point> positions;
    for (const auto &lane : lanes)
        positions.push_back(lane->shipper->point());
    std::sort(positions.begin(), positions.end(), [](const auto &a, const auto &b) { return a.end > b.end; });
    const size_t required =
        options.required == 0 ? positions.size() : std::min<size_t>(options.required, positions.size());
    const std::lock_guard lock(mutex);
    if (required == 0 || positions[required - 1].end <= durable)
        return;
    durable = positions[required - 1].end;
    last_transaction_us = std::max(last_transaction_us, positions[required - 1].last_transaction_us);
    event.signal();
}

void TailWriter::State::failed(Lane &lane, const Error &error) {
    const std::lock_guard lock(mutex);
    if (stopping || error.code() == ErrorCode::kCancelled)
        return;
    if (!lane.failure)
        lane.failing_since_ms = boot_time_ms();
    lane.failure = error;
    event.signal();
}

void TailWriter::State::recovered(Lane &lane) {
    const std::lock_guard lock(mutex);
    if (!lane.failure)
        return;
    lane.failure.reset();
    event.signal();
}

TailWriter::TailWriter(TailWriterOptions options, std::vector<std::shared_ptr<Repository>> repositories, LogSink &log)
    : state_(std::make_unique<State>(std::move(options), std::move(repositories), log)) {}

TailWriter::~TailWriter() = default;

void TailWriter::advance(Lsn flushed) {
    {
        const std::lock_guard lock(state_->mutex);
        if (flushed <= state_->flushed)
            return;
        state_->flushed = flushed;
    }
    state_->changed.notify_all();
}

void TailWriter::segment_archived(uint64_t segment, bool everywhere) {
    for (const auto &lane : state_->lanes)
        lane->shipper->segment_archived(segment, everywhere);
    {
        const std::lock_guard lock(state_->mutex);
        state_->archiver_moved = Clock::now();
    }
    state_->changed.notify_all();
}

void TailWriter::hurry() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->hurrying = true;
    }
    state_->changed.notify_all();
}

Lsn TailWriter::durable() const {
    const std::lock_guard lock(state_->mutex);
    return state_->durable;
}

int64_t TailWriter::last_transaction_us() const {
    const std::lock_guard lock(state_->mutex);
    return state_->last_transaction_us;
}

std::vector<TailTrouble> TailWriter::trouble() const {
    std::vector<TailTrouble> all;
    const std::lock_guard lock(state_->mutex);
    for (const auto &lane : state_->lanes)
        if (lane->failure)
            all.push_back(
                {lane->shipper->repository().url(), *lane->failure, lane->failing_since_ms, is_fatal(*lane->failure)});
    return all;
}

TailCounters TailWriter::counters() const {
    TailCounters sum;
    for (const auto &lane : state_->lanes) {
        const TailCounters one = lane->shipper->counters();
        sum.pieces += one.pieces;
        sum.stored_bytes += one.stored_bytes;
        sum.plain_bytes += one.plain_bytes;
        sum.requests += one.requests;
        sum.last_put_us = std::max(sum.last_put_us, one.last_put_us);
    }
    return sum;
}

int TailWriter::event_fd() const noexcept {
    return state_->event.fd();
}

void TailWriter::clear_event() noexcept {
    state_->event.clear();
}

} // namespace pgvigil
