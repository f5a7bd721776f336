// Calendar periods in UTC as numbers that count up: for rules such as "the newest backup of each week".
// Threading: pure functions.
#pragma once

#include <cstdint>

namespace pgvigil {

enum class CalendarUnit { kDay, kWeek, kMonth, kYear };

// The number of the period that holds the moment; weeks begin on Monday. Any time is allowed, also before 1970.
[[nodiscard]] int64_t calendar_period(int64_t unix_ms, CalendarUnit unit) noexcept;

} // namespace pgvigil
