#include "server/pg.h"

#include "server/schedule_runner.h"

#include "server/boundary.h"
#include "server/job_worker.h"
#include "server/schedule_status.h"
#include "server/server_facts.h"
#include "server/shared_state.h"
#include "server/waiting.h"

#include "base/time.h"

#include <algorithm>

namespace pgvigil {

namespace {

constexpr int64_t kLookAgainMs = 15000;
constexpr int64_t kShortestLookMs = 2000;
constexpr int64_t kShortestRetryMs = 2000;

// How long to leave another node's run alone before it is looked at again: soon at first, then twice a minute.
int64_t look_pause(int64_t waited_ms) noexcept {
    return std::min(kShortestLookMs + waited_ms / 8, 2 * kLookAgainMs);
}

int64_t job_renewal_ms() noexcept {
    return job_takeover_ms() / kJobRenewalsInTerm;
}

int64_t now_s() noexcept {
    return unix_time_ms() / 1000;
}

bool must_stop() noexcept {
    return ShutdownRequestPending != 0 || ConfigReloadPending != 0;
}

// Only a node that takes part in writing the repository runs jobs: a detached copy never does (rules C3).
std::optional<NodeRole> node_role() {
    WriterRole role = WriterRole::kUnknown;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept { role = shared.writer.role; });
    if (role == WriterRole::kStandby)
        return NodeRole::kStandby;
    // Without archiving a backup would wait for its WAL in vain.
    if (role == WriterRole::kWriter && archives_with_pgvigil())
        return NodeRole::kWriter;
    return std::nullopt;
}

bool backup_is_running() {
    bool running = false;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        for (const BackupSlot &slot : shared.slots)
            running = running || slot.state == BackupState::kRequested || slot.state == BackupState::kRunning;
    });
    return running;
}

bool first_backup_is_missing() {
    bool missing = false;
    with_lock(LW_SHARED, [&](SharedState &shared) noexcept {
        missing = shared.keeper.catalog_time == 0 || shared.keeper.backups == 0;
    });
    return missing;
}

} // namespace

void ScheduleRunner::start() {
    for (const EndedJob &ended : watch_.start())
        tell(ended);
    // A scheduled job that outlived the scheduler is this server's still.
    for (const OpenJob &open : watch_.log().open_jobs()) {
        if (open.trigger != JobTrigger::kSchedule || open.slot_s == 0)
            continue;
        Active active;
        active.kind = open.kind;
        active.slot_s = open.slot_s;
        active.request = open.request;
        active_of(open.kind) = active;
    }
}

void ScheduleRunner::read_settings() {
    if (settings_read_)
        return;
    settings_ = current_schedule();
    ErrorReport report;
    // A zone that was set is known; log_timezone may be one that only the server itself understands.
    if (!cpp_attempt([this] { zone_ = load_schedule_zone(settings_.time_zone); }, report)) {
        warn(report, "pgvigil's schedules follow UTC");
        settings_.time_zone = "UTC";
        zone_ = load_schedule_zone(settings_.time_zone);
    }
    for (const JobKind kind : kEveryJobKind) {
        const auto index = static_cast<size_t>(kind);
        const std::string &text = settings_.expressions[index];
        schedules_[index].expression.reset();
        if (!text.empty())
            schedules_[index].expression = CronExpression::parse(text);
        const std::string identity = text.empty() ? "" : text + " " + settings_.time_zone;
        if (watch_.log().set_schedule(kind, identity, now_s())) {
            watch_.touch();
            pending_[index] = {};
        }
    }
    watch_.save();
    settings_read_ = true;
}

bool ScheduleRunner::tick() {
    collect();
    return must_stop();
}

void ScheduleRunner::cycle() {
    read_settings();
    collect();
    if (const auto role = node_role(); role && repository_setting()[0] != '\0')
        run_due(*role);
    for (std::optional<Active> &active : active_)
        renew(active);
    claiming_.send_ends([this] { return tick(); });
    publish();
}

void ScheduleRunner::collect() {
    if (auto &backup = active_of(JobKind::kFull); backup && backup->ticket)
        (void)backup->ticket->look();
    check_job_workers();
    for (const EndedJob &ended : watch_.look())
        record(ended);
    webhook_.pump(server_facts());
}

void ScheduleRunner::tell(const EndedJob &ended) {
    const ServerFacts facts = server_facts();
    WebhookNotice notice;
    notice.run = ended.run;
    notice.cluster = cluster_name == nullptr ? "" : cluster_name;
    notice.system_identifier = facts.system_identifier;
    notice.host = facts.host;
    notice.bytes_read = ended.bytes_read;
    notice.failures = watch_.log().failures(ended.run.kind);
    notice.product_version = PGVIGIL_VERSION;
    webhook_.tell(notice);
}

