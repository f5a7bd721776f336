#include "server/pg.h"

#include "server/stream_status.h"

#include "server/shared_state.h"

#include "base/time.h"

#include <algorithm>
#include <set>

namespace pgvigil {

namespace {

constexpr int64_t kPublishMs = 200;
constexpr int64_t kRateMs = 60000;
constexpr int64_t kSampleMs = 3000;
// The archiver may take its time with what comes before the stream.
constexpr int64_t kWaitingIsTroubleMs = 60000;

// As a time of the clock on the wall, for a reader in another process.
TimestampTz wall_time(int64_t boot_ms) {
    return GetCurrentTimestamp() - (boot_time_ms() - boot_ms) * 1000;
}

void leave(int /*code*/, Datum /*argument*/) {
    SharedState *const shared = shared_state();
    LWLockReleaseAll();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->stream.pid = 0;
    shared->stream.latch = nullptr;
    shared->stream.mode = StreamMode::kOff;
    LWLockRelease(shared->lock);
}

void say(bool begins, const TailTrouble *trouble, const std::string &repository) {
    const char *url = repository.c_str();
    const char *message = begins ? trouble->error.message().c_str() : "";
    const char *detail = begins ? trouble->error.detail().c_str() : "";
    pg_section([=]() noexcept {
        if (begins)
            ereport(WARNING, (errmsg("could not stream WAL to repository \"%s\": %s", url, message),
                              *detail != '\0' ? errdetail_internal("%s", detail) : 0));
        else
            ereport(LOG, (errmsg("pgvigil streams WAL to repository \"%s\" again", url)));
    });
}

void say_let_go(Lsn from, Lsn to) {
    const std::string first = to_string(from);
    const std::string last = to_string(to);
    const char *const begin = first.c_str();
    const char *const end = last.c_str();
    pg_section([=]() noexcept {
        ereport(
            WARNING,
            (errmsg("WAL from %s to %s was let go: commits in it are not in the repositories", begin, end),
             errdetail("Commits that waited for it in synchronous mode are let go as soon as what follows is stored."),
             errhint("A new full backup makes what follows restorable; pgv_wal_ranges shows the gap.")));
    });
}

} // namespace

void StreamStatus::enter() {
    pg_section([]() noexcept { before_shmem_exit(leave, 0); });
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        shared.stream.pid = MyProcPid;
        shared.stream.latch = MyLatch;
        shared.stream.mode = StreamMode::kOff;
        shared.stream.degraded_since = 0;
        shared.stream.failing_since = 0;
        shared.stream.link_failing_since = 0;
    });
}

bool StreamStatus::session_begun(const StreamSession &session) {
    const StreamBasis basis = session.basis();
    const uint64_t let_go = session.let_go();
    const TimelineId timeline = session.timeline();
    bool is_other = false;
    bool was_let_go = false;
    Lsn former;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        SharedStream &stream = shared.stream;
        if (stream.durable_timeline == timeline)
            former = Lsn{stream.durable_lsn};
        was_let_go = let_go != stream.let_go_before;
        stream.let_go_before = let_go;
        is_other = stream.durable_basis != basis;
        if (!is_other)
            return;
        stream.durable_basis = basis;
        stream.durable_lsn = InvalidXLogRecPtr;
        stream.durable_timeline = 0;
        stream.durable_from = InvalidXLogRecPtr;
        stream.last_transaction_us = 0;
        // The archiver's, unless it is at work with the same already.
        AcknowledgedSegment present{};
        present.repositories = basis.repositories;
        present.epoch = basis.epoch;
        if (!continues_acknowledged(stream, present)) {
            shared.archiver.durable_lsn = InvalidXLogRecPtr;
            shared.archiver.durable_timeline = 0;
        }
    });
    if (was_let_go && former.is_valid() && session.first() > former)
        say_let_go(former, session.first());
    return is_other;
}

void StreamStatus::set_error(const std::string &text, bool failing) {
    const char *message = text.c_str();
    failing_ = true;
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        SharedStream &stream = shared.stream;
        set_text(stream.last_error, message);
        stream.last_error_time = GetCurrentTimestamp();
        if (!failing)
            stream.failing_since = 0;
        else if (stream.failing_since == 0)
            stream.failing_since = stream.last_error_time;
    });
}

void StreamStatus::clear_error() {
    if (!failing_)
        return;
    failing_ = false;
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept { shared.stream.failing_since = 0; });
}

