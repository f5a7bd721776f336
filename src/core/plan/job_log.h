// What a server remembers of its jobs over restarts: how far each schedule has been worked off, what runs, and the
// newest runs of each kind. The bytes of the file pgvigil.jobs in the data directory, as a value.
// Threading: an ordinary value. Errors: kCorrupt for text that is no such file.
#pragma once

#include "repo/job_kind.h"

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

inline constexpr size_t kMaxJobRuns = 100; // of each kind
inline constexpr std::string_view kJobLogFileName = "pgvigil.jobs";

enum class JobTrigger : uint8_t { kSchedule, kManual, kFirst, kGap };
enum class JobOutcome : uint8_t { kSucceeded, kFailed, kCancelled, kInterrupted };

[[nodiscard]] std::string_view trigger_name(JobTrigger trigger) noexcept;
[[nodiscard]] std::string_view outcome_name(JobOutcome outcome) noexcept;

struct JobRun {
    JobKind kind = JobKind::kFull;
    JobTrigger trigger = JobTrigger::kSchedule;
    JobOutcome outcome = JobOutcome::kSucceeded;
    int64_t slot_s = 0; // when the schedule wanted it, seconds since 1970 UTC; 0 for other triggers
    int64_t started_ms = 0;
    int64_t ended_ms = 0;
    std::string backup_id;
    uint64_t bytes = 0; // stored by a backup, freed by expiry, read by a verification
    std::string message;
    std::string node; // the host it ran on
};

// A run that has begun: what a crash leaves of it.
struct OpenJob {
    JobKind kind = JobKind::kFull;
    JobTrigger trigger = JobTrigger::kSchedule;
    int64_t slot_s = 0;
    int64_t started_ms = 0;
    uint64_t request = 0; // of the slot in shared memory that serves it
};

class JobLog {
  public:
    [[nodiscard]] static JobLog decode(std::string_view text, std::string_view name);
    [[nodiscard]] std::string encode() const;

    // Which data directory this is the memory of: a copy of the file in another one means nothing there.
    [[nodiscard]] const std::string &place() const noexcept { return place_; }
    void set_place(std::string place) { place_ = std::move(place); }

    // `text` identifies a schedule: expression and time zone. One that is new or has changed begins at `now_s`: what it
    // would have wanted before is not made up. True when something changed.
    bool set_schedule(JobKind kind, const std::string &text, int64_t now_s);
    [[nodiscard]] int64_t handled(JobKind kind) const noexcept { return jobs_[static_cast<size_t>(kind)].handled_s; }
    // Never goes back. True when something changed.
    bool set_handled(JobKind kind, int64_t until_s);
    // Takes back what a clock that was ahead has left: nothing after `now_s` has been worked off. True when something
    // changed.
    bool forget_future(int64_t now_s);

    void open(const OpenJob &job) { open_.push_back(job); }
    [[nodiscard]] const std::vector<OpenJob> &open_jobs() const noexcept { return open_; }
    // Takes it out of the open ones; nullopt when there is no such request.
    std::optional<OpenJob> close(uint64_t request, JobKind kind);
    std::vector<OpenJob> close_all();

    // A successful backup covers the slots that lie before its start, whoever asked for it: a full one those of both
    // kinds.
    void add(JobRun run);
    // Likewise for a run of another node. It covers the slots up to its own: when it began is told by that node's
    // clock, which is never compared with this one's (rules C4).
    void add_elsewhere(JobRun run);
    [[nodiscard]] const std::deque<JobRun> &runs() const noexcept { return runs_; } // ascending by their end
    [[nodiscard]] const JobRun *last_run(JobKind kind) const noexcept;
    [[nodiscard]] const JobRun *last_success(JobKind kind) const noexcept;
    // How many of the newest runs failed, one after another.
    [[nodiscard]] unsigned failures(JobKind kind) const noexcept;

  private:
    void cover(const JobRun &run, int64_t until_s);
    void keep(JobRun run);

    struct Job {
        std::string schedule;
        int64_t handled_s = 0;
    };
    std::string place_;
    std::array<Job, kJobKinds> jobs_;
    std::vector<OpenJob> open_;
    std::deque<JobRun> runs_;
};

} // namespace pgvigil
