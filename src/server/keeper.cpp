#include "server/pg.h"

#include "server/keeper.h"

#include "server/backup_requests.h"
#include "server/boundary.h"
#include "server/catalog_watch.h"
#include "server/disk_watch.h"
#include "server/gap_recorder.h"
#include "server/index_writer.h"
#include "server/lasting_worker.h"
#include "server/lease_rounds.h"
#include "server/lease_state.h"
#include "server/log_queue.h"
#include "server/promotion_gap.h"
#include "server/received_marks.h"
#include "server/role_watch.h"
#include "server/settings.h"
#include "server/shared_state.h"
#include "server/waiting.h"
#include "server/wal_gaps.h"

#include "base/backoff.h"
#include "base/time.h"

#include <optional>

namespace pgvigil {

namespace {

constexpr long kCycleMs = 2000;
constexpr int64_t kDiskMs = 5000;
constexpr int64_t kGapConfirmMs = 15000;
constexpr int64_t kGapMs = 5000;
constexpr int64_t kCatalogMs = 60000;
constexpr int64_t kIndexMs = 20000;
constexpr int64_t kReceivedMs = 20000;
constexpr int64_t kWakeArchiverMs = 10000;
constexpr std::chrono::milliseconds kFirstPause{5000};
constexpr std::chrono::milliseconds kLongestPause{60000};
constexpr std::chrono::milliseconds kLongestBackupPause{900000};

bool must_stop() {
    return ShutdownRequestPending != 0 || ConfigReloadPending != 0;
}

// A step of the keeper's work that is repeated, later and later while it fails.
class Step {
  public:
    Step(const char *what, std::chrono::milliseconds longest) : what_(what), backoff_(kFirstPause, longest) {}

    [[nodiscard]] bool due() const { return boot_time_ms() >= next_ms_; }
    void soon() { next_ms_ = 0; }
    void later(int64_t ms) { next_ms_ = boot_time_ms() + ms; }

    // Runs `body`; after a failure the error is shown and the step waits.
    template <class F> void run(int64_t period_ms, F &&body) {
        ErrorReport report;
        if (cpp_attempt(body, report)) {
            backoff_.reset();
            failing_ = false;
            if (next_ms_ <= boot_time_ms())
                later(period_ms);
            return;
        }
        if (must_stop())
            return;
        later(std::max<int64_t>(backoff_.next().count(), 1000));
        note(report);
    }

  private:
    void note(const ErrorReport &report) {
        const char *what = what_;
        // The log gets each new trouble once; the views show what holds.
        if (!failing_ || strcmp(last_, report.message) != 0)
            warn(report, what);
        failing_ = true;
        strlcpy(last_, report.message, sizeof last_);
        ErrorReport ignored;
        (void)cpp_attempt(
            [&] {
                with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
                    set_text(shared.keeper.last_error, report.message);
                    shared.keeper.last_error_time = GetCurrentTimestamp();
                });
            },
            ignored);
    }

    const char *what_;
    Backoff backoff_;
    int64_t next_ms_ = 0;
    bool failing_ = false;
    char last_[sizeof(ErrorReport::message)] = "";
};

class Keeper {
  public:
    void cycle();
    void settings_changed();
    // How long the keeper may sleep between two cycles, in ms.
    [[nodiscard]] long pause_ms() const;
    // What wakes the keeper beside its latch, or -1.
    [[nodiscard]] int event_fd() const { return marks_step_.due() ? marks_.event_fd() : -1; }

  private:
    // While a thread works: what must not wait for a store that does not answer.
    bool tick();
    void look_at_disk();
    void look_at_marks();
    void keep_lease();
    void look_at_catalog();
    void start_due_backup();
    void watch_automatic_backup();
    void wake_archiver();
    [[nodiscard]] bool full_is_due() const;

    DiskWatch disk_;
    RoleWatch role_;
    LeaseRounds lease_;
    ReceivedMarks marks_;
    CatalogSummary catalog_;
    std::optional<BackupTicket> ticket_;
    Step disk_step_{"could not watch the disk of pg_wal", kLongestPause};
    Step marks_step_{"could not look at what this standby has received", kLongestPause};
    Step received_step_{"could not ask which of the received WAL is stored", kLongestPause};
    Step role_step_{"could not settle who writes the repository", kLongestPause};
    Step catalog_step_{"could not read the repository's catalog", kLongestPause};
    Step index_step_{"could not write the index of the repository", kLongestPause};
    Step gap_step_{"could not record a gap of WAL in the repository", kLongestPause};
    Step backup_step_{"could not start an automatic backup", kLongestBackupPause};
    Backoff backup_backoff_{kFirstPause, kLongestBackupPause};
    Step ancestors_step_{"could not look for WAL that the former primary left behind", kLongestPause};
    int64_t woken_ms_ = 0;
    bool settled_ = false;
    bool gap_stays_ = false;
    bool ancestors_due_ = false;
};

