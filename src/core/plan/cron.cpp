#include "plan/cron.h"

#include "base/error.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <fmt/format.h>
#include <span>
#include <vector>

namespace pgvigil {

namespace {

constexpr int64_t kMinute = 60;
constexpr int64_t kDay = 86400;
constexpr int64_t kHorizon = 40 * 366 * kDay;
constexpr uint32_t kEveryHour = (uint32_t{1} << 24) - 1;

constexpr std::array<std::string_view, 12> kMonths = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                                      "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
constexpr std::array<std::string_view, 7> kDays = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

struct Field {
    const char *name;
    unsigned lowest;
    unsigned highest;
    std::span<const std::string_view> names; // the first one stands for `first_name`
    unsigned first_name;
};

constexpr std::array<Field, 5> kFields = {{
    {"minute", 0, 59, {}, 0},
    {"hour", 0, 23, {}, 0},
    {"day of month", 1, 31, {}, 0},
    {"month", 1, 12, kMonths, 1},
    {"day of week", 0, 7, kDays, 0},
}};

struct Nickname {
    std::string_view name;
    std::string_view meaning;
};

constexpr std::array<Nickname, 7> kNicknames = {{
    {"@hourly", "0 * * * *"},
    {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"},
    {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
}};

std::string upper(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    return result;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
    std::vector<std::string_view> parts;
    for (size_t at = 0; at <= text.size();) {
        const size_t end = std::min(text.find_first_of(separators, at), text.size());
        parts.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return parts;
}

// One field's text made into bits.
class FieldParser {
  public:
    FieldParser(size_t number, std::string_view whole) : field_(kFields[number]), number_(number), whole_(whole) {}

    uint64_t parse(std::string_view text) const {
        uint64_t bits = 0;
        for (const std::string_view item : split(text, ","))
            bits |= parse_item(item);
        return bits;
    }

  private:
    [[noreturn]] void fail(const std::string &what) const {
        throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not a cron expression", whole_))
            .detail(fmt::format("Field {} ({}): {}.", number_ + 1, field_.name, what));
    }

    unsigned plain_number(std::string_view text, unsigned lowest, unsigned highest) const {
        unsigned value = 0;
        bool good = !text.empty() && text.size() <= 4;
        for (const char c : text) {
            good = good && c >= '0' && c <= '9';
            value = value * 10 + static_cast<unsigned>(c - '0');
        }
        if (text.empty())
            fail("a value is missing");
        if (!good)
            fail(fmt::format("\"{}\" is not a number{}", text, field_.names.empty() ? "" : " or a name"));
        if (value < lowest || value > highest)
            fail(fmt::format("{} is not between {} and {}", text, lowest, highest));
        return value;
    }

    unsigned value(std::string_view text) const {
        const std::string name = upper(text);
        const auto found = std::find(field_.names.begin(), field_.names.end(), name);
        if (found != field_.names.end())
            return field_.first_name + static_cast<unsigned>(found - field_.names.begin());
        return plain_number(text, field_.lowest, field_.highest);
    }

    uint64_t parse_item(std::string_view item) const {
        const size_t slash = item.find('/');
        const std::string_view range = item.substr(0, slash);
        const size_t dash = range.find('-');
        unsigned first = field_.lowest;
        unsigned last = field_.highest;
        if (range == "*") {
            // Sunday stands at both ends of the week.
            last = field_.highest == 7 ? 6 : last;
        } else if (dash != std::string_view::npos) {
            first = value(range.substr(0, dash));
            last = value(range.substr(dash + 1));
            if (field_.highest == 7 && last == 0 && first > 0)
                last = 7;
            if (last < first)
                fail(fmt::format("the range \"{}\" ends before it begins", range));
        } else {
            first = last = value(range);
            if (slash != std::string_view::npos)
                fail(fmt::format("the step in \"{}\" needs a range or * before it", item));
        }
        const unsigned step =
            slash == std::string_view::npos ? 1 : plain_number(item.substr(slash + 1), 1, field_.highest);
        uint64_t bits = 0;
        for (unsigned i = first; i <= last; i += step)
            bits |= uint64_t{1} << (field_.highest == 7 ? i % 7 : i);
        return bits;
    }

    const Field &field_;
    size_t number_;
    std::string_view whole_;
};

std::chrono::year_month_day date_of(int64_t day) {
    return std::chrono::year_month_day{std::chrono::sys_days{std::chrono::days{day}}};
}

int64_t floor_to(int64_t value, int64_t unit) noexcept {
    const int64_t rest = value % unit;
    return value - rest - (rest < 0 ? unit : 0);
}

int64_t ceiling_to(int64_t value, int64_t unit) noexcept {
    return floor_to(value + unit - 1, unit);
}

// Up to where the wall's clock had been when `period` began: what lies below has had its turn.
int64_t shown_before(const ZonePeriod &period, const TimeZone &zone) {
    int64_t shown = std::numeric_limits<int64_t>::min();
    ZonePeriod earlier = period;
    // Two of them: a zone may change its mind twice within a day.
    for (int i = 0; i < 2 && earlier.start != std::numeric_limits<int64_t>::min(); ++i) {
        earlier = zone.period_at(earlier.start - 1);
        shown = std::max(shown, earlier.end + earlier.offset);
    }
    return shown;
}

} // namespace

CronExpression CronExpression::parse(std::string_view text) {
    std::vector<std::string_view> words;
    for (const std::string_view word : split(text, " \t"))
        if (!word.empty())
            words.push_back(word);
    if (words.size() == 1 && words[0].starts_with('@')) {
        const std::string name = upper(words[0]);
        for (const Nickname &nickname : kNicknames)
            if (upper(nickname.name) == name)
                return parse(nickname.meaning);
        throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not a cron expression", text))
            .detail("Expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or five fields.");
    }
    if (words.size() != kFields.size())
        throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not a cron expression", text))
            .detail(fmt::format("It has {} fields; expected five: minute, hour, day of month, month and day of week.",
                                words.size()));
    CronExpression expression;
    expression.minutes_ = FieldParser(0, text).parse(words[0]);
    expression.hours_ = static_cast<uint32_t>(FieldParser(1, text).parse(words[1]));
    expression.month_days_ = static_cast<uint32_t>(FieldParser(2, text).parse(words[2]));
    expression.months_ = static_cast<uint32_t>(FieldParser(3, text).parse(words[3]));
    expression.week_days_ = static_cast<uint32_t>(FieldParser(4, text).parse(words[4]));
    expression.either_day_ = words[2].front() != '*' && words[4].front() != '*';
    if (!expression.is_possible())
        throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not a cron expression", text))
            .detail("Field 3 (day of month): none of the months in field 4 has such a day.");
    return expression;
}

bool CronExpression::is_possible() const {
    constexpr std::array<unsigned, 13> kLongest = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (either_day_)
        return true;
    for (unsigned month = 1; month <= 12; ++month)
        if ((months_ >> month & 1) != 0 && (month_days_ & ((uint64_t{2} << kLongest[month]) - 1)) != 0)
            return true;
    return false;
}

bool CronExpression::matches_day(int64_t day) const {
    const std::chrono::year_month_day date = date_of(day);
    const auto week_day = std::chrono::weekday{std::chrono::sys_days{std::chrono::days{day}}}.c_encoding();
    if ((months_ >> static_cast<unsigned>(date.month()) & 1) == 0)
        return false;
    const bool by_month = (month_days_ >> static_cast<unsigned>(date.day()) & 1) != 0;
    const bool by_week = (week_days_ >> week_day & 1) != 0;
    return either_day_ ? by_month || by_week : by_month && by_week;
}

std::optional<int64_t> CronExpression::first_match(int64_t from, int64_t to) const {
    from = ceiling_to(from, kMinute);
    for (int64_t day = floor_to(from, kDay); day < to; day += kDay) {
        if (!matches_day(day / kDay))
            continue;
        for (int64_t time = std::max(from, day); time < day + kDay && time < to;) {
            const int64_t hour = (time - day) / 3600;
            if ((hours_ >> hour & 1) == 0) {
                time = day + (hour + 1) * 3600;
                continue;
            }
            if ((minutes_ >> ((time - day) / kMinute % 60) & 1) != 0)
                return time;
            time += kMinute;
        }
    }
    return std::nullopt;
}

std::optional<int64_t> CronExpression::next_after(int64_t unix_s, const TimeZone &zone) const {
    const bool every_hour = hours_ == kEveryHour;
    const int64_t horizon = unix_s + kHorizon;
    for (int64_t at = unix_s; at < horizon;) {
        const ZonePeriod period = zone.period_at(at);
        const bool is_first = period.start == std::numeric_limits<int64_t>::min();
        const int64_t begins = is_first ? period.start : period.start + period.offset; // on the wall
        const int64_t shown = is_first ? period.start : shown_before(period, zone);
        if (!every_hour && shown < begins && shown != std::numeric_limits<int64_t>::min()) {
            const int64_t made_up = ceiling_to(period.start, kMinute);
            if (made_up > unix_s && first_match(shown, begins))
                return made_up;
        }
        int64_t from = floor_to(std::max(at, unix_s) + period.offset, kMinute);
        if (at == unix_s)
            from += kMinute;
        if (!every_hour)
            from = std::max(from, shown);
        const int64_t end = std::min(period.end, horizon);
        if (const auto found = first_match(from, end + period.offset))
            return *found - period.offset;
        at = end;
    }
    return std::nullopt;
}

std::optional<int64_t> CronExpression::last_between(int64_t after, int64_t until, const TimeZone &zone) const {
    // Looked for backwards in growing steps: most expressions fire within a week.
    for (const int64_t step : {int64_t{3600}, kDay, 8 * kDay, 62 * kDay, 366 * kDay, kHorizon}) {
        std::optional<int64_t> last;
        for (auto next = next_after(std::max(after, until - step), zone); next && *next <= until;
             next = next_after(*next, zone))
            last = next;
        if (last || until - step <= after)
            return last;
    }
    return std::nullopt;
}

} // namespace pgvigil
