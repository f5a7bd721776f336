// Expiry as the server runs it, for pgv_expire() and for the scheduler: only the writer, in every repository it
// reaches, by the settings retention_*. Threading: the main thread of a session or worker; the work runs in a thread.
#pragma once

#include "transfer/expire.h"

#include <functional>
#include <string>
#include <vector>

namespace pgvigil {

struct ExpireOrder {
    bool dry_run = true;
    bool confirm = false;
};

struct RepositoryExpiry {
    std::string repository; // for people
    ExpireReport report;
};

struct ExpireResult {
    std::vector<RepositoryExpiry> repositories;

    // Of all repositories together.
    [[nodiscard]] uint64_t deleted_objects() const;
    [[nodiscard]] uint64_t deleted_bytes() const;
    [[nodiscard]] std::string summary() const;
};

// `stop` is asked after every wake-up: when it returns true the run ends with kCancelled. Throws kNotWriter where this
// server may not expire. A repository that fails does not keep the others from being expired: its error is thrown at
// the end.
[[nodiscard]] ExpireResult run_expire_job(const ExpireOrder &order, const std::function<bool()> &stop = {});

} // namespace pgvigil
