#include "server/pg.h"

#include "server/streamer.h"

#include "server/boundary.h"
#include "server/flush_watch.h"
#include "server/joined_events.h"
#include "server/lasting_worker.h"
#include "server/log_queue.h"
#include "server/settings.h"
#include "server/shared_state.h"
#include "server/stream_session.h"
#include "server/stream_settings.h"
#include "server/stream_status.h"
#include "server/sync_mode.h"
#include "server/waiting.h"

#include "base/backoff.h"
#include "base/time.h"

#include <algorithm>
#include <memory>
#include <optional>

namespace pgvigil {

namespace {

// Nothing to do: how long until the role and the settings are looked at again.
constexpr long kOffMs = 1000;
// All is durable, and a flush wakes.
constexpr long kIdleMs = 5000;
constexpr long kSyncMs = 1000;
constexpr long kHeldBackMs = 100;
constexpr long kShortestPollMs = 5;
constexpr long kLongestPollMs = 100;
// A file that was recycled is in the store as a rule, which the next try sees.
constexpr int64_t kGoneMs = 10000;
// Between two looks whether a repository that a session does without can be taken in again.
constexpr int64_t kTakeInMs = 60000;
constexpr std::chrono::milliseconds kFirstPause{1000};
constexpr std::chrono::milliseconds kLongestPause{30000};

WriterRole published_role() {
    WriterRole role = WriterRole::kUnknown;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { role = known_role(shared.writer); });
    return role;
}

// Whether it is known that another server writes now, even if the role has not been settled anew yet.
bool another_writes() {
    bool another = false;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        another =
            shared.writer.fenced || (shared.lease.lost_epoch != 0 && shared.lease.lost_epoch >= shared.writer.epoch);
    });
    return another;
}

// Whether a session may go on: a repository that does not answer is no reason to end it.
bool keeps_role(WriterRole role) noexcept {
    return role == WriterRole::kWriter || role == WriterRole::kUnreachable || role == WriterRole::kUnknown;
}

void ask_for_role_look() {
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        ++shared.writer.decisions;
        if (shared.keeper.latch != nullptr)
            SetLatch(shared.keeper.latch);
    });
}

class Streamer {
  public:
    Streamer() { reload(); }

    void reload();
    void cycle();
    void wait();
    // For the exit of the process: joins the threads.
    void end();

  private:
    [[nodiscard]] bool is_wanted() const;
    // While the main thread waits for something else: flushes go on, and commits that wait. True: stop waiting.
    bool meanwhile();
    void look_at_flush();
    void begin();
    void step();
    void note_durable();
    // Throws the trouble that the session cannot go on with; returns how many repositories it has to do without.
    [[nodiscard]] size_t look_for_trouble() const;
    void take_in_others(size_t bad);
    void end_session();
    void serve_sync();
    [[nodiscard]] StreamMode mode() const;
    [[nodiscard]] bool is_idle() const;
    [[nodiscard]] long pause_ms(bool woken_by_flush) const;

    Settings settings_;
    StreamSettings stream_;
    std::optional<FlushPosition> position_; // none in recovery
    FlushAges ages_;
    std::optional<FlushPosition> durable_; // of the last session too, unless the basis changed: for the ages
    std::unique_ptr<StreamSession> session_;
    SyncMode sync_;
    StreamStatus status_;
    JoinedEvents events_;
    Backoff backoff_{kFirstPause, kLongestPause};
    int64_t next_try_ms_ = 0;
    int64_t next_take_in_ms_ = 0;
    WriterRole role_ = WriterRole::kUnknown;
    bool entered_ = false;
};

Streamer *running = nullptr;

void Streamer::reload() {
    settings_ = current_settings();
    stream_ = current_stream_settings();
    next_try_ms_ = 0;
    backoff_.reset();
}

bool Streamer::is_wanted() const {
    return stream_.is_on() && !settings_.repositories.empty() && archives_with_pgvigil();
}

void Streamer::look_at_flush() {
    position_ = flush_position();
    if (!position_)
        return;
    if (durable_ && durable_->timeline == position_->timeline)
        ages_.forget_below(durable_->lsn);
    ages_.note(position_->lsn, boot_time_ms());
}

