// Wall-clock times as milliseconds or microseconds since 1970 UTC, and their text forms.
// Wall-clock times are shown and stored; durations and time-outs use steady or boot-time clocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgvigil {

[[nodiscard]] int64_t unix_time_ms() noexcept;
// CLOCK_BOOTTIME: advances while the machine is suspended, never jumps (rules C4).
[[nodiscard]] int64_t boot_time_ms() noexcept;

// PostgreSQL's TimestampTz (microseconds since 2000-01-01 UTC) to microseconds since 1970 UTC.
[[nodiscard]] constexpr int64_t unix_us_from_postgres(int64_t timestamptz) noexcept {
    return timestamptz + int64_t{946684800} * 1000000;
}

// "2026-11-20T08:40:13.123Z" / "2026-11-20 08:40:13.123456+00", the latter as PostgreSQL prints and reads it.
[[nodiscard]] std::string iso_time_ms(int64_t unix_ms);
[[nodiscard]] std::string postgres_time_us(int64_t unix_us);
// "20261120T084013", for names that sort by time.
[[nodiscard]] std::string compact_time(int64_t unix_ms);

// Microseconds since 1970 UTC of "YYYY-MM-DD[ T]HH:MM[:SS[.ffffff]][ ][Z|±HH[[:]MM[[:]SS]]|UTC]"; without a zone the
// process's local time zone holds. nullopt for anything else, impossible dates included.
[[nodiscard]] std::optional<int64_t> parse_time_us(std::string_view text) noexcept;

} // namespace pgvigil
