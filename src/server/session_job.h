// An expiry or a verification that a session runs itself, made known to the scheduler: it stands in the history and the
// webhook is told, as for the jobs of the schedule. Where all slots are taken, or pgvigil is not preloaded, it just
// runs. Threading: the session's main thread.
#pragma once

#include "server/boundary.h"

#include "repo/job_kind.h"

#include <cstdint>
#include <string>

namespace pgvigil {

class SessionJob {
  public:
    // `backup`: the one that was asked for; empty for all.
    SessionJob(JobKind kind, const std::string &backup);
    SessionJob(const SessionJob &) = delete;
    SessionJob &operator=(const SessionJob &) = delete;

    // What the history shows of it: bytes freed or read, and a line.
    void succeed(uint64_t bytes, const std::string &message) noexcept;
    void fail(const ErrorReport &report) noexcept;
    // To be called in a catch block.
    void fail_by_current_exception() noexcept;

  private:
    uint64_t request_ = 0;
};

// Runs `body(job)`, which ends `job` itself unless it throws.
template <class F> auto run_in_session(JobKind kind, const std::string &backup, F body) {
    SessionJob job(kind, backup);
    try {
        return body(job);
    } catch (...) {
        job.fail_by_current_exception();
        throw;
    }
}

} // namespace pgvigil
