// Unix time as PostgreSQL's; the other way is unix_us_from_postgres() of base/time.h. Threading: pure.
#pragma once

#include <cstdint>

namespace pgvigil {

// Microseconds since 1970 UTC as a TimestampTz: microseconds since 2000-01-01 UTC.
[[nodiscard]] constexpr int64_t timestamp_from_unix_us(int64_t unix_us) noexcept {
    return unix_us - int64_t{946684800} * 1000000;
}

} // namespace pgvigil
