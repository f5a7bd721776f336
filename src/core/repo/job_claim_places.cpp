#include "repo/job_claim_places.h"

#include "base/error.h"
#include "base/time.h"

#include <algorithm>
#include <utility>

namespace pgvigil {

namespace {

bool is_taken(JobStanding standing) noexcept {
    return standing != JobStanding::kFree && standing != JobStanding::kOwn;
}

Error place_is_away() {
    return Error(ErrorCode::kUnavailable, "the repository in which this run was claimed does not answer").retryable();
}

} // namespace

JobClaimPlaces::JobClaimPlaces(Uuid instance, std::string host, int64_t term_ms)
    : claims_(instance, std::move(host), term_ms) {}

JobClaimPlaces::Place JobClaimPlaces::best_place(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s,
                                                 int64_t now_ms, const CancelToken &cancel) {
    if (repositories.answering.empty())
        throw Error(ErrorCode::kNotFound, "there is no repository yet");
    Place best;
    for (const auto &repository : repositories.answering) {
        const JobView view = claims_.look(*repository, kind, slot_s, now_ms, cancel);
        if (!best.repository || view.standing == JobStanding::kOwn)
            best = {repository, view};
        if (is_taken(view.standing))
            return {repository, view};
    }
    return best;
}

JobView JobClaimPlaces::look(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s, int64_t now_ms,
                             const CancelToken &cancel) {
    return best_place(repositories, kind, slot_s, now_ms, cancel).view;
}

JobClaimPlaces::Attempt JobClaimPlaces::try_claim(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s,
                                                  int64_t now_ms, int64_t started_ms, const CancelToken &cancel) {
    Attempt attempt;
    if (is_backup_job(kind)) {
        // One backup at a time, of whichever kind.
        const JobKind other = kind == JobKind::kFull ? JobKind::kIncremental : JobKind::kFull;
        attempt.view = look(repositories, other, slot_s, now_ms, cancel);
        if (attempt.view.standing == JobStanding::kOther)
            return attempt;
    }
    const Place place = best_place(repositories, kind, slot_s, now_ms, cancel);
    attempt.view = place.view;
    if (is_taken(place.view.standing))
        return attempt;
    attempt.held = claims_.claim(*place.repository, kind, slot_s, place.view, started_ms, cancel);
    if (attempt.held)
        places_[{kind, slot_s}] = place.repository->id();
    else
        attempt.view = claims_.look(*place.repository, kind, slot_s, now_ms, cancel);
    return attempt;
}

std::shared_ptr<Repository> JobClaimPlaces::place_of(const ClaimRepositories &repositories, JobKind kind,
                                                     int64_t slot_s, const CancelToken &cancel) {
    const auto &answering = repositories.answering;
    if (const auto known = places_.find({kind, slot_s}); known != places_.end()) {
        const auto found = std::find_if(answering.begin(), answering.end(),
                                        [&](const auto &repository) { return repository->id() == known->second; });
        if (found == answering.end())
            throw place_is_away();
        return *found;
    }
    // The process that claimed it was another one of this instance's.
    for (const auto &repository : answering)
        if (claims_.look(*repository, kind, slot_s, boot_time_ms(), cancel).standing == JobStanding::kOwn) {
            places_[{kind, slot_s}] = repository->id();
            return repository;
        }
    if (answering.size() < repositories.configured)
        throw place_is_away();
    return nullptr;
}

bool JobClaimPlaces::renew(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s,
                           const CancelToken &cancel) {
    const auto repository = place_of(repositories, kind, slot_s, cancel);
    const bool own = repository && claims_.renew(*repository, kind, slot_s, cancel);
    if (!own)
        places_.erase({kind, slot_s});
    return own;
}

bool JobClaimPlaces::finish(const ClaimRepositories &repositories, JobKind kind, int64_t slot_s, const JobEntry &end,
                            const CancelToken &cancel) {
    const auto repository = place_of(repositories, kind, slot_s, cancel);
    const bool own = repository && claims_.finish(*repository, kind, slot_s, end, cancel);
    places_.erase({kind, slot_s});
    return own;
}

} // namespace pgvigil
