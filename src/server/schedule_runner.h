// One round of the scheduler's work: what has ended, what is due, who runs it. Threading: the scheduler's main thread.
#pragma once

#include "server/backup_requests.h"
#include "server/job_claiming.h"
#include "server/job_watch.h"
#include "server/schedule_settings.h"
#include "server/webhook_sender.h"

#include "base/backoff.h"
#include "base/time_zone.h"

#include <array>
#include <map>
#include <optional>
#include <string>

namespace pgvigil {

class ScheduleRunner {
  public:
    void start();
    void settings_changed() { settings_read_ = false; }
    void cycle();
    [[nodiscard]] int event_fd() const noexcept { return webhook_.event_fd(); }

  private:
    // A scheduled job that this server runs.
    struct Active {
        JobKind kind = JobKind::kFull;
        int64_t slot_s = 0;
        uint64_t request = 0;
        std::optional<BackupTicket> ticket; // of a backup
        bool lost = false;                  // another node has taken over
        int64_t next_renewal_ms = 0;        // boot time
    };
    // What is known of a kind's due slot.
    struct Pending {
        int64_t slot_s = 0;
        int64_t known_ms = 0;    // boot time
        int64_t next_ms = 0;     // not to be looked at before
        int64_t retry_at_ms = 0; // wall clock, for people; 0 when nothing failed
        std::string note;
        Backoff backoff{std::chrono::seconds(10), std::chrono::minutes(30)};
    };

    bool tick();
    void forget_future();
    void read_settings();
    void collect();
    void record(const EndedJob &ended);
    void end_active(std::optional<Active> &active, const EndedJob &ended);
    void tell(const EndedJob &ended);
    static void retry_later(Pending &state);
    void run_due(NodeRole role);
    void consider(const DueJob &job, NodeRole role);
    void begin(const DueJob &job);
    void could_not_begin(const DueJob &job, const ErrorReport &report);
    void seen_elsewhere(const DueJob &job, const JobView &view);
    void renew(std::optional<Active> &active);
    void publish();
    std::optional<Active> &active_of(JobKind kind) {
        return active_[is_backup_job(kind) ? 0 : kind == JobKind::kExpire ? 1 : 2];
    }
    Pending &pending(JobKind kind) { return pending_[static_cast<size_t>(kind)]; }

    JobWatch watch_;
    JobClaiming claiming_;
    WebhookSender webhook_;
    bool settings_read_ = false;
    ScheduleSettings settings_;
    TimeZone zone_ = TimeZone::load("UTC");
    JobSchedules schedules_;
    std::array<Pending, kJobKinds> pending_;
    // One backup, of whichever kind, one expiry and one verification at a time.
    std::array<std::optional<Active>, 3> active_;
};

} // namespace pgvigil
