// Time zones: what a clock on the wall shows, from the system's zone files (TZif) or a rule in POSIX form, such as
// "CET-1CEST,M3.5.0,M10.5.0/3". Times are seconds since 1970 UTC, offsets seconds east of it.
// Threading: a TimeZone is an ordinary value. Errors: kInvalidArgument for a zone that is not known, kCorrupt for a
// zone file that cannot be understood.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

// A stretch of time with one offset: [start, end).
struct ZonePeriod {
    int64_t start = std::numeric_limits<int64_t>::min();
    int64_t end = std::numeric_limits<int64_t>::max();
    int32_t offset = 0;
};

// The rule for the years that a zone file does not list.
struct ZoneRule {
    struct Change {
        enum class Form : uint8_t { kMonthWeekDay, kJulian, kDayOfYear };
        Form form = Form::kMonthWeekDay;
        int month = 0;         // 1 to 12
        int week = 0;          // 1 to 5; 5 is the last one
        int day = 0;           // of the week (0 = Sunday), or of the year
        int32_t time_s = 7200; // on the wall, after midnight
    };
    int32_t standard_offset = 0;
    bool has_summer = false;
    int32_t summer_offset = 0;
    Change to_summer;
    Change to_standard;
};

// nullopt when `text` is no rule.
[[nodiscard]] std::optional<ZoneRule> parse_zone_rule(std::string_view text);

class TimeZone {
  public:
    // A zone's name, such as Europe/Berlin, or a rule. `directories` are looked through in their order.
    [[nodiscard]] static TimeZone load(std::string_view name, const std::vector<std::string> &directories);
    // The same from /usr/share/zoneinfo and its like.
    [[nodiscard]] static TimeZone load(std::string_view name);
    // The content of a zone file.
    [[nodiscard]] static TimeZone parse(std::string name, std::string_view file);

    [[nodiscard]] const std::string &name() const noexcept { return name_; }
    [[nodiscard]] ZonePeriod period_at(int64_t unix_s) const;

  private:
    struct Transition {
        int64_t at = 0;
        int32_t offset = 0; // from then on
    };
    void add_rule_years(std::vector<Transition> &list, int64_t unix_s) const;

    std::string name_;
    int32_t first_offset_ = 0;
    std::vector<Transition> transitions_; // ascending
    std::optional<ZoneRule> rule_;        // after the last transition
};

} // namespace pgvigil
