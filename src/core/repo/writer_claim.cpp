#include "repo/writer_claim.h"

#include "base/time.h"
#include "repo/epochs.h"
#include "repo/writer_agreement.h"
#include "repo/writer_facts.h"

#include <algorithm>
#include <fmt/format.h>

namespace pgvigil {

namespace {

// A claim takes two rounds. It takes more only while servers are made to take over at the same moment.
constexpr int kMaxRounds = 10;

Claim make_claim(const ClaimInput &input, const OpenedRepositories &repositories, const Uuid &instance,
                 const EpochDocument &epoch) {
    Claim claim;
    for (const OpenedRepository &opened : repositories.opened)
        if (opened.document)
            claim.repositories.push_back(opened.handle(input.system_identifier));
    claim.unreachable = repositories.unreachable;
    claim.instance = instance;
    claim.epoch = epoch.number;
    claim.epoch_start = epoch.lsn;
    claim.epoch_timeline = epoch.timeline;
    return claim;
}

ClaimResult refused(WriterStanding standing, Error error) {
    ClaimResult result;
    result.standing = standing;
    result.refusal = std::move(error);
    return result;
}

ClaimResult granted(WriterStanding standing, Claim claim) {
    ClaimResult result;
    result.standing = standing;
    result.claim = std::move(claim);
    return result;
}

void accept_all(Identity &identity, const OpenedRepositories &repositories) {
    for (const OpenedRepository &opened : repositories.opened)
        if (opened.document)
            identity.accept_repository(opened.url, opened.document->id);
}

std::optional<EpochDocument> highest_of(const OpenedRepositories &repositories) {
    std::optional<EpochDocument> highest;
    for (const OpenedRepository &opened : repositories.opened)
        if (opened.facts.highest && (!highest || highest->number < opened.facts.highest->number))
            highest = opened.facts.highest;
    return highest;
}

// One round of a claim: facts, decision, and what follows from it.
class ClaimRound {
  public:
    ClaimRound(const ClaimInput &input, const std::vector<NamedStore> &stores, std::optional<std::string> order,
               const CancelToken &cancel)
        : input_(input), cancel_(cancel) {
        local_.identity = read_identity(input.data_directory);
        local_.in_recovery = input.in_recovery;
        local_.timeline = input.timeline;
        local_.wal_end = input.wal_end;
        local_.take_over = std::move(order);
        repositories_ = open_repositories(input, stores, local_.identity.identity, cancel);
    }

    // Who the repositories say is the writer.
    [[nodiscard]] std::optional<EpochDocument> writer() const { return highest_of(repositories_); }

    // nullopt: the repositories have changed, by a claim of this server or of another that was faster; decide again.
    std::optional<ClaimResult> run() {
        std::vector<RepositoryFacts> facts;
        for (const OpenedRepository &opened : repositories_.opened)
            facts.push_back(opened.facts);
        WriterDecision decision = decide_writer(local_, facts);
        if (decision.standing != WriterStanding::kWriter)
            return refused(decision.standing, *decision.refusal);
        if (!decision.claim)
            return keep(decision.epoch);
        if (const OpenedRepository *other = passed_by())
            return refused(WriterStanding::kDetached, fenced_error(*other->facts.highest, other->url));
        if (!repositories_.unreachable.empty())
            throw repositories_.unreachable.front().error;
        return claim(decision);
    }

  private:
    // Where another server was faster than the order allows for.
    const OpenedRepository *passed_by() const {
        for (const OpenedRepository &opened : repositories_.opened)
            if (input_.only_after && opened.facts.highest && opened.facts.highest->number > *input_.only_after &&
                opened.facts.highest->instance != local_.identity.identity.instance)
                return &opened;
        return nullptr;
    }

    std::optional<ClaimResult> keep(uint64_t number) {
        const Uuid instance = local_.identity.identity.instance;
        const Identity &now = local_.identity.identity;
        const bool complete =
            now.held_epoch == number && now.pending_epoch == 0 && !now.registered_standby &&
            std::all_of(repositories_.opened.begin(), repositories_.opened.end(),
                        [&](const OpenedRepository &opened) { return now.find_repository(opened.url) != nullptr; });
        if (!complete && remember(instance, number) != instance)
            return std::nullopt;
        return granted(WriterStanding::kWriter,
                       make_claim(input_, repositories_, instance, own_epoch(instance, number).value()));
    }

