#include "server/pg.h"

#include "server/stream_session.h"

#include "server/lease.h"
#include "server/log_queue.h"
#include "server/promotion_gap.h"
#include "server/shared_state.h"
#include "server/waiting.h"
#include "server/wal_gaps.h"

#include "base/time.h"
#include "base/wal_name.h"

#include <algorithm>
#include <array>
#include <set>
#include <unistd.h>

namespace pgvigil {

namespace {

// Between two looks whether the archiver has stored the history: each costs some requests.
constexpr long kHistoryPauseMs = 1000;
// What is held back for this long is asked for: the keeper, which does that normally, is late.
constexpr int64_t kHeldBackMs = 5000;
// How long the history of a repository that others can do without may take to be asked for, and whether there are more.
constexpr int64_t kAskMs = 5000;
constexpr std::chrono::milliseconds kLongestGrace{1000};
// Where commits wait: longer than the archiver normally takes for a segment, so that a bulk load is not stored twice.
constexpr std::chrono::milliseconds kSynchronousGrace{200};

std::string describe(const std::set<std::string> &missing) {
    return "\"" + *missing.begin() + "\"" +
           (missing.size() == 1 ? "" : " and " + std::to_string(missing.size() - 1) + " more WAL files") +
           " of this timeline's history " + (missing.size() == 1 ? "is" : "are") + " not archived yet";
}

// Those of `all` in which nothing is missing of what comes before this timeline (rules B10); for others `missing` says
// what it is, for the first of them.
std::vector<std::shared_ptr<Repository>> complete_repositories(const Claim &claim,
                                                               const std::vector<std::shared_ptr<Repository>> &all,
                                                               const Settings &settings, std::string &missing,
                                                               const std::function<bool()> &stop) {
    const ServerFacts facts = server_facts();
    // The first timeline has no history.
    if (facts.timeline == 1)
        return all;
    // One that hangs must not keep the others waiting where they are enough.
    const bool is_patient = settings.required == 0 || settings.required >= all.size();
    std::vector<std::shared_ptr<Repository>> complete;
    for (const auto &repository : claim.repositories) {
        const int64_t began = boot_time_ms();
        bool stopped = false;
        const auto late = [&] {
            stopped = stop();
            return stopped || (!is_patient && boot_time_ms() - began >= kAskMs);
        };
        std::string lacks;
        try {
            if (const auto names = missing_history(facts, {repository}, late); !names.empty())
                lacks = describe(names);
        } catch (const Error &error) {
            if (is_patient || stopped)
                throw;
            lacks = error.message();
        }
        if (lacks.empty())
            complete.push_back(repository);
        else if (missing.empty())
            missing = lacks;
    }
    return complete;
}

void say_left_out(const std::vector<std::shared_ptr<Repository>> &all,
                  const std::vector<std::shared_ptr<Repository>> &complete, const std::string &missing) {
    for (const auto &repository : all) {
        if (std::any_of(complete.begin(), complete.end(),
                        [&](const auto &other) { return other->url() == repository->url(); }))
            continue;
        const char *const url = repository->url().c_str();
        const char *const why = missing.c_str();
        pg_section([=]() noexcept {
            ereport(
                LOG,
                (errmsg("pgvigil does not stream WAL to repository \"%s\" before it has this timeline's history", url),
                 *why != '\0' ? errdetail_internal("%s", why) : 0));
        });
    }
}

} // namespace

uint64_t first_streamed_segment(const ServerFacts &facts, const Claim &claim) {
    const uint64_t size = facts.wal_segment_size;
    const auto is_there = [&](uint64_t segment) {
        const std::string path = facts.wal_directory + "/" + segment_name(facts.timeline, segment, size);
        return ::access(path.c_str(), F_OK) == 0;
    };
    uint64_t first = segment_of(facts.wal_end, size);
    // Backwards from the end: files ahead of it are recycled ones that wait to be used.
    while (first > 0 && is_there(first - 1))
        --first;
    if (claim.epoch_timeline == facts.timeline)
        first = std::max(first, segment_of(claim.epoch_start, size));
    for (const WalRange &ancestor : timeline_ancestors(facts.timeline))
        first = std::max(first, segment_of(ancestor.end, size));
    // What was let go is not wanted, even where it is still there.
    for (const WalGap &gap : read_gaps(facts.data_directory)) {
        const auto name = parse_wal_file_name(gap.file);
        if (name && name->kind == WalFileKind::kSegment && name->timeline == facts.timeline)
            first = std::max(first, segment_number(*name, size) + 1);
    }
    return first;
}

TailWriterOptions tail_options(const Settings &settings, const StreamSettings &stream, const ServerFacts &facts,
                               const Claim &claim) {
    TailWriterOptions options;
    options.system_identifier = facts.system_identifier;
    options.segment_size = facts.wal_segment_size;
    options.wal_directory = facts.wal_directory;
    options.compression = settings.compression;
    options.epoch = claim.epoch;
    options.instance = claim.instance;
    options.host = facts.host;
    options.timeline = facts.timeline;
    options.first_segment = first_streamed_segment(facts, claim);
    options.wal_end = facts.wal_end;
    options.interval = stream.synchronous ? std::chrono::milliseconds(0) : stream.interval;
    // Half an interval to spare a second object.
    options.archiver_grace = stream.synchronous ? kSynchronousGrace : std::min(stream.interval / 2, kLongestGrace);
    options.required = settings.required;
    options.cleanup = stream.cleanup;
    return options;
}

StreamSession::StreamSession(const Settings &settings, const StreamSettings &stream, const std::function<bool()> &stop,
                             const std::function<void(const std::string &what)> &progress)
    : settings_(settings), stream_(stream) {
    claim_ = settle_role_now(settings, stop).value();
    ensure_lease(claim_, settings, stop);
    timeline_ = server_facts().timeline;
    const auto repositories = wait_for_history(stop, progress);
    repositories_ = repositories.size();
    with_lock(LW_SHARED, [this](SharedState &shared) noexcept {
        const uint64_t count = shared.stream.acknowledged_count;
        let_go_ = shared.archiver.let_go;
        acknowledged_ = count > kAcknowledgedSegments ? count - kAcknowledgedSegments : 0;
    });
    // Last: the run begins in the segment that is written to now.
    const ServerFacts facts = server_facts();
    if (facts.in_recovery || facts.timeline != timeline_)
        throw Error(ErrorCode::kCancelled, "the timeline changed while streaming began");
    TailWriterOptions options = tail_options(settings, stream, facts, claim_);
    first_ = segment_start(options.first_segment, options.segment_size);
    writer_ = std::make_unique<TailWriter>(std::move(options), repositories, process_log());
}

std::vector<std::shared_ptr<Repository>>
StreamSession::wait_for_history(const std::function<bool()> &stop,
                                const std::function<void(const std::string &what)> &progress) {
    const auto all =
        in_background([&, facts = server_facts()](
                          const CancelToken & /*cancel*/) { return all_repositories(claim_, settings_, facts); },
                      stop);
    basis_ = {repositories_key(settings_, all), settings_.repositories_hash(), claim_.epoch};
    const size_t required = settings_.required == 0 ? all.size() : std::min<size_t>(settings_.required, all.size());
    for (;;) {
        std::string missing;
        const auto complete = complete_repositories(claim_, all, settings_, missing, stop);
        if (complete.size() >= required) {
            say_left_out(all, complete, missing);
            return complete;
        }
        progress(missing);
        wait_on_latch(-1, kHistoryPauseMs);
        if (stop())
            throw Error(ErrorCode::kCancelled, "streaming was interrupted");
    }
}

bool StreamSession::could_have_more(size_t bad, const std::function<bool()> &stop) const {
    const int64_t began = boot_time_ms();
    const auto late = [&] { return stop() || boot_time_ms() - began >= kAskMs; };
    try {
        const Claim claim = settle_role_now(settings_, late).value();
        std::string missing;
        return complete_repositories(claim, claim.repositories, settings_, missing, late).size() + bad > repositories_;
    } catch (const Error &error) {
        if (error.code() == ErrorCode::kNotWriter)
            throw;
        return false;
    }
}

bool StreamSession::fits(const Settings &settings, const StreamSettings &stream, const FlushPosition &now) const {
    return !settings_.differs(settings) && stream_.streams_like(stream) && !is_behind_gap_ && now.timeline == timeline_;
}

void StreamSession::pass_on_acknowledged() {
    std::array<AcknowledgedSegment, kAcknowledgedSegments> segments;
    AcknowledgedSegment *const target = segments.data();
    uint64_t first = acknowledged_;
    uint64_t count = 0;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        const SharedStream &stream = shared.stream;
        count = stream.acknowledged_count;
        if (shared.archiver.let_go != let_go_)
            is_behind_gap_ = true;
        // What was overwritten meanwhile the writer finds in the store.
        if (count > kAcknowledgedSegments)
            first = std::max(first, count - kAcknowledgedSegments);
        for (uint64_t i = first; i < count; ++i)
            target[i - first] = stream.acknowledged[i % kAcknowledgedSegments];
    });
    for (uint64_t i = first; i < count; ++i) {
        const AcknowledgedSegment &one = segments[i - first];
        if (one.epoch == claim_.epoch && one.timeline == timeline_)
            // Stored everywhere, but elsewhere: the writer looks itself.
            writer_->segment_archived(one.segment, one.everywhere && one.repositories == basis_.repositories);
    }
    acknowledged_ = count;
}