void Keeper::settings_changed() {
    role_.settings_changed();
    lease_.forget();
    for (Step *step : {&role_step_, &catalog_step_, &gap_step_, &backup_step_})
        step->soon();
    catalog_ = {};
}

void Keeper::look_at_disk() {
    if (disk_step_.due())
        disk_step_.run(kDiskMs, [&] { disk_.look(server_facts()); });
}

void Keeper::look_at_marks() {
    if (marks_step_.due())
        marks_step_.run(0, [&] { marks_.look(); });
}

void wake_streamer() {
    with_lock(LW_SHARED, [](SharedState &shared) noexcept {
        if (shared.stream.latch != nullptr)
            SetLatch(shared.stream.latch);
    });
}

void Keeper::keep_lease() {
    const Claim *const claim = role_.claim();
    if (claim == nullptr) {
        lease_.forget();
        return;
    }
    const uint64_t epoch = claim->epoch;
    const bool lost_before = lease_state().lost_epoch >= epoch;
    lease_.poll(*claim, current_settings());
    // The role is settled anew at once: that says who the other one is.
    if (!lost_before && lease_state().lost_epoch >= epoch)
        role_step_.soon();
}

long Keeper::pause_ms() const {
    const long lease = lease_.pause_ms();
    return lease < 0 ? kCycleMs : std::min(kCycleMs, lease);
}

bool Keeper::tick() {
    look_at_disk();
    look_at_marks();
    keep_lease();
    wake_archiver();
    return must_stop();
}

void Keeper::cycle() {
    const auto stop = [this] { return tick(); };
    look_at_disk();
    if (repository_setting()[0] == '\0') {
        role_.publish_off();
        lease_.forget();
        marks_ = {};
        return;
    }
    look_at_marks();
    keep_lease();
    if (role_.wants_look())
        role_step_.soon();
    if (role_step_.due())
        role_step_.run(RoleWatch::kPeriodMs, [&] { role_.look(current_settings(), stop); });
    if (role_.just_settled()) {
        woken_ms_ = 0;
        ancestors_due_ = true;
        settled_ = true;
        // Nothing is acknowledged before the first round, and commits may wait for the streamer already: neither sleeps
        // on.
        keep_lease();
        wake_streamer();
    }
    if (ancestors_due_ && role_.is_writer() && archives_with_pgvigil() && ancestors_step_.due())
        ancestors_step_.run(0, [&] {
            (void)close_promotion_gap(current_settings(), server_facts(), stop);
            if (const Claim *claim = role_.claim())
                (void)archive_own_anew(Claim(*claim), server_facts(), stop);
            ancestors_due_ = false;
        });
    if (marks_.any_unsettled() && received_step_.due())
        received_step_.run(kReceivedMs, [&] { marks_.settle(current_settings(), server_facts(), stop); });
    bool requested = false;
    with_lock(LW_EXCLUSIVE, [&](SharedState &shared) noexcept {
        requested = shared.keeper.catalog_requested;
        shared.keeper.catalog_requested = false;
    });
    if (requested)
        catalog_step_.soon();
    if (catalog_step_.due())
        catalog_step_.run(kCatalogMs, [&] { look_at_catalog(); });
    if (index_step_.due() && role_.is_writer())
        index_step_.run(kIndexMs, [&] {
            // What was written is seen by the next reading, which tells what else is due.
            if (write_due_indexes(current_settings(), server_facts(), stop))
                catalog_step_.soon();
        });
    if (gap_step_.due() && role_.is_writer())
        gap_step_.run(kGapMs, [&] { record_gaps(current_settings(), server_facts(), stop); });
    watch_automatic_backup();
    if (backup_step_.due())
        backup_step_.run(kCycleMs, [&] { start_due_backup(); });
    wake_archiver();
}