void ScheduleRunner::record(const EndedJob &ended) {
    if (auto &active = active_of(ended.run.kind); active && active->request == ended.request)
        end_active(active, ended);
    tell(ended);
}

void ScheduleRunner::end_active(std::optional<Active> &active, const EndedJob &ended) {
    const JobRun &run = ended.run;
    const Active job = *active;
    active.reset();
    const bool over =
        run.outcome == JobOutcome::kSucceeded || (run.outcome == JobOutcome::kCancelled && !job.lost) || ended.in_vain;
    JobEntry entry;
    entry.state = run.outcome == JobOutcome::kSucceeded ? JobEntryState::kSucceeded
                  : over                                ? JobEntryState::kGivenUp
                                                        : JobEntryState::kFailed;
    entry.ended_ms = run.ended_ms;
    entry.backup_id = run.backup_id;
    entry.bytes = run.bytes;
    entry.message = run.message;
    if (!job.lost && !ended.by_shutdown)
        claiming_.end(job.kind, job.slot_s, entry);
    Pending &state = pending(job.kind);
    if (over) {
        (void)watch_.log().set_handled(job.kind, job.slot_s);
        watch_.touch();
        watch_.save();
        state = {};
        return;
    }
    retry_later(state);
}

// What a clock that was ahead has left behind.
void ScheduleRunner::forget_future() {
    if (watch_.log().forget_future(now_s()))
        watch_.touch();
    for (Pending &state : pending_)
        if (state.slot_s > now_s())
            state = {};
}

void ScheduleRunner::retry_later(Pending &state) {
    const int64_t pause = kShortestRetryMs + state.backoff.next().count();
    state.next_ms = boot_time_ms() + pause;
    state.retry_at_ms = unix_time_ms() + pause;
}

void ScheduleRunner::run_due(NodeRole role) {
    forget_future();
    for (const JobKind kind : kEveryJobKind)
        schedules_[static_cast<size_t>(kind)].handled_s = watch_.log().handled(kind);
    const DueJobs jobs = due_jobs(schedules_, zone_, now_s());
    for (const DueJob &job : jobs.superseded)
        if (watch_.log().set_handled(job.kind, job.slot_s)) {
            watch_.touch();
            pending(job.kind) = {};
        }
    for (const DueJob &job : jobs.due) {
        if (must_stop())
            break;
        Pending &state = pending(job.kind);
        if (state.slot_s != job.slot_s) {
            state = {};
            state.slot_s = job.slot_s;
            state.known_ms = boot_time_ms();
        }
        if (state.next_ms > boot_time_ms())
            continue;
        ErrorReport report;
        if (!cpp_attempt([&] { consider(job, role); }, report) && !must_stop())
            could_not_begin(job, report);
    }
    watch_.save();
}

void ScheduleRunner::consider(const DueJob &job, NodeRole role) {
    Pending &state = pending(job.kind);
    const bool is_backup = is_backup_job(job.kind);
    if (active_of(job.kind) || (is_backup && backup_is_running())) {
        state.note = is_backup ? "waits for the backup that runs now" : "waits for the job that runs now";
        return;
    }
    // The keeper makes the first backup; it serves for whatever is due.
    if (is_backup && auto_first_backup() && role == NodeRole::kWriter && first_backup_is_missing()) {
        state.note = "waits for the first backup";
        return;
    }
    const MayStart may = may_start(job.kind, settings_.backup_from, role, boot_time_ms() - state.known_ms);
    if (may != MayStart::kNow) {
        const JobView view = claiming_.look(job.kind, job.slot_s, [this] { return tick(); });
        if (view.standing == JobStanding::kDone) {
            seen_elsewhere(job, view);
            return;
        }
        state.note = view.standing == JobStanding::kOther   ? "runs on " + view.entry.host
                     : view.standing == JobStanding::kAhead ? "is ahead of the store's clock"
                     : may == MayStart::kNever              ? "is left to another node"
                                                            : "is left to a standby for ten minutes";
        state.next_ms = boot_time_ms() + look_pause(boot_time_ms() - state.known_ms);
        return;
    }
    const JobClaiming::Attempt attempt = claiming_.try_claim(job.kind, job.slot_s, [this] { return tick(); });
    if (attempt.held) {
        state.note.clear();
        begin(job);
        return;
    }
    if (attempt.view.standing == JobStanding::kDone) {
        seen_elsewhere(job, attempt.view);
        return;
    }
    if (attempt.view.standing == JobStanding::kAhead)
        throw clock_error(job.slot_s, attempt.view);
    state.note = "runs on " + attempt.view.entry.host;
    state.next_ms = boot_time_ms() + look_pause(boot_time_ms() - state.known_ms);
}

