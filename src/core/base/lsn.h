// Log sequence numbers and timelines, and their text forms.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgvigil {

using TimelineId = uint32_t;

// A byte position in the WAL; 0 is "none", as in PostgreSQL.
struct Lsn {
    uint64_t value = 0;

    [[nodiscard]] constexpr bool is_valid() const noexcept { return value != 0; }
    friend constexpr auto operator<=>(Lsn, Lsn) noexcept = default;
};

// "16/B374D848", as pg_lsn prints it.
[[nodiscard]] std::string to_string(Lsn lsn);
// nullopt unless `text` is exactly what pg_lsn accepts: 1 to 8 hexadecimal digits, a slash, 1 to 8 digits.
[[nodiscard]] std::optional<Lsn> parse_lsn(std::string_view text) noexcept;

} // namespace pgvigil