    // What an S3 server can do shows at the first creation: tried with a document that is there.
    bool finds_weak_store() {
        for (const OpenedRepository &opened : repositories_.opened) {
            const auto root = opened.store->get(kRepositoryDocumentKey, kMiB, cancel_);
            if (!root)
                continue;
            PutRequest request;
            request.key = kRepositoryDocumentKey;
            request.body = *root;
            (void)opened.store->put_new(request, cancel_);
            if (!opened.store->features().conditional_create)
                return true;
        }
        return false;
    }

    std::optional<ClaimResult> claim(const WriterDecision &decision) {
        if (decision.reason == kPromotionReason && finds_weak_store())
            return std::nullopt;
        const Identity identity = update_identity(
            input_.data_directory, [&](Identity &changed) { changed.pending_epoch = decision.epoch; }, cancel_);
        if (local_.identity.state == IdentityState::kOwn && identity.instance != local_.identity.identity.instance)
            return std::nullopt;
        for (OpenedRepository &opened : repositories_.opened)
            if (!opened.document)
                opened.document = create_repository_document(*opened.store, cancel_);

        const EpochDocument document = new_document(identity.instance, decision);
        for (const OpenedRepository *opened : claim_order())
            if (claim_epoch(*opened->handle(input_.system_identifier), document, cancel_))
                return std::nullopt;
        (void)remember(identity.instance, decision.epoch);
        return std::nullopt;
    }

    EpochDocument new_document(const Uuid &instance, const WriterDecision &decision) const {
        // What was begun goes on as it was begun, in every repository alike.
        if (auto begun = own_epoch(instance, decision.epoch))
            return *std::move(begun);
        EpochDocument document;
        document.number = decision.epoch;
        document.instance = instance;
        document.host = input_.host;
        document.timeline = input_.timeline;
        document.lsn = archiving_start(input_);
        if (const auto agreed = find_agreement(input_, repositories_, local_.identity.identity.held_epoch, cancel_)) {
            document.lsn = agreed->start;
            document.breaks = agreed->breaks;
        }
        document.reason = decision.reason;
        document.created_ms = unix_time_ms();
        return document;
    }

    std::optional<EpochDocument> own_epoch(const Uuid &instance, uint64_t number) const {
        for (const OpenedRepository &opened : repositories_.opened)
            if (opened.facts.highest && opened.facts.highest->number == number &&
                opened.facts.highest->instance == instance)
                return opened.facts.highest;
        return std::nullopt;
    }

    // The same for every server: of two that race for several repositories, the one that is faster in the first of them
    // meets the other nowhere else.
    std::vector<const OpenedRepository *> claim_order() const {
        std::vector<const OpenedRepository *> order;
        for (const OpenedRepository &opened : repositories_.opened)
            order.push_back(&opened);
        std::sort(order.begin(), order.end(), [](const OpenedRepository *a, const OpenedRepository *b) {
            return a->document->id < b->document->id;
        });
        return order;
    }

    // Returns the instance the file speaks of: another process may have put another in its place.
    Uuid remember(const Uuid &instance, uint64_t number) {
        const Identity stored = update_identity(
            input_.data_directory,
            [&](Identity &identity) {
                if (identity.instance != instance)
                    return;
                identity.held_epoch = std::max(identity.held_epoch, number);
                identity.pending_epoch = 0;
                identity.registered_standby = false;
                accept_all(identity, repositories_);
            },
            cancel_);
        return stored.instance;
    }

