// The options that say which moment to restore to; restore and plan share them.
// Threading: the main thread. Errors: kInvalidArgument naming the option, the value and what was expected.
#pragma once

#include "base/cancel.h"
#include "base/log.h"
#include "repo/repository.h"
#include "transfer/restore_planning.h"

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace pgvigil::cli {

struct TargetOptions {
    std::string time;
    std::string lsn;
    std::string xid;
    std::string name;
    bool immediate = false;
    bool inclusive = false;
    bool exclusive = false;
    std::string timeline = "latest";
    std::string backup;
};

void add_target_options(CLI::App &command, TargetOptions &options);
[[nodiscard]] RestoreRequest restore_request(const TargetOptions &options);

// The plan over all repositories that can be read; what cannot is left out with a warning.
using Planned = PlannedRestore;
[[nodiscard]] Planned make_plan(const std::vector<std::shared_ptr<Repository>> &repositories,
                                const RestoreRequest &request, LogSink &log, const CancelToken &cancel);

// What a plan says, one line each.
[[nodiscard]] std::vector<std::string> describe_plan(const Planned &planned);
[[nodiscard]] std::string plan_json(const Planned &planned);

} // namespace pgvigil::cli
