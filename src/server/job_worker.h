// The process that runs one expiry or verification: the core does the work in threads, the outcome goes to the job slot
// of shared memory. One of each, beside a backup. Cancelled by SIGINT or SIGTERM within a second.
// Threading: the main threads of the scheduler and of the worker.
#pragma once

#include "server/pg.h"

#include "repo/job_kind.h"

#include <cstdint>
#include <optional>

namespace pgvigil {

// Takes the slot and starts the worker; nullopt while another job of that kind runs. Throws kBusy when no worker can be
// started.
[[nodiscard]] std::optional<uint64_t> start_job_worker(JobKind kind);
// Notices workers that died or never started.
void check_job_workers();
// Ends the job of this request.
void cancel_job(uint64_t request) noexcept;

} // namespace pgvigil

extern "C" PGDLLEXPORT void pgv_job_worker_main(Datum argument);
