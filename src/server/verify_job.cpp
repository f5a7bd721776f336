#include "server/pg.h"

#include "server/verify_job.h"

#include "server/log_queue.h"
#include "server/repositories.h"
#include "server/waiting.h"

namespace pgvigil {

JobResult run_verify_job(const Settings &settings, const ServerFacts &facts, const std::function<bool()> &stop) {
    VerifyOptions options;
    options.threads = settings.backup_threads;
    options.max_rate = settings.max_rate;
    return verify_result(in_background(
        [&](const CancelToken &cancel) { return verify_all(settings, facts, "", options, cancel); }, stop));
}

JobResult verify_result(const std::vector<VerifyVerdict> &verdicts) {
    JobResult result;
    uint64_t backups = 0;
    uint64_t problems = 0;
    std::string first;
    for (const VerifyVerdict &verdict : verdicts) {
        ++backups;
        result.bytes += verdict.bytes;
        problems += verdict.problems.size() + verdict.more_problems;
        if (first.empty() && !verdict.problems.empty())
            first = "backup " + verdict.backup_id + ", \"" + verdict.problems.front().object +
                    "\": " + verdict.problems.front().problem;
    }
    result.message = std::to_string(backups) + (backups == 1 ? " backup was" : " backups were") + " read and checked";
    if (problems != 0)
        result.problem =
            Error(ErrorCode::kCorrupt, std::to_string(problems) +
                                           (problems == 1 ? " object of a backup is" : " objects of backups are") +
                                           " missing or damaged")
                .detail("The first is of " + first + ".")
                .hint("pgv_verify() and \"pgvigil verify\" list all of them.");
    return result;
}

std::vector<VerifyVerdict> verify_all(const Settings &settings, const ServerFacts &facts, const std::string &backup,
                                      const VerifyOptions &options, const CancelToken &cancel) {
    std::vector<VerifyVerdict> verdicts;
    std::optional<Error> missing;
    VerifyProgress progress;
    for (const auto &repository : open_for_reading(settings, facts, cancel)) {
        std::vector<std::string> ids;
        try {
            ids = backups_to_verify(*repository, backup, cancel);
        } catch (const Error &error) {
            if (error.code() != ErrorCode::kNotFound)
                throw;
            missing = error;
        }
        for (const std::string &id : ids) {
            VerifyVerdict verdict = verify_backup(repository, id, options, progress, process_log(), cancel);
            if (!verdict.expired)
                verdicts.push_back(std::move(verdict));
        }
    }
    if (verdicts.empty() && missing)
        throw Error(*missing);
    return verdicts;
}

} // namespace pgvigil