    const ClaimInput &input_;
    const CancelToken &cancel_;
    LocalFacts local_;
    OpenedRepositories repositories_;
};

ClaimResult claim_with_order(const ClaimInput &input, const std::vector<NamedStore> &stores,
                             const std::optional<std::string> &order, const CancelToken &cancel) {
    for (int tries = 0; tries < kMaxRounds; ++tries) {
        ClaimRound round(input, stores, order, cancel);
        if (auto result = round.run()) {
            result->writer = round.writer();
            return *std::move(result);
        }
    }
    throw Error(ErrorCode::kUnavailable, "other servers keep claiming the repository at the same time").retryable();
}

} // namespace

const Claim &ClaimResult::value() const {
    if (!claim)
        throw *refusal;
    return *claim;
}

ClaimResult claim_writer(const ClaimInput &input, const std::vector<NamedStore> &stores, const CancelToken &cancel) {
    const auto order = input.in_recovery ? std::optional<std::string>() : read_take_over_file(input.data_directory);
    ClaimResult result = claim_with_order(input, stores, order, cancel);
    if (order && result.standing == WriterStanding::kWriter)
        remove_take_over_file(input.data_directory);
    return result;
}

ClaimResult take_over(const ClaimInput &input, const std::vector<NamedStore> &stores, std::string_view reason,
                      const CancelToken &cancel) {
    return claim_with_order(input, stores, std::string(reason), cancel);
}

namespace {

ClaimResult decide_for_standby(const ClaimInput &input, const LocalIdentity &local,
                               const OpenedRepositories &repositories, const CancelToken &cancel) {
    const EpochDocument *highest = nullptr;
    const OpenedRepository *where = nullptr;
    for (const OpenedRepository &opened : repositories.opened) {
        if (!opened.facts.highest)
            return refused(WriterStanding::kInRecovery,
                           Error(ErrorCode::kNotWriter, "no server has written to the repository yet")
                               .detail(fmt::format("A standby writes to \"{}\" only beside its primary.", opened.url))
                               .hint("Set pgvigil.repository on the primary as well."));
        if (highest == nullptr || opened.facts.highest->number > highest->number) {
            highest = &*opened.facts.highest;
            where = &opened;
        }
    }
    if (highest == nullptr)
        throw Error(ErrorCode::kInvalidArgument, "no repository is given");

    const bool registered = local.state == IdentityState::kOwn && local.identity.registered_standby;
    if (!input.streaming) {
        if (!registered)
            return refused(
                WriterStanding::kInRecovery,
                Error(ErrorCode::kNotWriter, "this server is in recovery and may not write to the repository")
                    .hint("Let it stream from the writer as its standby, or promote it and run SELECT "
                          "pgv_take_over('reason')."));
        if (local.identity.standby_epoch != highest->number)
            return refused(WriterStanding::kFenced, fenced_error(*highest, where->url));
        return granted(WriterStanding::kStandby, make_claim(input, repositories, local.identity.instance, *highest));
    }
    Identity identity = local.identity;
    const bool current =
        registered && identity.standby_epoch == highest->number && identity.standby_timeline == input.timeline;
    if (!current)
        identity = update_identity(
            input.data_directory,
            [&](Identity &changed) {
                changed.registered_standby = true;
                changed.standby_epoch = highest->number;
                changed.standby_timeline = input.timeline;
                accept_all(changed, repositories);
            },
            cancel);
    return granted(WriterStanding::kStandby, make_claim(input, repositories, identity.instance, *highest));
}

} // namespace

ClaimResult open_for_standby(const ClaimInput &input, const std::vector<NamedStore> &stores,
                             const CancelToken &cancel) {
    const LocalIdentity local = read_identity(input.data_directory);
    const OpenedRepositories repositories = open_repositories(input, stores, local.identity, cancel);
    ClaimResult result = decide_for_standby(input, local, repositories, cancel);
    result.writer = highest_of(repositories);
    return result;
}

void check_still_writer(const Claim &claim, const CancelToken &cancel) {
    for (const auto &repository : claim.repositories) {
        const std::vector<EpochDocument> newer = list_epochs(*repository, claim.epoch, cancel);
        if (!newer.empty())
            throw fenced_error(newer.back(), repository->url());
    }
}

std::vector<std::string> accept_repositories(const ClaimInput &input, const std::vector<NamedStore> &stores,
                                             const CancelToken &cancel) {
    std::vector<std::string> lines;
    std::vector<AcceptedRepository> accepted;
    for (const NamedStore &named : stores) {
        const auto existing = read_repository_document(*named.store, cancel);
        const RepositoryDocument document = existing ? *existing : create_repository_document(*named.store, cancel);
        accepted.push_back({named.url, document.id});
        lines.push_back(fmt::format("repository \"{}\": id {}{}", named.url, to_string(document.id),
                                    existing ? ", accepted" : ", created and accepted"));
    }
    (void)update_identity(
        input.data_directory,
        [&](Identity &identity) {
            for (const AcceptedRepository &repository : accepted)
                identity.accept_repository(repository.url, repository.id);
            // A claim that was cut off was decided without knowing these repositories.
            identity.pending_epoch = 0;
        },
        cancel);
    return lines;
}

} // namespace pgvigil
