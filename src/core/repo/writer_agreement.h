// From where on a server that takes over on a timeline that has WAL in the repositories already archives anew (rules
// C2): behind its newest segment that a repository holds byte for byte, complete or as a whole tail, or at the segment
// of which one holds the beginning as a tail. Before that the two histories are one, whoever wrote them; from there on
// readers accept only the new writer's objects. A repository that lacks segments says nothing against that; one that
// holds another segment before that point moves it back to there. Segments may be the same behind others that are not
// (what two servers write after a switch of segments at the same place): so pg_wal is compared down to one that ends a
// transaction, which no other history has at the same place at the same microsecond. Where pg_wal begins behind an
// epoch that this server has not held, nothing but that is a proof. Threading: free functions, any thread; they read
// pg_wal and block on the stores.
#pragma once

#include "repo/writer_facts.h"

#include <optional>

namespace pgvigil {

struct Agreement {
    Lsn start; // of a segment
    // The repositories have WAL of the timeline before `start`, and nothing shows that this server's goes on from it:
    // readers must not pass over `start`.
    bool breaks = false;
};

// nullopt when no repository has WAL of the server's timeline, complete or streamed.
// `held_epoch`: the highest that the data directory says was this server's, or the one's it is a copy of.
[[nodiscard]] std::optional<Agreement> find_agreement(const ClaimInput &input, const OpenedRepositories &repositories,
                                                      uint64_t held_epoch, const CancelToken &cancel);

} // namespace pgvigil
