#include "server/pg.h"

#include "server/writer.h"

#include "server/guarded_store.h"
#include "server/waiting.h"

#include "repo/identity.h"

#include <algorithm>
#include <functional>

namespace pgvigil {

namespace {

ClaimInput input_for(const Settings &settings, const ServerFacts &facts) {
    ClaimInput input;
    input.data_directory = facts.data_directory;
    input.system_identifier = facts.system_identifier;
    input.host = facts.host;
    input.in_recovery = facts.in_recovery;
    input.streaming = facts.streaming;
    input.known_current = facts.known_current;
    input.timeline = facts.timeline;
    // What a stale copy has written since it was found to be one makes it no less of one.
    input.wal_end =
        facts.stale_end.is_valid() && !facts.known_current ? std::min(facts.wal_end, facts.stale_end) : facts.wal_end;
    input.segment_size = facts.wal_segment_size;
    input.required = settings.required;
    return input;
}

} // namespace

ClaimResult settle_role(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    if (settings.repositories.empty())
        throw no_repository_error();
    const ClaimInput input = input_for(settings, facts);
    const std::vector<NamedStore> stores = name_stores(settings, facts);
    return facts.in_recovery ? open_for_standby(input, stores, cancel) : claim_writer(input, stores, cancel);
}

ClaimResult settle_role_now(const Settings &settings, const std::function<bool()> &stop) {
    constexpr int kMaxTries = 5;
    for (int tries = 1;; ++tries) {
        const ServerFacts facts = server_facts();
        ClaimResult result =
            in_background([&](const CancelToken &cancel) { return settle_role(settings, facts, cancel); }, stop);
        if (result.standing == WriterStanding::kWriter)
            note_known_current();
        if (result.standing != WriterStanding::kStaleCopy || tries == kMaxTries)
            return result;
        // Another process may have archived meanwhile what these facts do not know of.
        if (!server_facts().known_current) {
            note_stale(facts);
            return result;
        }
    }
}

Claim open_as_writer(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel) {
    return settle_role(settings, facts, cancel).value();
}

std::vector<std::shared_ptr<Repository>> all_repositories(const Claim &claim, const Settings &settings,
                                                          const ServerFacts &facts) {
    std::vector<std::shared_ptr<Repository>> repositories = claim.repositories;
    if (claim.unreachable.empty())
        return repositories;
    const LocalIdentity local = read_identity(facts.data_directory);
    const std::vector<NamedStore> stores = name_stores(settings, facts);
    for (const UnreachableRepository &lost : claim.unreachable) {
        const AcceptedRepository *accepted = local.identity.find_repository(lost.url);
        const auto named = std::find_if(stores.begin(), stores.end(), [&](const auto &s) { return s.url == lost.url; });
        if (accepted == nullptr || named == stores.end())
            continue;
        RepositoryDocument document;
        document.id = accepted->id;
        repositories.push_back(std::make_shared<Repository>(std::make_shared<GuardedStore>(named->store, accepted->id),
                                                            document, lost.url, facts.system_identifier));
    }
    return repositories;
}

uint64_t repositories_key(const Settings &settings, const std::vector<std::shared_ptr<Repository>> &repositories) {
    uint64_t key = settings.repositories_hash();
    // In any order: one that does not answer stands at the end.
    for (const auto &repository : repositories)
        key += std::hash<std::string>{}(repository->url() + " " + to_string(repository->id()));
    return key;
}

uint64_t order_take_over(const Settings &settings, const ServerFacts &facts, const std::string &reason,
                         std::optional<uint64_t> only_after, const CancelToken &cancel) {
    ClaimInput input = input_for(settings, facts);
    input.only_after = only_after;
    return take_over(input, name_stores(settings, facts), reason, cancel).value().epoch;
}

std::vector<std::string> order_acceptance(const Settings &settings, const ServerFacts &facts,
                                          const CancelToken &cancel) {
    return accept_repositories(input_for(settings, facts), name_stores(settings, facts), cancel);
}

} // namespace pgvigil
