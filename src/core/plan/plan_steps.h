// A restore's plan as steps for people and programs: what is fetched, written and replayed, with objects, bytes and an
// estimate of the time. Threading: pure functions.
#pragma once

#include "plan/restore_plan.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct PlanStep {
    std::string action; // fetch backup, write files, fetch WAL, replay WAL, stop, total
    std::string object;
    std::optional<uint64_t> objects;
    std::optional<uint64_t> bytes;
    std::optional<double> seconds; // an estimate, see MeasuredRate
    std::string detail;
};

// How fast this cluster's backups went into the repository; stored bytes a second.
struct MeasuredRate {
    double bytes_per_second = 0; // 0: none is known
    std::string basis;           // for people: what was measured
};

// Of the newest full backup that took a second or more; else the backup that stored most.
[[nodiscard]] MeasuredRate measured_rate(const Catalog &catalog);

// Bytes of backups are those they stored: of all but the newest in a chain, at most so much is read, as newer ones
// replace a part. Bytes of WAL are those of whole segments before compression.
[[nodiscard]] std::vector<PlanStep> plan_steps(const Catalog &catalog, const RestorePlan &plan);

} // namespace pgvigil
