// Several repositories of one cluster seen as one: what one of them lacks, another may have.
// Threading: pure function.
#pragma once

#include "repo/catalog.h"

#include <vector>

namespace pgvigil {

// Backups and segments that any of the catalogs has. Index objects are left out: they belong to one repository each.
[[nodiscard]] Catalog unite(const std::vector<Catalog> &catalogs);

} // namespace pgvigil
