// Cron expressions: "minute hour day-of-month month day-of-week", each *, a number, a range a-b, a step */n or a-b/n,
// or a comma-separated list of these; months and days of the week by number or by name (JAN, MON), Sunday as 0 or 7; or
// @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. Where both days are restricted (neither begins
// with *), either is enough, as in Vixie cron.
//
// When the clocks change: what falls into the hour that is left out fires once, right after it; what falls into the
// hour that comes twice fires the first time only. An expression for every hour follows the time that passes instead:
// nothing is made up, and it fires in both.
// Threading: pure. Times are seconds since 1970 UTC.
#pragma once

#include "base/time_zone.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgvigil {

class CronExpression {
  public:
    // Throws kInvalidArgument; its detail says which field and what is wrong with it.
    [[nodiscard]] static CronExpression parse(std::string_view text);

    // The first time after `unix_s`; nullopt when there is none within 40 years.
    [[nodiscard]] std::optional<int64_t> next_after(int64_t unix_s, const TimeZone &zone) const;
    // The last time after `after` and not after `until`.
    [[nodiscard]] std::optional<int64_t> last_between(int64_t after, int64_t until, const TimeZone &zone) const;

  private:
    [[nodiscard]] bool matches_day(int64_t day) const;
    // The first matching minute of the wall's clock in [from, to), all in seconds.
    [[nodiscard]] std::optional<int64_t> first_match(int64_t from, int64_t to) const;
    [[nodiscard]] bool is_possible() const;

    uint64_t minutes_ = 0; // bits
    uint32_t hours_ = 0;
    uint32_t month_days_ = 0; // bit 1 = the 1st
    uint32_t months_ = 0;     // bit 1 = January
    uint32_t week_days_ = 0;  // bit 0 = Sunday
    bool either_day_ = false;
};

} // namespace pgvigil
