// The repositories as this server may use them: what pgvigil.repository names, claimed by the rules of
// repo/writer_claim.h (rules C). Threading: any one thread.
#pragma once

#include "server/repositories.h"
#include "server/server_facts.h"
#include "server/settings.h"

#include "repo/writer_claim.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

// The role, settled from the main thread, facts taken freshly; waits for the stores as wait_for() does. WAL that the
// archiver stores between the facts and the answer makes no stale copy of this server.
[[nodiscard]] ClaimResult settle_role_now(const Settings &settings, const std::function<bool()> &stop = {});

// Claims the writer's role, or, in recovery, registers as a standby. A repository that does not answer is tolerated as
// long as pgvigil.required_repositories others do. Throws what the stores throw, kForeign for another repository.
[[nodiscard]] ClaimResult settle_role(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel);
// The same; throws the refusal where this server may not write.
[[nodiscard]] Claim open_as_writer(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel);

// The claim's repositories together with those that do not answer now but were accepted before: what they miss is
// filled in when they are back (rules B6).
[[nodiscard]] std::vector<std::shared_ptr<Repository>> all_repositories(const Claim &claim, const Settings &settings,
                                                                        const ServerFacts &facts);

// Says which repositories these are and how many of them are required; equal in all processes of one run of the server.
[[nodiscard]] uint64_t repositories_key(const Settings &settings,
                                        const std::vector<std::shared_ptr<Repository>> &repositories);

// Makes this server the writer: the next epoch in every repository. Returns its number. Refused when another server has
// taken an epoch above `only_after`.
[[nodiscard]] uint64_t order_take_over(const Settings &settings, const ServerFacts &facts, const std::string &reason,
                                       std::optional<uint64_t> only_after, const CancelToken &cancel);
// Makes the repositories that are there, and new ones, known to this server. Returns a line for each.
[[nodiscard]] std::vector<std::string> order_acceptance(const Settings &settings, const ServerFacts &facts,
                                                        const CancelToken &cancel);

} // namespace pgvigil
