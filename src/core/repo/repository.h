// A repository: a store whose root document has been read and checked. What keeps WAL and backups apart from a
// directory that happens to be there (an unmounted file system, a mistyped prefix) is the random id in that document
// (rules C1). Threading: immutable after opening; the store may be used by many threads.
#pragma once

#include "base/random.h"
#include "repo/documents.h"
#include "repo/layout.h"
#include "storage/object_store.h"

#include <memory>
#include <optional>
#include <string>

namespace pgvigil {

class Repository {
  public:
    Repository(std::shared_ptr<ObjectStore> store, RepositoryDocument document, std::string url,
               uint64_t system_identifier);

    [[nodiscard]] ObjectStore &store() const noexcept { return *store_; }
    [[nodiscard]] const Uuid &id() const noexcept { return document_.id; }
    [[nodiscard]] const RepositoryDocument &document() const noexcept { return document_; }
    // The normalised URL: what the identity file knows the repository by, and what messages show. Holds nothing secret.
    [[nodiscard]] const std::string &url() const noexcept { return url_; }
    // Keys of the cluster this handle was opened for.
    [[nodiscard]] const ClusterLayout &layout() const noexcept { return layout_; }

  private:
    std::shared_ptr<ObjectStore> store_;
    RepositoryDocument document_;
    std::string url_;
    ClusterLayout layout_;
};

// The root document; nullopt when the store holds none.
[[nodiscard]] std::optional<RepositoryDocument> read_repository_document(ObjectStore &store, const CancelToken &cancel);
// Creates the root document with a fresh id, or reads the one a racing creator wrote.
[[nodiscard]] RepositoryDocument create_repository_document(ObjectStore &store, const CancelToken &cancel);
// The system identifiers that have a directory in the repository.
[[nodiscard]] std::vector<uint64_t> list_clusters(ObjectStore &store, const CancelToken &cancel);

} // namespace pgvigil
