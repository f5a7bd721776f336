#include "repo/writer_decision.h"

#include "base/time.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

constexpr const char *kTakeOverHint =
    "To make this server the writer from now on, run SELECT pgv_take_over('reason'). The other server can write no "
    "more after that.";

std::string describe(const EpochDocument &epoch) {
    return fmt::format("instance {} on host \"{}\" has been the writer since {} (epoch {}, reason: {})",
                       to_string(epoch.instance), epoch.host, postgres_time_us(epoch.created_ms * 1000), epoch.number,
                       epoch.reason);
}

// What the repositories say together.
struct Overview {
    uint64_t highest = 0; // number
    uint64_t own = 0;     // highest number that this instance has claimed and nobody has passed in that repository
    uint64_t foreign = 0; // highest number of another instance
    const EpochDocument *foreign_epoch = nullptr;
    const RepositoryFacts *foreign_repository = nullptr;
    bool everywhere = true; // every repository's highest epoch is this instance's, with the same number
};

Overview look(const LocalFacts &local, const std::vector<RepositoryFacts> &repositories) {
    Overview all;
    const bool known = local.identity.state == IdentityState::kOwn;
    for (const RepositoryFacts &repository : repositories) {
        if (!repository.highest)
            continue;
        const EpochDocument &epoch = *repository.highest;
        all.highest = std::max(all.highest, epoch.number);
        if (known && epoch.instance == local.identity.identity.instance) {
            all.own = std::max(all.own, epoch.number);
        } else if (epoch.number >= all.foreign) {
            all.foreign = epoch.number;
            all.foreign_epoch = &epoch;
            all.foreign_repository = &repository;
        }
    }
    for (const RepositoryFacts &repository : repositories)
        all.everywhere = all.everywhere && all.foreign_epoch == nullptr && repository.highest &&
                         repository.highest->number == all.own;
    return all;
}

WriterDecision refuse(WriterStanding standing, Error error) {
    WriterDecision decision;
    decision.standing = standing;
    decision.refusal = std::move(error);
    return decision;
}

WriterDecision write_in(uint64_t epoch, bool claim, std::string reason) {
    WriterDecision decision;
    decision.standing = WriterStanding::kWriter;
    decision.epoch = epoch;
    decision.claim = claim;
    decision.reason = std::move(reason);
    return decision;
}

const RepositoryFacts *stale_in(const std::vector<RepositoryFacts> &repositories) {
    const auto found = std::find_if(repositories.begin(), repositories.end(), [](const RepositoryFacts &facts) {
        return facts.record_behind_end || facts.other_bytes_at;
    });
    return found == repositories.end() ? nullptr : &*found;
}

const RepositoryFacts *weak_in(const std::vector<RepositoryFacts> &repositories) {
    const auto found = std::find_if(repositories.begin(), repositories.end(),
                                    [](const RepositoryFacts &facts) { return !facts.conditional_create; });
    return found == repositories.end() ? nullptr : &*found;
}

Error weak_error(const EpochDocument &writer, const RepositoryFacts &repository) {
    return Error(ErrorCode::kNotWriter, "this server was promoted and does not take over the repository by itself")
        .detail(fmt::format("The server of \"{}\" does not create objects conditionally, so that two servers that "
                            "take over at the same time would not notice each other; {}.",
                            repository.name, describe(writer)))
        .hint(kTakeOverHint);
}

Error stale_error(const LocalFacts &local, const RepositoryFacts &repository) {
    const std::string why =
        repository.record_behind_end
            ? fmt::format("Its WAL ends at {} on timeline {}, but \"{}\" has WAL of that timeline up to {} at least.",
                          to_string(local.wal_end), local.timeline, repository.name,
                          to_string(*repository.record_behind_end))
            : fmt::format(
                  "Its WAL of timeline {} from {} on is not what \"{}\" has, though no other server has written "
                  "there.",
                  local.timeline, to_string(repository.other_bytes_at.value()), repository.name);
    return Error(ErrorCode::kNotWriter, "this server is a stale copy and may not write to the repository")
        .detail(why)
        .hint("It was probably put back to an earlier state. If what the repository has beyond that is to be given up, "
              "run SELECT pgv_take_over('reason').");
}

