#include "server/pg.h"

#include "server/final_tail.h"

#include "server/flush_watch.h"
#include "server/log_queue.h"
#include "server/server_facts.h"
#include "server/shared_state.h"
#include "server/stream_session.h"
#include "server/stream_settings.h"
#include "server/waiting.h"

#include "base/time.h"

#include <algorithm>

namespace pgvigil {

namespace {

// How long a store may do nothing, one that is known to be away, and how long all of it may take.
constexpr int64_t kSilenceMs = 10000;
constexpr int64_t kKnownAwayMs = 2000;
constexpr int64_t kAtMostMs = 30000;
constexpr long kLookMs = 100;

// What shared memory says: whether there is something to do, and how patient to be.
struct Outlook {
    bool may_write = false;
    bool store_is_away = false;
    FlushPosition durable; // with these repositories and in the present epoch
};

Outlook look(uint64_t settings_hash) {
    Outlook outlook;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        const WriterRole role = shared.writer.role;
        // A server that ran for a moment only may not have settled its role yet: that is done here then.
        outlook.may_write =
            role == WriterRole::kWriter || role == WriterRole::kUnreachable || role == WriterRole::kUnknown;
        outlook.store_is_away =
            role == WriterRole::kUnreachable || shared.archiver.failing_since != 0 || shared.stream.failing_since != 0;
        const StreamBasis &basis = shared.stream.durable_basis;
        if (basis.settings == settings_hash && basis.epoch == shared.writer.epoch)
            outlook.durable = {Lsn{shared.stream.durable_lsn}, shared.stream.durable_timeline};
    });
    return outlook;
}

// Whether too few repositories are left for all that is required.
bool is_hopeless(const std::vector<TailTrouble> &troubles, size_t repositories, size_t required) {
    const auto is_lost = [](const TailTrouble &one) { return one.error.code() == ErrorCode::kNotWriter; };
    const auto bad = static_cast<size_t>(
        std::count_if(troubles.begin(), troubles.end(), [](const TailTrouble &one) { return one.fatal; }));
    const size_t needed = required == 0 ? repositories : std::min(required, repositories);
    return std::any_of(troubles.begin(), troubles.end(), is_lost) || bad + needed > repositories;
}

Error gave_up(const TailWriter &writer, Lsn end) {
    const std::vector<TailTrouble> troubles = writer.trouble();
    return Error(ErrorCode::kUnavailable,
                 troubles.empty() ? "the store did not answer in time" : troubles.front().error.message())
        .detail("WAL from " + to_string(writer.durable()) + " to " + to_string(end) +
                " stands in pg_wal only, until the server is started again.");
}

} // namespace

void stream_end_of_wal(const Settings &settings, std::optional<Claim> &claim) {
    const StreamSettings stream = current_stream_settings();
    const Outlook outlook = look(settings.repositories_hash());
    const auto end = flush_position();
    if (shared_state() == nullptr || !stream.is_on() || settings.repositories.empty() || !outlook.may_write || !end ||
        !shutdown_is_complete() || (outlook.durable.timeline == end->timeline && outlook.durable.lsn >= end->lsn))
        return;
    const int64_t began = boot_time_ms();
    const int64_t silence = outlook.store_is_away ? kKnownAwayMs : kSilenceMs;
    const auto late = [&] { return boot_time_ms() - began >= silence; };
    if (!claim)
        claim = settle_role_now(settings, late).value();
    const ServerFacts facts = server_facts();
    const auto repositories =
        in_background([&](const CancelToken & /*cancel*/) { return all_repositories(*claim, settings, facts); }, late);
    TailWriter writer(tail_options(settings, stream, facts, *claim), repositories, process_log());
    writer.hurry();
    int64_t moved = began;
    for (uint64_t pieces = 0; writer.durable() < end->lsn;) {
        writer.clear_event();
        const int64_t now = boot_time_ms();
        if (const uint64_t there = writer.counters().pieces; there != pieces) {
            pieces = there;
            moved = now;
        }
        const std::vector<TailTrouble> troubles = writer.trouble();
        if (is_hopeless(troubles, repositories.size(), settings.required) || now - moved >= silence ||
            now - began >= kAtMostMs)
            throw gave_up(writer, end->lsn);
        if (writer.durable() >= end->lsn)
            break;
        wait_on_latch(writer.event_fd(), kLookMs, WaitReason::kArchive);
        process_log().flush();
    }
    const std::string text = to_string(end->lsn);
    const char *const position = text.c_str();
    pg_section([=]() noexcept { ereport(LOG, (errmsg("pgvigil has streamed all WAL, up to %s", position))); });
}

} // namespace pgvigil
