// Sees every backup and every other job begin and end, whoever asked for it, and writes the history. Threading: the
// scheduler's main thread.
#pragma once

#include "server/shared_state.h"

#include "plan/job_log.h"

#include <cstdint>
#include <vector>

namespace pgvigil {

// A run that is over and stands in the history now.
struct EndedJob {
    JobRun run;
    uint64_t request = 0;    // 0: it was found to have been interrupted
    uint64_t bytes_read = 0; // of a backup
    bool in_vain = false;    // it failed, and would fail in the same way again
    bool by_shutdown = false;
};

class JobWatch {
  public:
    // Reads the file, and what a crash has left open in it. A file that makes no sense is reported and replaced.
    [[nodiscard]] std::vector<EndedJob> start();
    // What has ended since the last call.
    [[nodiscard]] std::vector<EndedJob> look();
    // A run that no slot shows: one that could not begin, and one of another node.
    void add(const JobRun &run);
    void add_elsewhere(const JobRun &run);
    // Which slot of the schedule a request serves: to be called right after it was made.
    void serves(uint64_t request, JobKind kind, int64_t slot_s);

    [[nodiscard]] JobLog &log() noexcept { return log_; }
    // Writes the file when the log has changed; a failure is reported once and tried again later.
    void save();
    void touch() noexcept { changed_ = true; }

  private:
    struct View;
    [[nodiscard]] std::vector<View> views() const;
    void end(const View &view, EndedJob &ended);

    JobLog log_;
    bool changed_ = false;
    bool complained_ = false;
    struct Service {
        uint64_t request;
        JobKind kind;
        int64_t slot_s;
    };
    std::vector<Service> services_;
};

} // namespace pgvigil