Error detached_error(const LocalFacts &local, const EpochDocument &epoch) {
    std::string why = "This data directory was restored from a backup or copied without its identity";
    if (local.identity.state == IdentityState::kCopied)
        why = fmt::format("The file \"{}\" in this data directory is a copy of another server's", kIdentityFileName);
    else if (local.identity.identity.registered_standby)
        why = fmt::format("This server was a standby and runs on timeline {} without having been promoted",
                          local.timeline);
    else if (local.identity.state == IdentityState::kOwn)
        why = "This server has never been the writer, nor a standby of it";
    return Error(ErrorCode::kNotWriter, "this server is detached and may not write to the repository")
        .detail(fmt::format("{}; {}.", why, describe(epoch)))
        .hint(kTakeOverHint);
}

// Whether another instance's epoch stands in the way: not where this instance's own, higher claim was cut off between
// two repositories, nor where there is none.
bool is_passed(const LocalFacts &local, const Overview &all) {
    return all.foreign_epoch == nullptr || (all.own > all.foreign && all.own == local.identity.identity.pending_epoch);
}

// The number under which a claim becomes whole: one that was cut off, or that a repository added later does not know
// yet, is completed; anything else starts the next epoch.
uint64_t claim_number(const LocalFacts &local, const Overview &all) {
    const uint64_t held = local.identity.state == IdentityState::kOwn ? local.identity.identity.held_epoch : 0;
    return all.own > 0 && is_passed(local, all) ? all.own : std::max(all.highest, held) + 1;
}

} // namespace

Error fenced_error(const EpochDocument &epoch, const std::string &repository) {
    return Error(ErrorCode::kNotWriter, "another server has taken over as the writer of the repository")
        .detail(fmt::format("In \"{}\", {}.", repository, describe(epoch)))
        .hint(kTakeOverHint);
}

WriterDecision decide_writer(const LocalFacts &local, const std::vector<RepositoryFacts> &repositories) {
    const Overview all = look(local, repositories);
    const Identity &identity = local.identity.identity;
    const bool known = local.identity.state == IdentityState::kOwn;
    if (local.in_recovery)
        return refuse(WriterStanding::kInRecovery,
                      Error(ErrorCode::kNotWriter, "this server is in recovery and may not write to the repository")
                          .hint("Promote it first, or let it stream from the writer as its standby."));

    const RepositoryFacts *stale = stale_in(repositories);
    if (local.take_over) {
        if (all.everywhere && all.own > 0 && stale == nullptr)
            return write_in(all.own, false, *local.take_over);
        // A stale writer needs a new epoch: what its present one has beyond its end of WAL must lose its force.
        const uint64_t number = stale != nullptr && all.own == all.highest ? all.highest + 1 : claim_number(local, all);
        return write_in(number, true, *local.take_over);
    }

    if (!is_passed(local, all)) {
        const EpochDocument &other = *all.foreign_epoch;
        if (!known || (!identity.registered_standby && identity.held_epoch == 0 && all.own == 0))
            return refuse(WriterStanding::kDetached, detached_error(local, other));
        if (!identity.registered_standby || other.number != identity.standby_epoch)
            return refuse(WriterStanding::kFenced, fenced_error(other, all.foreign_repository->name));
        if (local.timeline <= identity.standby_timeline)
            return refuse(WriterStanding::kDetached, detached_error(local, other));
        if (stale != nullptr)
            return refuse(WriterStanding::kStaleCopy, stale_error(local, *stale));
        if (const RepositoryFacts *weak = weak_in(repositories))
            return refuse(WriterStanding::kDetached, weak_error(other, *weak));
        return write_in(claim_number(local, all), true, kPromotionReason);
    }
    if (stale != nullptr)
        return refuse(WriterStanding::kStaleCopy, stale_error(local, *stale));
    if (all.everywhere && all.own > 0)
        return write_in(all.own, false, "");
    return write_in(claim_number(local, all), true, all.highest == 0 ? "first" : "continuation");
}

} // namespace pgvigil
