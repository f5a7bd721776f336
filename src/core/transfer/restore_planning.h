// One restore plan over all repositories of a cluster: what one of them lacks another may have. Servers and the program
// plan with this, and restore does what it says. Threading: blocks; one thread.
// Errors: those of plan_restore() and of the stores.
#pragma once

#include "base/cancel.h"
#include "plan/restore_plan.h"
#include "repo/repository.h"

#include <memory>
#include <vector>

namespace pgvigil {

// A repository with its catalog as it was read.
struct PlanSource {
    std::shared_ptr<Repository> repository;
    Catalog catalog;
};

// A plan and what it was made from.
struct PlannedRestore {
    RestorePlan plan;
    Catalog catalog;      // of all sources together
    bool goes_on = false; // WAL exists behind the plan's end, after a gap, or of a former writer
};

// `sources` holds at least one.
[[nodiscard]] PlannedRestore plan_over(const std::vector<PlanSource> &sources, const RestoreRequest &request,
                                       const CancelToken &cancel);

} // namespace pgvigil
