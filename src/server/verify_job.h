// Verification as a job of the schedule: every backup that can be restored, newest first. Threading: the main thread
// of the job's worker; the core reads in threads.
#pragma once

#include "server/job_result.h"
#include "server/server_facts.h"
#include "server/settings.h"

#include "transfer/verify.h"

#include <functional>
#include <string>
#include <vector>

namespace pgvigil {

// Throws what keeps it from coming to an end; what it finds is the result's problem.
[[nodiscard]] JobResult run_verify_job(const Settings &settings, const ServerFacts &facts,
                                       const std::function<bool()> &stop);

// What the history says of these verdicts.
[[nodiscard]] JobResult verify_result(const std::vector<VerifyVerdict> &verdicts);

// The same for `backup` and its ancestors, or all backups where it is empty, in every repository. Any thread.
[[nodiscard]] std::vector<VerifyVerdict> verify_all(const Settings &settings, const ServerFacts &facts,
                                                    const std::string &backup, const VerifyOptions &options,
                                                    const CancelToken &cancel);

} // namespace pgvigil
