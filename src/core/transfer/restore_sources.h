// The repositories that hold one backup. What one of them cannot deliver, another is asked for.
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
    // Throws kNotFound when none has it.
    RestoreSources(const std::vector<std::shared_ptr<Repository>> &repositories, const std::string &backup,
                   LogSink &log, const CancelToken &cancel);

    [[nodiscard]] const CommitDocument &commit() const noexcept { return *commit_; }
    [[nodiscard]] const ClusterLayout &layout() const noexcept { return repositories_.front()->layout(); }

    // Calls `attempt` with one repository after the other, beginning with the one that worked last, until it returns;
    // the last error is thrown, earlier ones are warnings.
    void try_each(const std::function<void(ObjectStore &store)> &attempt);

    // The bytes of an object the commit names, checked against the size and SHA-256 it states; a range of it unchecked.
    [[nodiscard]] Bytes fetch(const std::string &key, const StoredObject &expected, std::optional<ByteRange> range,
                              const CancelToken &cancel);

  private:
    std::optional<CommitDocument> commit_;
    std::vector<std::shared_ptr<Repository>> repositories_;
    std::atomic<size_t> preferred_{0};
    LogSink &log_;
};

} // namespace pgvigil
