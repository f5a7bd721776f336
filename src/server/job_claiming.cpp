#include "server/pg.h"

#include "server/job_claiming.h"

#include "server/boundary.h"
#include "server/repositories.h"
#include "server/schedule_settings.h"
#include "server/server_facts.h"
#include "server/waiting.h"

#include "base/time.h"
#include "repo/identity.h"

namespace pgvigil {

namespace {

constexpr unsigned kEndTries = 20;
constexpr int64_t kEndPauseMs = 15000;

ClaimRepositories claim_repositories(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    return {open_for_reading(settings, facts, cancel), settings.repositories.size()};
}

} // namespace

Error clock_error(int64_t slot_s, const JobView &view) {
    return Error(ErrorCode::kRefused, "the schedule is ahead of the store's clock")
        .detail("It wants the run of " + iso_time_ms(slot_s * 1000) + ", but the store's clock says " +
                iso_time_ms(view.store_ms) + ", and this host's " + iso_time_ms(unix_time_ms()) + ".")
        .hint("Set the clock that is wrong: until then this server claims no run.");
}

JobClaimPlaces &JobClaiming::claims() {
    if (!claims_)
        claims_ = std::make_unique<JobClaimPlaces>(read_identity(DataDir).identity.instance, server_facts().host);
    claims_->set_term(job_takeover_ms());
    return *claims_;
}

JobClaiming::Attempt JobClaiming::try_claim(JobKind kind, int64_t slot_s, const std::function<bool()> &stop) {
    JobClaimPlaces &claims = this->claims();
    const Settings settings = current_settings();
    const ServerFacts facts = server_facts();
    return in_background(
        [&](const CancelToken &cancel) {
            return claims.try_claim(claim_repositories(settings, facts, cancel), kind, slot_s, boot_time_ms(),
                                    unix_time_ms(), cancel);
        },
        stop);
}

JobView JobClaiming::look(JobKind kind, int64_t slot_s, const std::function<bool()> &stop) {
    JobClaimPlaces &claims = this->claims();
    const Settings settings = current_settings();
    const ServerFacts facts = server_facts();
    return in_background(
        [&](const CancelToken &cancel) {
            return claims.look(claim_repositories(settings, facts, cancel), kind, slot_s, boot_time_ms(), cancel);
        },
        stop);
}

bool JobClaiming::renew(JobKind kind, int64_t slot_s, const std::function<bool()> &stop) {
    JobClaimPlaces &claims = this->claims();
    const Settings settings = current_settings();
    const ServerFacts facts = server_facts();
    return in_background(
        [&](const CancelToken &cancel) {
            return claims.renew(claim_repositories(settings, facts, cancel), kind, slot_s, cancel);
        },
        stop);
}

void JobClaiming::end(JobKind kind, int64_t slot_s, const JobEntry &entry) {
    ends_.push_back({kind, slot_s, entry});
}

void JobClaiming::send_ends(const std::function<bool()> &stop) {
    while (!ends_.empty() && ends_.front().next_ms <= boot_time_ms()) {
        End &end = ends_.front();
        JobClaimPlaces &claims = this->claims();
        const Settings settings = current_settings();
        const ServerFacts facts = server_facts();
        ErrorReport report;
        const bool sent = cpp_attempt(
            [&] {
                in_background(
                    [&](const CancelToken &cancel) {
                        (void)claims.finish(claim_repositories(settings, facts, cancel), end.kind, end.slot_s,
                                            end.entry, cancel);
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
