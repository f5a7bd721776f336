#include "server/pg.h"

#include "server/archive_session.h"

#include "server/lease.h"
#include "server/log_queue.h"
#include "server/waiting.h"
#include "server/wal_queue.h"

#include "base/time.h"

namespace pgvigil {

namespace {

constexpr int64_t kRecheckMs = 30000;
constexpr int64_t kScanMs = 100;
constexpr size_t kScanFiles = 512;
constexpr long kWaitMs = 1000;

WalArchiverOptions options_for(const Settings &settings, const ServerFacts &facts, const Claim &claim) {
    WalArchiverOptions options;
    options.system_identifier = facts.system_identifier;
    options.segment_size = facts.wal_segment_size;
    options.page_magic = facts.wal_page_magic;
    options.wal_directory = facts.wal_directory;
    options.compression = settings.compression;
    options.look_ahead = settings.archive_look_ahead;
    options.required = settings.required;
    options.owed_file = facts.data_directory + "/pgvigil.owed";
    options.epoch = claim.epoch;
    options.epoch_start = claim.epoch_start;
    options.epoch_timeline = claim.epoch_timeline;
    return options;
}

// A repository that does not answer says nothing about who writes: that shows in the uploads.
void check_each(const Claim &claim, const CancelToken &cancel) {
    for (const auto &repository : claim.repositories) {
        Claim one = claim;
        one.repositories = {repository};
        try {
            check_still_writer(one, cancel);
        } catch (const Error &error) {
            if (error.code() == ErrorCode::kNotWriter || error.code() == ErrorCode::kForeign)
                throw;
        }
    }
}

} // namespace

ArchiveSession::ArchiveSession(const Settings &settings, const std::function<bool()> &stop) : settings_(settings) {
    const ServerFacts facts = server_facts();
    wal_directory_ = facts.wal_directory;
    in_recovery_ = facts.in_recovery;
    claim_ = std::make_unique<Claim>(settle_role_now(settings, stop).value());
    const auto repositories =
        in_background([&](const CancelToken & /*cancel*/) { return all_repositories(*claim_, settings, facts); }, stop);
    repositories_ = repositories_key(settings, repositories);
    checked_ms_ = boot_time_ms();
    archiver_ = std::make_unique<WalArchiver>(options_for(settings, facts, *claim_), repositories, process_log());
}

bool ArchiveSession::fits_server() const {
    return in_recovery_ == server_facts().in_recovery;
}

unsigned ArchiveSession::in_flight() const {
    unsigned count = 0;
    for (const std::string &name : ahead_)
        count += archiver_->state(name) == WalFileState::kPending ? 1 : 0;
    return count;
}

void ArchiveSession::forget_before(const std::string &file) {
    // Asked for already, or gone from archive_status: nobody will ask again.
    while (!ahead_.empty() && archives_before(*ahead_.begin(), file)) {
        const std::string name = *ahead_.begin();
        if (archiver_->state(name) == WalFileState::kPending)
            break;
        archiver_->forget(name);
        ahead_.erase(ahead_.begin());
    }
    while (!waiting_.empty() && !archives_before(file, waiting_.front()))
        waiting_.pop_front();
}

void ArchiveSession::submit_ahead(const std::string &file) {
    const size_t window = size_t{2} * settings_.archive_look_ahead;
    if (ahead_.size() >= window)
        return;
    if (waiting_.empty() && boot_time_ms() - scanned_ms_ >= kScanMs) {
        const std::string last = ahead_.empty() ? file : std::max(file, *ahead_.rbegin(), archives_before);
        const auto names = waiting_files(wal_directory_, last, kScanFiles);
        waiting_.assign(names.begin(), names.end());
        scanned_ms_ = boot_time_ms();
    }
    // After the scan: what it found while the server was in recovery is not of a new timeline.
    if (!fits_server())
        return;
    while (!waiting_.empty() && ahead_.size() < window && archiver_->submit(waiting_.front())) {
        ahead_.insert(waiting_.front());
        waiting_.pop_front();
    }
}

void ArchiveSession::archive(const std::string &file, const std::function<bool()> &stop) {
    // A failure met while looking ahead may be over: now that the file is asked for it is tried again.
    if (archiver_->state(file) == WalFileState::kFailed)
        archiver_->forget(file);
    forget_before(file);
    for (;;) {
        archiver_->clear_event();
        const bool known = archiver_->submit(file) || archiver_->state(file) != WalFileState::kUnknown;
        if (known)
            submit_ahead(file);
        const WalFileState state = archiver_->state(file);
        if (state == WalFileState::kDone || state == WalFileState::kFailed)
            break;
        process_log().flush();
        if (stop())
            throw Error(ErrorCode::kCancelled, "archiving was interrupted");
        wait_on_latch(archiver_->event_fd(), kWaitMs, WaitReason::kArchive);
    }
    process_log().flush();
    const auto failure = archiver_->failure(file);
    last_transaction_us_ = archiver_->last_transaction_us(file);
    ahead_.erase(file);
    archiver_->forget(file);
    if (failure)
        throw Error(*failure);
}

void ArchiveSession::confirm(const std::function<bool()> &stop) {
    // A standby has no lease: it stores what its primary stores too, and nobody's role depends on it.
    if (!in_recovery_)
        ensure_lease(*claim_, settings_, stop);
}

void ArchiveSession::recheck() {
    if (!in_recovery_) {
        check_lease(claim_->epoch);
        return;
    }
    if (check_ && check_->done()) {
        const std::unique_ptr<MainTask> ended = std::move(check_);
        checked_ms_ = boot_time_ms();
        ended->finish();
    }
    if (check_ || boot_time_ms() - checked_ms_ < kRecheckMs)
        return;
    check_ = std::make_unique<MainTask>([claim = *claim_](const CancelToken &cancel) { check_each(claim, cancel); });
}

} // namespace pgvigil
