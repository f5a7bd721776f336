#include "server/pg.h"

#include "server/job_claiming.h"

#include "server/boundary.h"
#include "server/repositories.h"
#include "server/server_facts.h"
#include "server/waiting.h"

#include "base/time.h"
#include "repo/identity.h"

namespace pgvigil {

namespace {

constexpr unsigned kEndTries = 20;
constexpr int64_t kEndPauseMs = 15000;

std::shared_ptr<Repository> first_repository(const Settings &settings, const ServerFacts &facts,
                                             const CancelToken &cancel) {
    auto repositories = open_for_reading(settings, facts, cancel);
    if (repositories.empty())
        throw Error(ErrorCode::kNotFound, "there is no repository yet");
    return repositories.front();
}

} // namespace

JobClaims &JobClaiming::claims() {
    if (!claims_)
        claims_ = std::make_unique<JobClaims>(read_identity(DataDir).identity.instance, server_facts().host);
    return *claims_;
}

JobClaiming::Attempt JobClaiming::try_claim(JobKind kind, int64_t slot_s, const std::function<bool()> &stop) {
    JobClaims &claims = this->claims();
    const Settings settings = current_settings();
    const ServerFacts facts = server_facts();
    return in_background(
        [&](const CancelToken &cancel) {
            const auto repository = first_repository(settings, facts, cancel);
            const int64_t now = boot_time_ms();
            Attempt attempt;
            if (is_backup_job(kind)) {
                // One backup at a time, of whichever kind.
                const JobKind other = kind == JobKind::kFull ? JobKind::kIncremental : JobKind::kFull;
                attempt.view = claims.look(*repository, other, slot_s, now, cancel);
                if (attempt.view.standing == JobStanding::kOther)
                    return attempt;
            }
            attempt.view = claims.look(*repository, kind, slot_s, now, cancel);
            if (attempt.view.standing != JobStanding::kFree && attempt.view.standing != JobStanding::kOwn)
                return attempt;
            attempt.held = claims.claim(*repository, kind, slot_s, attempt.view, unix_time_ms(), cancel);
            if (!attempt.held)
                attempt.view = claims.look(*repository, kind, slot_s, now, cancel);
            return attempt;
        },
        stop);
}

JobView JobClaiming::look(JobKind kind, int64_t slot_s, const std::function<bool()> &stop) {
    JobClaims &claims = this->claims();
    const Settings settings = current_settings();
    const ServerFacts facts = server_facts();
    return in_background(
        [&](const CancelToken &cancel) {
            return claims.look(*first_repository(settings, facts, cancel), kind, slot_s, boot_time_ms(), cancel);
        },
        stop);
}

bool JobClaiming::renew(JobKind kind, int64_t slot_s, const std::function<bool()> &stop) {
    JobClaims &claims = this->claims();
    const Settings settings = current_settings();
    const ServerFacts facts = server_facts();
    return in_background(
        [&](const CancelToken &cancel) {
            return claims.renew(*first_repository(settings, facts, cancel), kind, slot_s, cancel);
        },
        stop);
}

void JobClaiming::end(JobKind kind, int64_t slot_s, const JobEntry &entry) {
    ends_.push_back({kind, slot_s, entry});
}

void JobClaiming::send_ends(const std::function<bool()> &stop) {
    while (!ends_.empty() && ends_.front().next_ms <= boot_time_ms()) {
        End &end = ends_.front();
        JobClaims &claims = this->claims();
        const Settings settings = current_settings();
        const ServerFacts facts = server_facts();
        ErrorReport report;
        const bool sent = cpp_attempt(
            [&] {
                in_background(
                    [&](const CancelToken &cancel) {
                        (void)claims.finish(*first_repository(settings, facts, cancel), end.kind, end.slot_s, end.entry,
                                            cancel);
                    },
                    stop);
            },
            report);
        if (stop())
            return;
        if (!sent && ++end.tries < kEndTries) {
            end.next_ms = boot_time_ms() + kEndPauseMs;
            return;
        }
        if (!sent)
            warn(report, "pgvigil scheduler: could not tell the other nodes how a job ended");
        ends_.pop_front();
    }
}

} // namespace pgvigil
