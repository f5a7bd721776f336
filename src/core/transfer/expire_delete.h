// Deletes many objects in batches, several at the same time, and counts what became of them. Used by transfer/expire.
// Threading: one owner; remove() blocks and uses threads of its own.
#pragma once

#include "base/cancel.h"
#include "base/error.h"
#include "storage/object_store.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace pgvigil {

struct DoomedObject {
    std::string key;
    uint64_t size = 0; // bytes as stored
};

class Deleter {
  public:
    Deleter(ObjectStore &store, unsigned threads) : store_(store), threads_(threads == 0 ? 1 : threads) {}

    // Deletes in any order; returns the keys that are still there. Throws what the store throws for a whole request.
    std::set<std::string> remove(const std::vector<DoomedObject> &objects, const CancelToken &cancel);

    [[nodiscard]] uint64_t deleted_objects() const noexcept { return deleted_objects_; }
    [[nodiscard]] uint64_t deleted_bytes() const noexcept { return deleted_bytes_; }
    [[nodiscard]] uint64_t denied_objects() const noexcept { return denied_objects_; }
    // What the store said about the first object it did not allow to delete.
    [[nodiscard]] const std::string &denial() const noexcept { return denial_; }
    // What else went wrong with single objects.
    [[nodiscard]] std::optional<Error> failure() const;

  private:
    ObjectStore &store_;
    const unsigned threads_;
    uint64_t deleted_objects_ = 0;
    uint64_t deleted_bytes_ = 0;
    uint64_t denied_objects_ = 0;
    uint64_t failed_objects_ = 0;
    std::string denial_;
    std::string first_failure_;
};

} // namespace pgvigil
