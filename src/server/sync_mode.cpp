#include "server/pg.h"

#include "server/sync_mode.h"

#include "server/boundary.h"
#include "server/shared_state.h"

#include "base/time.h"

#include <algorithm>

namespace pgvigil {

namespace {

// Often enough for any wal_sender_timeout that makes sense; what asks for an answer gets one at once.
constexpr int64_t kReplyMs = 3000;
// PostgreSQL lets no commit go by a reply that comes before its WAL sender has caught up, and says nothing when that is
// so: a new connection repeats itself for a while.
constexpr int64_t kNewMs = 5000;
constexpr int64_t kReplyOfNewMs = 100;

void publish_degraded(bool degraded) {
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        shared.stream.degraded_since = degraded ? GetCurrentTimestamp() : 0;
    });
}

void say_degraded(bool degraded, int64_t waited_ms) {
    pg_section([=]() noexcept {
        if (degraded)
            ereport(WARNING, (errmsg("pgvigil is asynchronous now: commits no longer wait for the repositories"),
                              errdetail("The oldest WAL that is not durable waits for %lld ms, longer than "
                                        "pgvigil.synchronous_timeout.",
                                        static_cast<long long>(waited_ms)),
                              errhint("Commits wait again as soon as the repositories have what is missing.")));
        else
            ereport(LOG, (errmsg("pgvigil is synchronous again: commits wait for the repositories")));
    });
}

} // namespace

StreamMode SyncMode::mode() const noexcept {
    if (degraded_)
        return StreamMode::kDowngraded;
    return link_ ? StreamMode::kSynchronous : StreamMode::kConnecting;
}

bool SyncMode::is_settled() const noexcept {
    return !link_ || boot_time_ms() - connected_ms_ > kNewMs;
}

void SyncMode::end() {
    if (!link_ && last_failure_.empty() && !degraded_)
        return;
    link_.reset();
    last_failure_.clear();
    backoff_.reset();
    next_try_ms_ = 0;
    if (degraded_)
        publish_degraded(false);
    degraded_ = false;
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        shared.stream.link_failing_since = 0;
        shared.stream.link_error[0] = '\0';
    });
}

void SyncMode::failed(const ErrorReport &report) {
    link_.reset();
    next_try_ms_ = boot_time_ms() + std::max<int64_t>(backoff_.next().count(), 200);
    if (ShutdownRequestPending)
        return;
    if (last_failure_ != report.message)
        warn(report, "pgvigil is not connected as a synchronous standby");
    last_failure_ = report.message;
    const char *message = report.message;
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        if (shared.stream.link_failing_since == 0)
            shared.stream.link_failing_since = GetCurrentTimestamp();
        set_text(shared.stream.link_error, message);
    });
}

void SyncMode::connect(const StreamSettings &settings, const FlushPosition &flushed) {
    auto link = std::make_unique<SyncLink>(settings.synchronous_user, kSynchronousName);
    link->start(flushed);
    link_ = std::move(link);
    replied_ = {};
    replied_ms_ = 0;
    connected_ms_ = boot_time_ms();
    backoff_.reset();
    last_failure_.clear();
    pg_section([]() noexcept { ereport(LOG, (errmsg("pgvigil is connected as a synchronous standby"))); });
    with_lock(LW_EXCLUSIVE, [](SharedState &shared) noexcept {
        shared.stream.link_failing_since = 0;
        shared.stream.link_error[0] = '\0';
    });
}

void SyncMode::decide(const StreamSettings &settings, const Situation &situation) {
    const int64_t limit = settings.synchronous_timeout.count();
    const int64_t waited = situation.oldest_ms ? boot_time_ms() - *situation.oldest_ms : 0;
    bool degraded = degraded_;
    // Back only with something in hand: a store at its limit must not make commits stumble in turns.
    if (limit == 0 || !situation.may_let_go || waited <= limit / 2)
        degraded = false;
    else if (waited > limit)
        degraded = true;
    if (degraded == degraded_)
        return;
    degraded_ = degraded;
    publish_degraded(degraded);
    say_degraded(degraded, waited);
}

void SyncMode::serve(const StreamSettings &settings, const Situation &situation) {
    ErrorReport report;
    const bool fine = cpp_attempt(
        [&] {
            if (user_ != settings.synchronous_user)
                end();
            user_ = settings.synchronous_user;
            if (!link_ && boot_time_ms() >= next_try_ms_)
                connect(settings, situation.flushed);
            decide(settings, situation);
            if (!link_)
                return;
            link_->receive();
            const Lsn position = degraded_ ? std::max(situation.durable, link_->received()) : situation.durable;
            const int64_t now = boot_time_ms();
            if (position == replied_ && !link_->wants_reply() &&
                now - replied_ms_ < (is_settled() ? kReplyMs : kReplyOfNewMs))
                return;
            link_->reply(position);
            replied_ = position;
            replied_ms_ = now;
        },
        report);
    if (!fine)
        failed(report);
}

} // namespace pgvigil
