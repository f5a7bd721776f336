// alive/<epoch>/<number>.json: signs of life of the writer (rules C4). Created once, numbered from 1 within their
// epoch, one every third of a term, busy or not; the last one before a clean shutdown releases the role. Nobody
// compares clocks by them: an observer counts a term on its own clock from when it saw the newest number. Threading:
// free functions, any thread; they block on the store. Errors: what the store throws; kCorrupt for a document that
// cannot be read.
#pragma once

#include "base/cancel.h"
#include "base/random.h"
#include "repo/repository.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

struct WriterRenewal {
    uint64_t epoch = 0;
    uint64_t number = 0;
    Uuid instance{};
    std::string host;
    bool released = false;  // the writer has ended cleanly: nobody has to wait for a term
    int64_t created_ms = 0; // the writer's clock, for people
};

[[nodiscard]] std::string encode(const WriterRenewal &renewal);
[[nodiscard]] WriterRenewal decode_writer_renewal(std::string_view json, std::string_view key);

// The epoch and number of a key below alive/; nullopt for anything else that may lie there.
struct RenewalName {
    uint64_t epoch = 0;
    uint64_t number = 0;
};
[[nodiscard]] std::optional<RenewalName> parse_renewal_key(const ClusterLayout &layout, std::string_view key);

struct NewestRenewal {
    uint64_t number = 0;     // 0: the epoch has none
    int64_t modified_ms = 0; // the store's clock
};
// The newest renewal of `epoch` with a number above `after`; {0, 0} when there is none.
[[nodiscard]] NewestRenewal newest_renewal(const Repository &repository, uint64_t epoch, uint64_t after,
                                           const CancelToken &cancel);
// nullopt when it is gone.
[[nodiscard]] std::optional<WriterRenewal> read_renewal(const Repository &repository, uint64_t epoch, uint64_t number,
                                                        const CancelToken &cancel);

// The renewals that nobody needs any more, for expiry: all but the last few of the highest epoch, and those of older
// ones, stored before `oldest_ms` (the store's clock). The newest ones stay whatever their age.
[[nodiscard]] std::vector<ObjectInfo> obsolete_renewals(const Repository &repository, int64_t oldest_ms,
                                                        const CancelToken &cancel);

} // namespace pgvigil
