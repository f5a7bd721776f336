// The lists of objects in a backup's documents: packs, parts of the file table, block hashes. Names become parts of
// keys, so that nothing but what a writer gives is accepted. Threading: pure functions.
#pragma once

#include "base/json.h"
#include "repo/documents.h"

#include <string_view>
#include <vector>

namespace pgvigil::fields {

[[nodiscard]] Json objects_value(const std::vector<StoredObject> &objects);

// The members "packs", "table" and "hashes" of `source`; kCorrupt naming `key` otherwise.
[[nodiscard]] std::vector<StoredObject> packs_member(const Json &source, std::string_view key);
[[nodiscard]] std::vector<StoredObject> table_member(const Json &source, std::string_view key);
[[nodiscard]] std::vector<StoredObject> hashes_member(const Json &source, std::string_view key);

} // namespace pgvigil::fields
