#include "plan/calendar_period.h"

#include <algorithm>
#include <chrono>

namespace pgvigil {

namespace {

constexpr int64_t kDayMs = int64_t{24} * 3600 * 1000;
// std::chrono's calendar ends at the years ±32767.
constexpr int64_t kLastDay = 11000000;
constexpr int64_t kThursdayToMonday = 3; // 1970 began on a Thursday

constexpr int64_t floor_divide(int64_t value, int64_t by) noexcept {
    return value / by - (value % by < 0 ? 1 : 0);
}

} // namespace

int64_t calendar_period(int64_t unix_ms, CalendarUnit unit) noexcept {
    const int64_t day = floor_divide(unix_ms, kDayMs);
    if (unit == CalendarUnit::kDay)
        return day;
    if (unit == CalendarUnit::kWeek)
        return floor_divide(day + kThursdayToMonday, 7);
    const std::chrono::sys_days date{std::chrono::days{std::clamp(day, -kLastDay, kLastDay)}};
    const std::chrono::year_month_day civil(date);
    const int64_t year = static_cast<int>(civil.year());
    return unit == CalendarUnit::kYear ? year : year * 12 + static_cast<unsigned>(civil.month()) - 1;
}

} // namespace pgvigil
