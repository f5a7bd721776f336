#include "server/pg.h"

#include "server/job_watch.h"

#include "server/boundary.h"
#include "server/job_file.h"
#include "server/server_facts.h"

#include "base/time.h"

#include <algorithm>
#include <cstring>

namespace pgvigil {

namespace {

int64_t unix_ms(TimestampTz time) noexcept {
    return time == 0 ? 0 : unix_us_from_postgres(time) / 1000;
}

bool is_live(BackupState state) noexcept {
    return state == BackupState::kRequested || state == BackupState::kRunning;
}

} // namespace

// One slot of shared memory, copied below the lock.
struct JobWatch::View {
    bool is_backup = true;
    BackupState state = BackupState::kFree;
    JobKind kind = JobKind::kFull;
    JobTrigger trigger = JobTrigger::kManual;
    uint64_t request = 0;
    bool cancelled = false;
    bool in_vain = false;
    TimestampTz requested_at = 0;
    TimestampTz started_at = 0;
    TimestampTz ended_at = 0;
    uint64_t bytes = 0;
    uint64_t bytes_read = 0;
    char id[40] = "";
    char message[kTextBytes] = "";
    ErrorReport error;

    [[nodiscard]] int64_t began_ms() const noexcept { return unix_ms(requested_at); }
};

std::vector<JobWatch::View> JobWatch::views() const {
    std::vector<View> views(kBackupSlots + kJobSlots);
    uint64_t recorded_backup = 0;
    View *const list = views.data();
    with_lock(LW_SHARED, [&, list](SharedState &shared) noexcept {
        recorded_backup = shared.scheduler.recorded_backup;
        for (unsigned i = 0; i < kBackupSlots; ++i) {
            const BackupSlot &slot = shared.slots[i];
            View &view = list[i];
            view.state = slot.state;
            view.kind = slot.wanted == WantedKind::kFull ? JobKind::kFull : JobKind::kIncremental;
            view.trigger = slot.trigger;
            view.request = slot.request;
            view.cancelled = slot.cancel.load();
            view.requested_at = slot.requested_at;
            view.started_at = slot.started_at;
            view.ended_at = slot.ended_at;
            view.bytes = slot.progress.bytes_stored.load();
            view.bytes_read = slot.progress.bytes_done.load();
            set_text(view.id, slot.id);
            view.error = slot.error;
        }
        for (unsigned i = 0; i < kJobSlots; ++i) {
            const JobSlot &slot = shared.jobs[i];
            View &view = list[kBackupSlots + i];
            view.is_backup = false;
            view.state = slot.recorded ? BackupState::kFree : slot.state;
            view.kind = slot.kind;
            view.trigger = slot.trigger;
            view.request = slot.request;
            view.cancelled = slot.cancel.load();
            view.in_vain = slot.in_vain;
            view.requested_at = slot.requested_at;
            view.started_at = slot.started_at;
            view.ended_at = slot.ended_at;
            view.bytes = slot.bytes;
            set_text(view.id, slot.id);
            set_text(view.message, slot.message);
            view.error = slot.error;
        }
    });
    std::erase_if(views, [&](const View &view) {
        return view.state == BackupState::kFree || (view.is_backup && view.request <= recorded_backup);
    });
    std::sort(views.begin(), views.end(), [](const View &a, const View &b) { return a.requested_at < b.requested_at; });
    return views;
}

std::vector<EndedJob> JobWatch::start() {
    try {
        log_ = read_job_file(DataDir);
    } catch (const Error &error) {
        ErrorReport report;
        describe_error(error, report);
        warn(report, "pgvigil scheduler: the history of jobs begins anew");
        changed_ = true;
    }
    // What still runs, or has ended unseen, goes on to be watched: only this process was restarted.
    const std::vector<View> live = views();
    std::vector<EndedJob> interrupted;
    for (const OpenJob &job : log_.close_all()) {
        const bool known = std::any_of(live.begin(), live.end(), [&](const View &view) {
            return view.request == job.request && view.is_backup == is_backup_job(job.kind) &&
                   view.began_ms() == job.started_ms;
        });
        if (known) {
            log_.open(job);
            continue;
        }
        changed_ = true;
        EndedJob &ended = interrupted.emplace_back();
        ended.run.kind = job.kind;
        ended.run.trigger = job.trigger;
        ended.run.outcome = JobOutcome::kInterrupted;
        ended.run.slot_s = job.slot_s;
        ended.run.started_ms = job.started_ms;
        ended.run.message = "the server was stopped or crashed while it ran";
        ended.run.node = server_facts().host;
        log_.add(ended.run);
    }
    save();
    return interrupted;
}

void JobWatch::end(const View &view, EndedJob &ended) {
    const bool failed = view.state == BackupState::kFailed;
    JobRun &run = ended.run;
    run.kind = view.kind;
    if (view.is_backup && view.trigger != JobTrigger::kSchedule && view.id[0] != '\0')
        run.kind = strchr(view.id, 'I') != nullptr ? JobKind::kIncremental : JobKind::kFull;
    run.trigger = view.trigger;
    const auto service = std::find_if(services_.begin(), services_.end(), [&](const Service &entry) {
        return entry.request == view.request && is_backup_job(entry.kind) == view.is_backup;
    });
    if (service != services_.end()) {
        run.slot_s = service->slot_s;
        services_.erase(service);
    }
    if (const auto open = log_.close(view.request, view.kind); open && run.slot_s == 0)
        run.slot_s = open->slot_s;
    ended.by_shutdown = failed && strstr(view.error.message, "shutdown request") != nullptr;
    run.outcome = !failed             ? JobOutcome::kSucceeded
                  : ended.by_shutdown ? JobOutcome::kInterrupted
                  : view.cancelled    ? JobOutcome::kCancelled
                                      : JobOutcome::kFailed;
    run.started_ms = unix_ms(view.started_at != 0 ? view.started_at : view.requested_at);
    run.ended_ms = unix_ms(view.ended_at);
    run.backup_id = failed ? "" : view.id;
    run.bytes = view.bytes;
    run.message = failed ? view.error.message : view.message;
    if (failed && view.error.detail[0] != '\0')
        run.message += std::string(": ") + view.error.detail;
    run.node = server_facts().host;
    ended.request = view.request;
    ended.bytes_read = view.bytes_read;
    ended.in_vain = view.in_vain;
    log_.add(run);
    changed_ = true;
}

std::vector<EndedJob> JobWatch::look() {
    std::vector<EndedJob> all;
    uint64_t backups = 0;
    std::vector<uint64_t> jobs;
    for (const View &view : views()) {
        if (!is_live(view.state)) {
            end(view, all.emplace_back());
            if (view.is_backup)
                backups = view.request;
            else
                jobs.push_back(view.request);
            continue;
        }
        const auto &open = log_.open_jobs();
        const bool known = std::any_of(open.begin(), open.end(), [&](const OpenJob &job) {
            return job.request == view.request && is_backup_job(job.kind) == view.is_backup;
        });
        if (known)
            continue;
        OpenJob job{view.kind, view.trigger, 0, view.began_ms(), view.request};
        for (const Service &service : services_)
            if (service.request == view.request && is_backup_job(service.kind) == view.is_backup)
                job.slot_s = service.slot_s;
        log_.open(job);
        changed_ = true;
    }
    save();
    const std::vector<uint64_t> *const ended = &jobs;
    if (backups != 0 || !jobs.empty())
        with_lock(LW_EXCLUSIVE, [=](SharedState &shared) noexcept {
            shared.scheduler.recorded_backup = std::max(shared.scheduler.recorded_backup, backups);
            for (JobSlot &slot : shared.jobs)
                slot.recorded = slot.recorded || std::find(ended->begin(), ended->end(), slot.request) != ended->end();
        });
    return all;
}

void JobWatch::add(const JobRun &run) {
    log_.add(run);
    changed_ = true;
}

void JobWatch::add_elsewhere(const JobRun &run) {
    log_.add_elsewhere(run);
    changed_ = true;
}

void JobWatch::serves(uint64_t request, JobKind kind, int64_t slot_s) {
    services_.push_back({request, kind, slot_s});
}

void JobWatch::save() {
    if (!changed_)
        return;
    ErrorReport report;
    if (cpp_attempt([this] { write_job_file(DataDir, log_); }, report)) {
        changed_ = false;
        complained_ = false;
        return;
    }
    // The jobs matter more than their history: it is written again at the next change, and said once.
    if (!complained_)
        warn(report, "pgvigil scheduler: could not write the history of jobs");
    complained_ = true;
}

} // namespace pgvigil