StreamMode Streamer::mode() const {
    if (!position_ || !is_wanted())
        return StreamMode::kOff;
    if (stream_.synchronous && (sync_.is_degraded() || session_))
        return sync_.mode();
    if (session_)
        return StreamMode::kAsynchronous;
    return keeps_role(role_) ? StreamMode::kWaiting : StreamMode::kOff;
}

void Streamer::serve_sync() {
    if (!position_ || !stream_.synchronous || !is_wanted()) {
        sync_.end();
        return;
    }
    SyncMode::Situation situation;
    situation.flushed = *position_;
    // Only what the present session says: the next one may have other repositories.
    if (session_ && session_->timeline() == position_->timeline)
        situation.durable = session_->durable();
    situation.oldest_ms = ages_.oldest_ms();
    situation.may_let_go = !another_writes();
    sync_.serve(stream_, situation);
}

bool Streamer::meanwhile() {
    role_ = published_role();
    look_at_flush();
    serve_sync();
    status_.publish(mode(), nullptr, ages_.oldest_ms());
    return ShutdownRequestPending != 0 || ConfigReloadPending != 0 || !position_ || !keeps_role(role_);
}

void Streamer::end_session() {
    if (!session_)
        return;
    status_.session_ended(*session_);
    session_.reset();
}

void Streamer::begin() {
    bool interrupted = false;
    ErrorReport report;
    const bool fine = cpp_attempt(
        [&] {
            try {
                session_ = std::make_unique<StreamSession>(
                    settings_, stream_, [this] { return meanwhile(); },
                    [this](const std::string &what) { status_.waiting(what); });
            } catch (const Error &error) {
                interrupted = error.code() == ErrorCode::kCancelled;
                if (error.code() == ErrorCode::kNotWriter)
                    ask_for_role_look();
                throw;
            }
        },
        report);
    if (fine) {
        if (status_.session_begun(*session_)) {
            durable_.reset();
            ages_.clear();
            look_at_flush();
        }
        next_take_in_ms_ = boot_time_ms() + kTakeInMs;
        return;
    }
    next_try_ms_ = boot_time_ms() + std::max<int64_t>(backoff_.next().count(), 200);
    if (!interrupted && !ShutdownRequestPending)
        status_.failed(report);
}

void Streamer::note_durable() {
    const Lsn durable = session_->durable();
    if (!durable.is_valid())
        return;
    durable_ = {durable, session_->timeline()};
    ages_.forget_below(durable);
}

size_t Streamer::look_for_trouble() const {
    size_t bad = 0;
    std::optional<Error> first;
    for (const TailTrouble &trouble : session_->writer().trouble()) {
        // WAL that was let go is not there any more: a new session begins behind it.
        const bool is_gone =
            trouble.error.code() == ErrorCode::kNotFound && boot_time_ms() - trouble.since_ms >= kGoneMs;
        if (trouble.error.code() == ErrorCode::kNotWriter)
            throw Error(trouble.error);
        if (!trouble.fatal && !is_gone)
            continue;
        ++bad;
        if (!first)
            first = trouble.error;
    }
    if (first && !session_->has_enough_without(bad))
        throw Error(*first);
    return bad;
}

void Streamer::take_in_others(size_t bad) {
    if ((bad == 0 && !session_->is_partial()) || boot_time_ms() < next_take_in_ms_)
        return;
    // Commits go on meanwhile.
    const bool more = session_->could_have_more(bad, [this] {
        if (meanwhile())
            return true;
        session_->advance(position_->lsn);
        session_->take_durable();
        note_durable();
        return false;
    });
    next_take_in_ms_ = boot_time_ms() + kTakeInMs;
    if (more)
        end_session();
}

void Streamer::step() {
    session_->advance(position_->lsn);
    session_->acknowledge(settings_, [this] { return meanwhile(); });
    if (session_->durable().is_valid())
        backoff_.reset();
    note_durable();
    take_in_others(look_for_trouble());
}

