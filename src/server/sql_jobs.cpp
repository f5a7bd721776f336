// The views of the jobs and their history, and pgv_verify().
#include "server/pg.h"

#include "server/boundary.h"
#include "server/job_file.h"
#include "server/repositories.h"
#include "server/session_job.h"
#include "server/shared_state.h"
#include "server/sql_rows.h"
#include "server/verify_job.h"
#include "server/waiting.h"

namespace pgvigil {

namespace {

Cell name_cell(std::string_view name) {
    return Cell(std::string(name));
}

Rows job_rows() {
    (void)require_shared_state();
    Rows rows;
    for (const JobKind kind : kEveryJobKind) {
        SharedJob job{};
        char zone[sizeof(SharedScheduler::time_zone)] = "";
        char webhook_error[kTextBytes] = "";
        SharedJob *const target = &job;
        const auto index = static_cast<size_t>(kind);
        with_lock(LW_SHARED, [&, index](SharedState &shared) noexcept {
            *target = shared.scheduler.jobs[index];
            set_text(zone, shared.scheduler.time_zone);
            set_text(webhook_error, shared.scheduler.webhook_error);
        });
        rows.push_back({name_cell(job_name(kind)), cell(job.schedule), cell(zone), timestamp_cell(job.next_run),
                        cell(job.running_since != 0), timestamp_cell(job.running_since), timestamp_cell(job.due_since),
                        cell(job.note), timestamp_cell(job.last_run), cell(job.last_outcome),
                        timestamp_cell(job.last_success), cell(job.failures), cell(job.last_error),
                        timestamp_cell(job.retry_at), cell(webhook_error)});
    }
    return rows;
}

Rows history_rows() {
    (void)require_shared_state();
    Rows rows;
    const JobLog log = read_job_file(DataDir);
    for (auto run = log.runs().rbegin(); run != log.runs().rend(); ++run)
        rows.push_back({name_cell(job_name(run->kind)), cell(run->backup_id), name_cell(trigger_name(run->trigger)),
                        unix_ms_cell(run->slot_s * 1000), unix_ms_cell(run->started_ms), unix_ms_cell(run->ended_ms),
                        name_cell(outcome_name(run->outcome)), cell(run->bytes), cell(run->message), cell(run->node)});
    return rows;
}

Rows verify_rows(const std::string &backup) {
    const Settings settings = current_settings();
    if (settings.repositories.empty())
        throw no_repository_error();
    const ServerFacts facts = server_facts();
    VerifyOptions options;
    options.threads = settings.backup_threads;
    options.max_rate = settings.max_rate;
    const auto verdicts = run_in_session(JobKind::kVerify, backup, [&](SessionJob &job) {
        auto found = in_background(
            [&](const CancelToken &cancel) { return verify_all(settings, facts, backup, options, cancel); });
        const JobResult result = verify_result(found);
        if (result.problem) {
            ErrorReport report;
            describe_error(*result.problem, report);
            job.fail(report);
        } else {
            job.succeed(result.bytes, result.message);
        }
        return found;
    });
    Rows rows;
    for (const VerifyVerdict &verdict : verdicts) {
        const bool good = verdict.problems.empty();
        rows.push_back({Cell(verdict.repository), Cell(verdict.backup_id), cell(good), cell(verdict.objects),
                        cell(verdict.bytes), std::nullopt,
                        verdict.expired ? Cell("expired meanwhile")
                        : good          ? std::nullopt
                               : Cell(std::to_string(verdict.problems.size() + verdict.more_problems) + " problems")});
        for (const VerifyProblem &problem : verdict.problems)
            rows.push_back({Cell(verdict.repository), Cell(verdict.backup_id), cell(false), std::nullopt, std::nullopt,
                            Cell(problem.object), Cell(problem.problem)});
    }
    return rows;
}

} // namespace

} // namespace pgvigil

extern "C" {
PG_FUNCTION_INFO_V1(pgv_read_jobs);
PG_FUNCTION_INFO_V1(pgv_read_job_history);
PG_FUNCTION_INFO_V1(pgv_verify);

Datum pgv_read_jobs(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::job_rows()); });
}
Datum pgv_read_job_history(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] { return pgvigil::return_rows(fcinfo, pgvigil::history_rows()); });
}
Datum pgv_verify(PG_FUNCTION_ARGS) {
    return pgvigil::cpp_section([&] {
        const std::string backup = PG_ARGISNULL(0) ? "" : pgvigil::text_argument(fcinfo, 0, "backup_id");
        return pgvigil::return_rows(fcinfo, pgvigil::verify_rows(backup));
    });
}
}
