// What the writer's decision needs to know, gathered from repositories and the data directory; used by
// repo/writer_claim.cpp alone. Threading: free functions, any thread.
#pragma once

#include "repo/writer_claim.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

struct OpenedRepository {
    std::string url;
    std::shared_ptr<ObjectStore> store;
    std::optional<RepositoryDocument> document; // nullopt: never used before, to be created by the first claim
    std::vector<EpochDocument> epochs;
    RepositoryFacts facts;

    [[nodiscard]] std::shared_ptr<Repository> handle(uint64_t system_identifier) const;
};

struct OpenedRepositories {
    std::vector<OpenedRepository> opened; // in the order given
    std::vector<UnreachableRepository> unreachable;
};

// Reads every repository and compares its id with what `identity` has accepted; throws kForeign where they differ. A
// repository that cannot be reached is left out as long as `required` others can be.
[[nodiscard]] OpenedRepositories open_repositories(const ClaimInput &input, const std::vector<NamedStore> &stores,
                                                   const Identity &identity, const CancelToken &cancel);

// Where this server's archiving on its timeline starts: the first segment that still waits in pg_wal, or the end of
// WAL. A copy of a server has the same bytes before that, and maybe others after it.
[[nodiscard]] Lsn archiving_start(const ClaimInput &input);

// The reason in the file pgvigil.take_over; nullopt when there is none.
[[nodiscard]] std::optional<std::string> read_take_over_file(const std::string &data_directory);
void remove_take_over_file(const std::string &data_directory);

} // namespace pgvigil
