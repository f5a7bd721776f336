// Tries out whether a repository's store does what backups and restores need: creates, reads, lists and deletes a small
// object, creates it a second time (rules C6), asks for one that is absent (rules G3), and compares clocks (rules D3).
// Nothing but that one object, below "pgvigil.check/", is written.
// Threading: blocks its caller. Errors: none but kCancelled; what fails is a row.
#pragma once

#include "base/cancel.h"
#include "storage/object_store.h"

#include <string>
#include <vector>

namespace pgvigil {

struct StoreCheck {
    std::string check; // one word or two
    bool ok = false;
    std::string detail; // a sentence
};

[[nodiscard]] std::vector<StoreCheck> check_store(ObjectStore &store, const CancelToken &cancel);

} // namespace pgvigil