void StreamSession::advance(Lsn flushed) {
    pass_on_acknowledged();
    writer_->advance(flushed);
}

void StreamSession::take_durable() {
    check_lease(claim_.epoch);
    writer_->clear_event();
    // First what is durable, then whether this server is still the one whose bytes count.
    const int64_t last_transaction_us = writer_->last_transaction_us(); // first: never later than what is durable
    const Lsn durable = writer_->durable();
    if (durable <= durable_ || !may_acknowledge(claim_.epoch))
        return;
    durable_ = durable;
    last_transaction_us_ = last_transaction_us;
}

void StreamSession::acknowledge(const Settings &settings, const std::function<bool()> &stop) {
    const Lsn before = durable_;
    take_durable();
    if (durable_ > before || !is_held_back()) {
        held_back_since_ms_ = 0;
        return;
    }
    const int64_t now = boot_time_ms();
    if (held_back_since_ms_ == 0)
        held_back_since_ms_ = now;
    if (now - held_back_since_ms_ < kHeldBackMs)
        return;
    held_back_since_ms_ = now;
    try {
        ensure_lease(claim_, settings, stop);
    } catch (const Error &error) {
        // A store that does not answer is the writer's trouble already.
        if (error.code() == ErrorCode::kNotWriter || error.code() == ErrorCode::kForeign)
            throw;
    }
}

} // namespace pgvigil
