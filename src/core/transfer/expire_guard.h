// What expiry refuses to do without a person's word (rules D3). Threading: free functions, any thread.
#pragma once

#include "base/cancel.h"
#include "base/error.h"
#include "repo/repository.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

// Throws kRefused when the two clocks (milliseconds since 1970 UTC) are over 5 minutes apart: no confirmation helps.
void check_clocks(int64_t store_ms, int64_t host_ms, const std::string &store);

// kRefused when over half of `listed` backups would go.
[[nodiscard]] std::optional<Error> refuse_share(size_t going, size_t listed, const std::string &store);

// kRefused in a repository whose writer was replaced by an operator's order since somebody last confirmed an expiry:
// what is there was filled by another server, by other rules. A promotion of a registered standby is no such change.
[[nodiscard]] std::optional<Error> refuse_foreign(const Repository &repository,
                                                  const std::vector<EpochDocument> &epochs, const CancelToken &cancel);

// Remembers that a person confirmed an expiry: confirmations/<epoch>.json.
void remember_confirmation(const Repository &repository, const std::vector<EpochDocument> &epochs,
                           const std::string &host, int64_t now_ms, const CancelToken &cancel);

} // namespace pgvigil
