#include "repo/writer_lease.h"

#include "base/error.h"
#include "base/time.h"
#include "repo/envelope.h"
#include "repo/epochs.h"
#include "repo/writer_decision.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

// A number that is taken was used by a request whose answer was lost, or by another process of the same server.
constexpr int kMaxNumbersTried = 8;
constexpr int64_t kRoundsInTerm = 9;

} // namespace

int64_t lease_holds_until(const LeaseTimes &times, int64_t term_ms) noexcept {
    if (times.listed_ms == 0 || times.renewed_ms == 0)
        return 0;
    return std::min(times.listed_ms + term_ms / 3, times.renewed_ms + 2 * (term_ms / 3));
}

bool is_renewal_due(const LeaseTimes &times, int64_t term_ms, int64_t now_ms) noexcept {
    return times.renewed_ms == 0 || now_ms - times.renewed_ms >= term_ms / 3;
}

int64_t next_lease_round(const LeaseTimes &times, int64_t term_ms) noexcept {
    if (times.listed_ms == 0 || times.renewed_ms == 0)
        return 0;
    return std::min(times.listed_ms + term_ms / kRoundsInTerm, times.renewed_ms + term_ms / 3);
}

int64_t lease_holds_until(const std::vector<LeaseTimes> &repositories, unsigned required, int64_t term_ms) {
    const size_t needed = required == 0 ? repositories.size() : required;
    if (needed == 0 || repositories.size() < needed)
        return 0;
    std::vector<int64_t> until;
    for (const LeaseTimes &times : repositories)
        until.push_back(lease_holds_until(times, term_ms));
    std::sort(until.begin(), until.end(), std::greater<>());
    return until[needed - 1];
}

WriterLease::WriterLease(const Repository &repository, LeaseOwner owner)
    : repository_(repository), owner_(std::move(owner)) {}

void WriterLease::round(const CancelToken &cancel) {
    if (is_renewal_due(times_, owner_.term_ms, boot_time_ms()))
        renew(false, cancel);
    const int64_t started = boot_time_ms();
    const std::vector<EpochDocument> newer = list_epochs(repository_, owner_.epoch, cancel);
    if (!newer.empty())
        throw fenced_error(newer.back(), repository_.url());
    times_.listed_ms = std::max<int64_t>(started, 1);
}

void WriterLease::release(const CancelToken &cancel) {
    times_ = {};
    renew(true, cancel);
    times_ = {};
}

void WriterLease::renew(bool released, const CancelToken &cancel) {
    if (!numbered_) {
        newest_ = newest_renewal(repository_, owner_.epoch, 0, cancel).number;
        numbered_ = true;
    }
    for (int tries = 0; tries < kMaxNumbersTried; ++tries) {
        WriterRenewal renewal;
        renewal.epoch = owner_.epoch;
        renewal.number = newest_ + 1;
        renewal.instance = owner_.instance;
        renewal.host = owner_.host;
        renewal.released = released;
        renewal.created_ms = unix_time_ms();
        const std::string key = repository_.layout().alive(renewal.epoch, renewal.number);
        const Bytes body = encode_document(encode(renewal), renewal.epoch, random_uuid());
        PutRequest request;
        request.key = key;
        request.body = body;
        const int64_t started = boot_time_ms();
        const bool stored = repository_.store().put_new(request, cancel) == PutOutcome::kStored;
        newest_ = renewal.number;
        if (stored) {
            times_.renewed_ms = std::max<int64_t>(started, 1);
            return;
        }
        // Somebody else's under this server's own number: what tells the two apart has been copied as well.
        const auto other = read_renewal(repository_, renewal.epoch, renewal.number, cancel);
        if (other && other->instance != owner_.instance)
            throw Error(ErrorCode::kNotWriter, "another server writes to the repository in this server's place")
                .detail(fmt::format("In \"{}\", instance {} on host \"{}\" renews epoch {}.", repository_.url(),
                                    to_string(other->instance), other->host, owner_.epoch))
                .hint("To make this server the writer from now on, run SELECT pgv_take_over('reason').");
        newest_ = std::max(newest_, newest_renewal(repository_, owner_.epoch, newest_, cancel).number);
    }
    throw Error(ErrorCode::kUnavailable,
                fmt::format("could not show in \"{}\" that this server lives", repository_.url()))
        .detail(fmt::format("Renewals up to number {} were there already.", newest_))
        .retryable();
}

WriterSight look_at_writer(const Repository &repository, const CancelToken &cancel) {
    WriterSight sight;
    const std::optional<EpochDocument> epoch = highest_epoch(repository, cancel);
    if (epoch) {
        sight.epoch = epoch->number;
        const NewestRenewal newest = newest_renewal(repository, epoch->number, 0, cancel);
        sight.renewal = newest.number;
        sight.modified_ms = newest.modified_ms;
        if (newest.number != 0) {
            const auto renewal = read_renewal(repository, epoch->number, newest.number, cancel);
            sight.released = renewal && renewal->released;
        } else if (const auto info = repository.store().head(repository.layout().epoch(epoch->number), cancel)) {
            sight.modified_ms = info->modified_ms;
        }
    }
    sight.store_now_ms = repository.store().clock_ms(cancel);
    return sight;
}

uint64_t renewal_since(const Repository &repository, const WriterSight &seen, const CancelToken &cancel) {
    return seen.epoch == 0 ? 0 : newest_renewal(repository, seen.epoch, seen.renewal, cancel).number;
}

SilenceWatch::Verdict SilenceWatch::look(const std::vector<WriterSight> &sights, int64_t now_ms) {
    if (first_.empty()) {
        first_ = sights;
        since_ms_ = now_ms;
    }
    const bool same = std::equal(first_.begin(), first_.end(), sights.begin(), sights.end(),
                                 [](const WriterSight &a, const WriterSight &b) { return a.same_sign(b); });
    if (!same)
        return Verdict::kAlive;
    const bool released = std::all_of(sights.begin(), sights.end(), [](const WriterSight &sight) {
        return sight.released || sight.epoch == 0; // of a repository that nobody has written to yet
    });
    return released || now_ms - since_ms_ >= term_ms_ ? Verdict::kSilent : Verdict::kWaiting;
}

int64_t SilenceWatch::remaining_ms(int64_t now_ms) const noexcept {
    return first_.empty() ? term_ms_ : std::max<int64_t>(0, since_ms_ + term_ms_ - now_ms);
}

} // namespace pgvigil
