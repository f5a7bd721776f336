#include "plan/job_log.h"

#include "repo/envelope.h"
#include "repo/json_fields.h"

#include <algorithm>
#include <utility>

namespace pgvigil {

namespace {

constexpr std::array<std::string_view, 4> kTriggers = {"schedule", "manual", "first backup", "gap"};
constexpr std::array<std::string_view, 4> kOutcomes = {"succeeded", "failed", "cancelled", "interrupted"};

template <size_t N>
size_t index_of(const std::array<std::string_view, N> &names, const Json &object, const char *name,
                std::string_view what) {
    const auto found = std::find(names.begin(), names.end(), fields::text_member(object, name, what));
    if (found == names.end())
        throw fields::bad_member(name, what);
    return static_cast<size_t>(found - names.begin());
}

JobKind kind_of(const Json &object, std::string_view what) {
    const auto kind = parse_job_name(fields::text_member(object, "job", what));
    if (!kind)
        throw fields::bad_member("job", what);
    return *kind;
}

// 0 stands for "none".
Json optional_time(int64_t unix_ms) {
    return unix_ms == 0 ? Json() : fields::time_value(unix_ms);
}

int64_t optional_time(const Json &object, const char *name, std::string_view what) {
    return fields::member(object, name, what).is_null() ? 0 : fields::time_member(object, name, what);
}

Json encode_run(const JobRun &run) {
    return {{"job", job_name(run.kind)},
            {"trigger", trigger_name(run.trigger)},
            {"outcome", outcome_name(run.outcome)},
            {"slot", optional_time(run.slot_s * 1000)},
            {"started", optional_time(run.started_ms)},
            {"ended", optional_time(run.ended_ms)},
            {"backup", run.backup_id},
            {"bytes", run.bytes},
            {"message", fields::text_value(run.message)},
            {"node", fields::text_value(run.node)}};
}

JobRun decode_run(const Json &source, std::string_view what) {
    JobRun run;
    run.kind = kind_of(source, what);
    run.trigger = static_cast<JobTrigger>(index_of(kTriggers, source, "trigger", what));
    run.outcome = static_cast<JobOutcome>(index_of(kOutcomes, source, "outcome", what));
    run.slot_s = optional_time(source, "slot", what) / 1000;
    run.started_ms = optional_time(source, "started", what);
    run.ended_ms = optional_time(source, "ended", what);
    run.backup_id = fields::text_member(source, "backup", what);
    run.bytes = fields::number<uint64_t>(source, "bytes", what);
    run.message = fields::text_member(source, "message", what);
    run.node = fields::text_member(source, "node", what);
    return run;
}

} // namespace

std::string_view trigger_name(JobTrigger trigger) noexcept {
    return kTriggers[static_cast<size_t>(trigger)];
}

std::string_view outcome_name(JobOutcome outcome) noexcept {
    return kOutcomes[static_cast<size_t>(outcome)];
}

std::string JobLog::encode() const {
    Json jobs = Json::object();
    for (const JobKind kind : kEveryJobKind) {
        const Job &job = jobs_[static_cast<size_t>(kind)];
        jobs[std::string(job_name(kind))] = {{"schedule", job.schedule},
                                             {"handled_until", optional_time(job.handled_s * 1000)}};
    }
    Json open = Json::array();
    for (const OpenJob &job : open_)
        open.push_back({{"job", job_name(job.kind)},
                        {"trigger", trigger_name(job.trigger)},
                        {"slot", optional_time(job.slot_s * 1000)},
                        {"started", optional_time(job.started_ms)},
                        {"request", job.request}});
    Json runs = Json::array();
    for (const JobRun &run : runs_)
        runs.push_back(encode_run(run));
    const Json document = {
        {"format", kRepositoryFormat}, {"place", place_}, {"jobs", jobs}, {"open", open}, {"runs", runs}};
    return document.dump(1, ' ') + "\n";
}

JobLog JobLog::decode(std::string_view text, std::string_view name) {
    const Json source = parse_json(text, name);
    fields::check_format(source, name);
    JobLog log;
    log.place_ = fields::text_member(source, "place", name);
    const Json &jobs = fields::object_member(source, "jobs", name);
    for (const JobKind kind : kEveryJobKind) {
        const Json &job = fields::object_member(jobs, std::string(job_name(kind)).c_str(), name);
        log.jobs_[static_cast<size_t>(kind)] = {fields::text_member(job, "schedule", name),
                                                optional_time(job, "handled_until", name) / 1000};
    }
    for (const Json &item : fields::array_member(source, "open", name))
        log.open_.push_back({kind_of(item, name), static_cast<JobTrigger>(index_of(kTriggers, item, "trigger", name)),
                             optional_time(item, "slot", name) / 1000, optional_time(item, "started", name),
                             fields::number<uint64_t>(item, "request", name)});
    for (const Json &item : fields::array_member(source, "runs", name))
        log.runs_.push_back(decode_run(item, name));
    return log;
}

bool JobLog::set_schedule(JobKind kind, const std::string &text, int64_t now_s) {
    Job &job = jobs_[static_cast<size_t>(kind)];
    if (job.schedule == text)
        return false;
    job.schedule = text;
    job.handled_s = now_s;
    return true;
}

bool JobLog::set_handled(JobKind kind, int64_t until_s) {
    Job &job = jobs_[static_cast<size_t>(kind)];
    if (until_s <= job.handled_s)
        return false;
    job.handled_s = until_s;
    return true;
}

bool JobLog::forget_future(int64_t now_s) {
    bool changed = false;
    for (Job &job : jobs_)
        if (job.handled_s > now_s) {
            job.handled_s = now_s;
            changed = true;
        }
    return changed;
}

std::optional<OpenJob> JobLog::close(uint64_t request, JobKind kind) {
    const auto found = std::find_if(open_.begin(), open_.end(), [&](const OpenJob &job) {
        return job.request == request && is_backup_job(job.kind) == is_backup_job(kind);
    });
    if (found == open_.end())
        return std::nullopt;
    const OpenJob job = *found;
    open_.erase(found);
    return job;
}

std::vector<OpenJob> JobLog::close_all() {
    return std::exchange(open_, {});
}

void JobLog::cover(const JobRun &run, int64_t until_s) {
    if (run.outcome != JobOutcome::kSucceeded || !is_backup_job(run.kind))
        return;
    (void)set_handled(run.kind, until_s);
    // An incremental backup may have had to be a full one.
    if (run.kind == JobKind::kFull || run.backup_id.ends_with('F'))
        (void)set_handled(JobKind::kIncremental, until_s);
}

void JobLog::add(JobRun run) {
    cover(run, run.started_ms / 1000);
    keep(std::move(run));
}

void JobLog::add_elsewhere(JobRun run) {
    cover(run, run.slot_s);
    keep(std::move(run));
}

void JobLog::keep(JobRun run) {
    const JobKind kind = run.kind;
    runs_.push_back(std::move(run));
    const auto of_kind = [kind](const JobRun &other) { return other.kind == kind; };
    if (static_cast<size_t>(std::count_if(runs_.begin(), runs_.end(), of_kind)) > kMaxJobRuns)
        runs_.erase(std::find_if(runs_.begin(), runs_.end(), of_kind));
}

const JobRun *JobLog::last_run(JobKind kind) const noexcept {
    const auto found =
        std::find_if(runs_.rbegin(), runs_.rend(), [kind](const JobRun &run) { return run.kind == kind; });
    return found == runs_.rend() ? nullptr : &*found;
}

const JobRun *JobLog::last_success(JobKind kind) const noexcept {
    const auto found = std::find_if(runs_.rbegin(), runs_.rend(), [kind](const JobRun &run) {
        return run.kind == kind && run.outcome == JobOutcome::kSucceeded;
    });
    return found == runs_.rend() ? nullptr : &*found;
}

unsigned JobLog::failures(JobKind kind) const noexcept {
    unsigned count = 0;
    for (auto run = runs_.rbegin(); run != runs_.rend(); ++run) {
        if (run->kind != kind)
            continue;
        if (run->outcome != JobOutcome::kFailed)
            break;
        ++count;
    }
    return count;
}

} // namespace pgvigil