void Keeper::look_at_catalog() {
    const Lsn before = catalog_.behind_a_gap;
    catalog_ = refresh_catalog(current_settings(), server_facts(), [this] { return tick(); });
    bool failing = false;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { failing = shared.archiver.failing_since != 0; });
    // Files on their way at the same time arrive in any order, and one that fails is tried again: only a gap that stays
    // while archiving goes well is one.
    gap_stays_ = !failing && before.is_valid() && catalog_.behind_a_gap.is_valid();
    if (catalog_.behind_a_gap.is_valid() && !gap_stays_)
        catalog_step_.later(kGapConfirmMs);
    const uint64_t behind = gap_stays_ ? catalog_.behind_a_gap.value : 0;
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept { shared.keeper.behind_a_gap = behind; });
}

// Rules H1, H2: the first backup of a cluster, and the one after a gap.
bool Keeper::full_is_due() const {
    if (!catalog_.readable || !role_.is_writer() || !archives_with_pgvigil())
        return false;
    if (catalog_.backups == 0)
        return auto_first_backup();
    return gap_stays_ || !read_gaps(DataDir).empty();
}

void Keeper::start_due_backup() {
    if (ticket_ || !full_is_due())
        return;
    BackupRequest request;
    request.kind = WantedKind::kFull;
    request.automatic = true;
    request.role = "pgvigil";
    request.trigger = catalog_.backups == 0 ? JobTrigger::kFirst : JobTrigger::kGap;
    request.annotations =
        catalog_.backups == 0 ? R"({"pgvigil.reason":"first backup"})" : R"({"pgvigil.reason":"gap"})";
    ticket_.emplace(request);
}

void Keeper::watch_automatic_backup() {
    if (!ticket_)
        return;
    const BackupReport report = ticket_->look();
    if (report.known && (report.state == BackupState::kRequested || report.state == BackupState::kRunning))
        return;
    ticket_.reset();
    // The catalog has to be read again before another backup may be due.
    catalog_.readable = false;
    catalog_step_.soon();
    if (report.known && report.state == BackupState::kDone) {
        backup_backoff_.reset();
        return;
    }
    role_step_.soon();
    backup_step_.later(kFirstPause.count() + backup_backoff_.next().count());
}

// After a failure the archiver sleeps for a minute: the store may be back long before.
void Keeper::wake_archiver() {
    bool failing = false;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { failing = shared.archiver.failing_since != 0; });
    if (((failing && role_.is_writer()) || settled_) && boot_time_ms() - woken_ms_ >= kWakeArchiverMs) {
        woken_ms_ = boot_time_ms();
        settled_ = false;
        pg_section([]() noexcept { PgArchWakeup(); });
    }
}

void leave(int /*code*/, Datum /*argument*/) {
    SharedState *const shared = shared_state();
    LWLockReleaseAll();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->keeper.pid = 0;
    shared->keeper.latch = nullptr;
    // The postmaster ends its workers before the archiver's last cycle: that one must not wait for a dead store. A
    // keeper that was ended for itself is started again and takes this back.
    shared->keeper.shutting_down = ShutdownRequestPending != 0;
    LWLockRelease(shared->lock);
}

void enter() {
    SharedState *const shared = shared_state();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->keeper.pid = MyProcPid;
    shared->keeper.latch = MyLatch;
    shared->keeper.shutting_down = false;
    shared->keeper.catalog_requested = true;
    LWLockRelease(shared->lock);
    before_shmem_exit(leave, 0);
}

void reload_if_asked(Keeper &keeper) {
    if (!ConfigReloadPending)
        return;
    pg_section([]() noexcept {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    });
    keeper.settings_changed();
}

void note_cycle() {
    const auto gaps = static_cast<uint32_t>(read_gaps(DataDir).size());
    with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
        shared.keeper.last_cycle = GetCurrentTimestamp();
        shared.keeper.gaps = gaps;
    });
}

void keep() {
    enter();
    Keeper keeper;
    while (!ShutdownRequestPending) {
        ErrorReport report;
        const bool fine = cpp_attempt(
            [&] {
                reload_if_asked(keeper);
                keeper.cycle();
                process_log().flush();
                note_cycle();
                wait_on_latch(keeper.event_fd(), keeper.pause_ms());
            },
            report);
        if (!fine && !ShutdownRequestPending) {
            warn(report, "pgvigil keeper");
            pg_usleep(100000);
        }
    }
}

} // namespace

void register_keeper() {
    register_lasting_worker("pgvigil keeper", "pgv_keeper_main", 5);
}

} // namespace pgvigil

void pgv_keeper_main(Datum /*argument*/) {
    pgvigil::begin_lasting_worker();
    pgvigil::keep();
    // Not 0: after that a worker is never started again.
    proc_exit(1);
}
