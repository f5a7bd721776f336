// Opening what pgvigil.repository names. One repository that cannot be opened does not hide the others: its error is
// kept beside it. Threading: any thread; the result belongs to the caller.
#pragma once

#include "server/server_facts.h"
#include "server/settings.h"

#include "base/cancel.h"
#include "base/error.h"
#include "repo/repository.h"
#include "repo/writer_claim.h"
#include "storage/object_store.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

// PGDATA and every tablespace: no repository and no secret may stand inside of them (rules F5, G4).
[[nodiscard]] std::vector<std::string> server_directories(const std::string &data_directory);

// A store for each URL; opening talks to no server. Throws where one cannot be used as it stands.
[[nodiscard]] std::vector<NamedStore> name_stores(const Settings &settings, const ServerFacts &facts);

struct OpenedStore {
    std::string url;                            // normalised
    std::shared_ptr<ObjectStore> store;         // null where the URL cannot be used
    std::optional<RepositoryDocument> document; // none: the store is empty, or `problem` says why
    std::optional<Error> problem;
};

// Opens every store and reads its root document. Throws only kCancelled.
[[nodiscard]] std::vector<OpenedStore> open_stores(const Settings &settings, const ServerFacts &facts,
                                                   const CancelToken &cancel);

// Those that hold a repository, for reading; throws the first problem when there is none at all.
[[nodiscard]] std::vector<std::shared_ptr<Repository>>
open_for_reading(const Settings &settings, const ServerFacts &facts, const CancelToken &cancel);

// The error for an empty pgvigil.repository.
[[nodiscard]] Error no_repository_error();

} // namespace pgvigil
