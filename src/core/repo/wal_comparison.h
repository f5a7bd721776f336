// What a repository has of the server's timeline, complete or streamed, compared with pg_wal from the newest segment
// down. The same bytes alone are no proof that everything before is the same: what follows a switch of segments at the
// same place may be the same on two servers whose histories differ. The end of a transaction is one: it tells its time,
// in microseconds. Threading: free functions, any thread; they read pg_wal and block on the store.
// Errors: what the store throws.
#pragma once

#include "repo/local_wal.h"

#include "base/cancel.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace pgvigil {

struct WalEvidence {
    std::optional<Lsn> proven;       // up to there both are the same
    bool certain = false;            // whatever lies before pg_wal
    std::optional<uint64_t> differs; // the first segment behind that is another there; nullopt: none is known
    bool has_wal_before = false;     // before everything that is in pg_wal

    void found_same(Lsn end) { proven = proven.value_or(end); }
    void found_different(uint64_t segment) {
        differs = segment;
        proven.reset();
    }
};

// What the repository says of the server's history. `epochs`: all of the repository. nullopt when it has neither WAL
// nor a tail of the timeline.
[[nodiscard]] std::optional<WalEvidence> compare_history(const Repository &repository,
                                                         const std::vector<EpochDocument> &epochs,
                                                         const ClaimInput &input, LocalWal &local,
                                                         const CancelToken &cancel);

// The newest segment from `from` on of which the repository holds other bytes than the server that wrote them can have
// in pg_wal; nullopt where none is known. A streamed record that is not complete says nothing: crash recovery writes
// over it.
[[nodiscard]] std::optional<uint64_t> find_contradiction(const Repository &repository,
                                                         const std::vector<EpochDocument> &epochs,
                                                         const ClaimInput &input, uint64_t from,
                                                         const CancelToken &cancel);

} // namespace pgvigil