void ScheduleRunner::begin(const DueJob &job) {
    Active active;
    active.kind = job.kind;
    active.slot_s = job.slot_s;
    active.next_renewal_ms = boot_time_ms() + job_renewal_ms();
    if (is_backup_job(job.kind)) {
        BackupRequest request;
        request.kind = job.kind == JobKind::kFull ? WantedKind::kFull : WantedKind::kIncremental;
        request.fast = false; // rules H2
        request.automatic = true;
        request.trigger = JobTrigger::kSchedule;
        request.role = "pgvigil";
        request.annotations = R"({"pgvigil.reason":"schedule"})";
        active.ticket.emplace(request);
        active.request = active.ticket->request();
    } else {
        const auto request = start_job_worker(job.kind);
        if (!request)
            throw Error(ErrorCode::kBusy, "another job is running");
        active.request = *request;
    }
    active_of(job.kind) = active;
    watch_.serves(active.request, job.kind, job.slot_s);
}

// The claim is given back, so that another node may try.
void ScheduleRunner::could_not_begin(const DueJob &job, const ErrorReport &report) {
    JobRun run;
    run.kind = job.kind;
    run.trigger = JobTrigger::kSchedule;
    run.outcome = JobOutcome::kFailed;
    run.slot_s = job.slot_s;
    run.started_ms = run.ended_ms = unix_time_ms();
    run.message = report.message;
    if (report.detail[0] != '\0')
        run.message += std::string(": ") + report.detail;
    run.node = server_facts().host;
    const bool is_backup = is_backup_job(job.kind);
    active_of(job.kind).reset();
    JobEntry entry;
    entry.state = JobEntryState::kFailed;
    entry.ended_ms = run.ended_ms;
    entry.message = run.message;
    claiming_.end(job.kind, job.slot_s, entry);
    EndedJob ended;
    ended.run = run;
    watch_.add(run);
    tell(ended);
    retry_later(pending(job.kind));
    const std::string context =
        "pgvigil could not start the scheduled " + std::string(job_name(job.kind)) + (is_backup ? " backup" : " job");
    warn(report, context.c_str());
}

// Another node has run the slot: its row stands in the history here as well. A later slot's is another run's.
void ScheduleRunner::seen_elsewhere(const DueJob &job, const JobView &view) {
    const JobEntry &entry = view.entry;
    const bool own = entry.host == server_facts().host && entry.instance == claiming_.instance();
    if (view.same_slot && !own) {
        JobRun run;
        run.kind = job.kind;
        run.outcome = entry.state == JobEntryState::kSucceeded ? JobOutcome::kSucceeded : JobOutcome::kCancelled;
        run.slot_s = job.slot_s;
        run.started_ms = entry.started_ms;
        run.ended_ms = entry.ended_ms;
        run.backup_id = entry.backup_id;
        run.bytes = entry.bytes;
        run.message = entry.message;
        run.node = entry.host;
        watch_.add_elsewhere(run);
    }
    (void)watch_.log().set_handled(job.kind, job.slot_s);
    watch_.touch();
    pending(job.kind) = {};
}

void ScheduleRunner::renew(std::optional<Active> &active) {
    if (!active || active->lost || active->next_renewal_ms > boot_time_ms() || must_stop())
        return;
    const uint64_t request = active->request;
    const JobKind kind = active->kind;
    const int64_t slot = active->slot_s;
    bool still_own = true;
    ErrorReport report;
    const bool answered =
        cpp_attempt([&] { still_own = claiming_.renew(kind, slot, [this] { return tick(); }); }, report);
    // It may have ended meanwhile.
    if (!active || active->request != request)
        return;
    active->next_renewal_ms = boot_time_ms() + (answered ? job_renewal_ms() : kLookAgainMs);
    if (!answered || still_own)
        return;
    active->lost = true;
    describe_error(Error(ErrorCode::kConflict, "another node has taken this job over")
                       .detail("This one showed no sign of life in the repository for too long."),
                   report);
    warn(report, "pgvigil ends a scheduled job");
    if (is_backup_job(kind))
        cancel_request(request);
    else
        cancel_job(request);
}

void ScheduleRunner::publish() {
    std::array<ScheduleStatus, kJobKinds> all;
    for (const JobKind kind : kEveryJobKind) {
        const auto index = static_cast<size_t>(kind);
        ScheduleStatus &status = all[index];
        const Pending &state = pending_[index];
        status.schedule = settings_.expressions[index];
        if (schedules_[index].expression)
            status.next_run_s = schedules_[index].expression->next_after(now_s(), zone_).value_or(0);
        const auto &active = active_of(kind);
        if (active && active->kind == kind) {
            status.due_s = 0;
        } else if (state.slot_s > watch_.log().handled(kind)) {
            status.due_s = state.slot_s;
            status.retry_at_ms = state.retry_at_ms;
            status.note = state.note;
        }
    }
    publish_schedules(all, settings_.time_zone, watch_.log());
}

} // namespace pgvigil
