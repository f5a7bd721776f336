// gaps/<file>-<time>.json: a WAL file that its server let go without archiving it (rules H1), so that a hole in the WAL
// can be told from a loss. Created once; readers find the hole itself in the listing of the WAL.
// Threading: pure functions.
#pragma once

#include "base/random.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgvigil {

struct GapDocument {
    std::string file;   // as in pg_wal
    std::string reason; // "queue": archive_queue_max was reached; "skipped": an operator named the file
    int64_t time_ms = 0;
    Uuid instance{};
    std::string host;
};

[[nodiscard]] std::string encode(const GapDocument &document);
[[nodiscard]] GapDocument decode_gap(std::string_view json, std::string_view key);

} // namespace pgvigil