void Streamer::cycle() {
    if (!entered_)
        status_.enter();
    entered_ = true;
    role_ = published_role();
    look_at_flush();
    const bool possible = position_ && is_wanted() && keeps_role(role_);
    if (session_ && (!possible || !session_->fits(settings_, stream_, *position_)))
        end_session();
    // The keeper settles the role first.
    if (!session_ && possible && role_ == WriterRole::kWriter && boot_time_ms() >= next_try_ms_)
        begin();
    if (session_) {
        ErrorReport report;
        bool lost = false;
        const bool fine = cpp_attempt(
            [&] {
                try {
                    step();
                } catch (const Error &error) {
                    lost = error.code() == ErrorCode::kNotWriter || error.code() == ErrorCode::kForeign;
                    throw;
                }
            },
            report);
        if (!fine) {
            end_session();
            next_try_ms_ = boot_time_ms() + std::max<int64_t>(backoff_.next().count(), 200);
            if (!ShutdownRequestPending)
                status_.failed(report);
            if (lost)
                ask_for_role_look();
        }
    }
    // Before commits are let go: what they look at then says so already.
    status_.publish(mode(), session_.get(), ages_.oldest_ms());
    serve_sync();
    status_.publish(mode(), session_.get(), ages_.oldest_ms());
    process_log().flush();
}

bool Streamer::is_idle() const {
    return session_ && position_ && session_->durable() >= position_->lsn;
}

long Streamer::pause_ms(bool woken_by_flush) const {
    if (!position_ || !is_wanted())
        return kOffMs;
    const long interval = stream_.synchronous ? kShortestPollMs * 4 : static_cast<long>(stream_.interval.count());
    const long poll = std::clamp(interval / 4, kShortestPollMs, kLongestPollMs);
    if (!session_)
        return stream_.synchronous ? kLongestPollMs : kOffMs;
    if (session_->is_held_back())
        return kHeldBackMs;
    // The WAL sender wakes.
    if (stream_.synchronous && sync_.is_connected())
        return sync_.is_settled() ? kSyncMs : kLongestPollMs;
    if (!is_idle())
        return poll;
    return woken_by_flush ? kIdleMs : std::min(interval, kLongestPollMs);
}

void Streamer::wait() {
    // While something is on its way the next flush can wait for a poll: a busy server would wake all the time.
    const FlushSignal signal(is_idle() && !(stream_.synchronous && sync_.is_connected()));
    if (signal.armed()) {
        const auto now = flush_position();
        if (!now || now->lsn > position_->lsn)
            return;
    }
    const int fd = events_.join(session_ ? session_->writer().event_fd() : -1, sync_.socket());
    wait_on_latch(fd, pause_ms(signal.armed()), sync_.is_connected() ? WaitReason::kSync : WaitReason::kStream);
}

void Streamer::end() {
    session_.reset();
    sync_.end();
}

void end_running(int /*code*/, Datum /*argument*/) {
    if (running == nullptr)
        return;
    ErrorReport ignored;
    (void)cpp_attempt([] { running->end(); }, ignored);
    running = nullptr;
}

void stream() {
    Streamer streamer;
    running = &streamer;
    before_shmem_exit(end_running, 0);
    while (!ShutdownRequestPending) {
        ErrorReport report;
        const bool fine = cpp_attempt(
            [&] {
                if (ConfigReloadPending) {
                    pg_section([]() noexcept {
                        ConfigReloadPending = false;
                        ProcessConfigFile(PGC_SIGHUP);
                    });
                    streamer.reload();
                }
                streamer.cycle();
                streamer.wait();
            },
            report);
        if (!fine && !ShutdownRequestPending) {
            warn(report, "pgvigil streamer");
            pg_usleep(100000);
        }
    }
    ErrorReport ignored;
    (void)cpp_attempt([&] { streamer.end(); }, ignored);
    running = nullptr;
}

} // namespace

void register_streamer() {
    register_lasting_worker("pgvigil streamer", "pgv_streamer_main", 1);
}

} // namespace pgvigil

void pgv_streamer_main(Datum /*argument*/) {
    pgvigil::begin_lasting_worker();
    pgvigil::stream();
    // Not 0: after that a worker is never started again.
    proc_exit(1);
}
