// The repositories that hold one backup and those it inherits from. What one of them cannot deliver, another is asked
// for.
// Threading: every member may be called by several threads.
#pragma once

#include "base/log.h"
#include "repo/documents.h"
#include "repo/repository.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgvigil {

class RestoreSources {
  public:
    // Reads the commit document of `backup`; repositories that lack it, or hold another, are left out with a warning.
    // Then those of its ancestors, each checked against the digest the backup states. Throws kNotFound when no
    // repository has the backup, kCorrupt naming the document when one of an ancestor is missing or another.
    RestoreSources(const std::vector<std::shared_ptr<Repository>> &repositories, const std::string &backup,
                   LogSink &log, const CancelToken &cancel);

    [[nodiscard]] const CommitDocument &commit() const noexcept { return chain_.front(); }
    // The backup, its parent, … down to the full one.
    [[nodiscard]] const std::vector<CommitDocument> &chain() const noexcept { return chain_; }
    [[nodiscard]] const ClusterLayout &layout() const noexcept { return repositories_.front()->layout(); }

    // Looks that every pack of the chain is there, with its size, in one of the repositories; throws kCorrupt naming
    // one that is not. A restore finds that out by itself, but not before it has begun.
    void check_packs(const CancelToken &cancel) const;

    // Calls `attempt` with one repository after the other, beginning with the one that worked last, until it returns;
    // the last error is thrown, earlier ones are warnings.
    void try_each(const std::function<void(ObjectStore &store)> &attempt);

    // The bytes of an object the commit names, checked against the size and SHA-256 it states; a range of it unchecked.
    [[nodiscard]] Bytes fetch(const std::string &key, const StoredObject &expected, std::optional<ByteRange> range,
                              const CancelToken &cancel);

    // The same of a part of the file table of chain()[member], or its index.
    [[nodiscard]] Bytes fetch_table(size_t member, const std::string &name, std::optional<ByteRange> range,
                                    const CancelToken &cancel);

    // The same of its block hashes.
    [[nodiscard]] Bytes fetch_hashes(size_t member, const std::string &name, ByteRange range,
                                     const CancelToken &cancel);
    // The key of the hashes made for a repository; nullopt when it is none of those at hand.
    [[nodiscard]] std::optional<Bytes> hash_key(const Uuid &repository) const;

  private:
    void find_backup(const std::vector<std::shared_ptr<Repository>> &repositories, const std::string &backup,
                     const CancelToken &cancel);
    void load_ancestors(const CancelToken &cancel);
    [[nodiscard]] CommitDocument load_ancestor(const std::string &id, const std::string &digest,
                                               const CancelToken &cancel);

    std::vector<CommitDocument> chain_;
    std::vector<std::shared_ptr<Repository>> repositories_;
    std::atomic<size_t> preferred_{0};
    LogSink &log_;
};

} // namespace pgvigil