void StreamStatus::failed(const ErrorReport &report) {
    if (last_failure_ != report.message)
        warn(report, "could not stream WAL");
    last_failure_ = report.message;
    set_error(report.message, true);
}

void StreamStatus::waiting(const std::string &what) {
    const int64_t now = boot_time_ms();
    if (waiting_since_ms_ == 0)
        waiting_since_ms_ = now;
    set_error(what, now - waiting_since_ms_ >= kWaitingIsTroubleMs);
}

void StreamStatus::session_ended(const StreamSession &session) {
    earlier_ = total(&session);
    troubles_.clear();
}

TailCounters StreamStatus::total(const StreamSession *session) const {
    TailCounters sum = session != nullptr ? session->writer().counters() : TailCounters{};
    sum.pieces += earlier_.pieces;
    sum.stored_bytes += earlier_.stored_bytes;
    sum.plain_bytes += earlier_.plain_bytes;
    sum.requests += earlier_.requests;
    if (sum.last_put_us == 0)
        sum.last_put_us = earlier_.last_put_us;
    return sum;
}

void StreamStatus::look_for_trouble(const StreamSession &session) {
    last_failure_.clear();
    waiting_since_ms_ = 0;
    const std::vector<TailTrouble> troubles = session.writer().trouble();
    std::set<std::string> now;
    for (const TailTrouble &trouble : troubles) {
        now.insert(trouble.repository);
        std::string &said = troubles_[trouble.repository];
        if (said != trouble.error.message())
            say(true, &trouble, trouble.repository);
        said = trouble.error.message();
    }
    for (auto it = troubles_.begin(); it != troubles_.end();) {
        if (now.contains(it->first)) {
            ++it;
            continue;
        }
        say(false, nullptr, it->first);
        it = troubles_.erase(it);
    }
    if (troubles.empty())
        clear_error();
    else
        set_error(troubles.front().error.message(), !session.has_enough_without(troubles.size()));
}

void StreamStatus::publish(StreamMode mode, const StreamSession *session, std::optional<int64_t> oldest_ms) {
    const int64_t now = boot_time_ms();
    const Lsn durable = session != nullptr ? session->durable() : Lsn{};
    if (now - published_ms_ < kPublishMs && mode == mode_ && durable == durable_ && oldest_ms.has_value() == waits_)
        return;
    published_ms_ = now;
    mode_ = mode;
    durable_ = durable;
    waits_ = oldest_ms.has_value();
    if (session != nullptr)
        look_for_trouble(*session);
    const TailCounters counters = total(session);
    if (samples_.empty() || now - samples_.back().time_ms >= kSampleMs)
        samples_.push_back({now, counters.pieces, counters.stored_bytes, counters.requests});
    while (samples_.size() > 1 && now - samples_[1].time_ms >= kRateMs)
        samples_.pop_front();
    const Sample &then = samples_.front();
    const double minutes = static_cast<double>(std::max(now - then.time_ms, kRateMs)) / 60000;
    const double pieces = static_cast<double>(counters.pieces - then.pieces) / minutes;
    const double bytes = static_cast<double>(counters.stored_bytes - then.bytes) / minutes;
    const double requests = static_cast<double>(counters.requests - then.requests) / minutes;
    const TimestampTz oldest = oldest_ms ? wall_time(*oldest_ms) : 0;
    const TimelineId timeline = session != nullptr ? session->timeline() : 0;
    const Lsn first = session != nullptr ? session->first() : Lsn{};
    const int64_t last_transaction_us = session != nullptr ? session->last_transaction_us() : 0;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        SharedStream &stream = shared.stream;
        stream.mode = mode;
        if (durable.is_valid() && (timeline != stream.durable_timeline || durable.value > stream.durable_lsn)) {
            stream.durable_lsn = durable.value;
            stream.durable_timeline = timeline;
            stream.durable_from = first.value;
            stream.last_transaction_us = last_transaction_us;
        }
        stream.oldest_waiting = oldest;
        stream.pieces = counters.pieces;
        stream.stored_bytes = counters.stored_bytes;
        stream.requests = counters.requests;
        stream.pieces_per_minute = pieces;
        stream.bytes_per_minute = bytes;
        stream.requests_per_minute = requests;
        stream.last_put_us = counters.last_put_us;
    });
}

} // namespace pgvigil
