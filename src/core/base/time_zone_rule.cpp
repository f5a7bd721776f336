#include "base/time_zone.h"

namespace pgvigil {

namespace {

// The grammar of POSIX's TZ variable, with RFC 8536's hours from -167 to 167.
class RuleParser {
  public:
    explicit RuleParser(std::string_view text) : rest_(text) {}

    std::optional<ZoneRule> parse() {
        ZoneRule rule;
        int32_t west = 0;
        if (!name() || !time(west, 24))
            return std::nullopt;
        rule.standard_offset = -west;
        if (rest_.empty())
            return rule;
        if (!name())
            return std::nullopt;
        rule.has_summer = true;
        rule.summer_offset = rule.standard_offset + 3600;
        if (!rest_.empty() && rest_.front() != ',') {
            if (!time(west, 24))
                return std::nullopt;
            rule.summer_offset = -west;
        }
        // Where the changes are not told, the United States' hold, as everywhere else.
        if (rest_.empty())
            rest_ = ",M3.2.0,M11.1.0";
        if (!take(',') || !change(rule.to_summer) || !take(',') || !change(rule.to_standard) || !rest_.empty())
            return std::nullopt;
        return rule;
    }

  private:
    bool take(char wanted) {
        if (rest_.empty() || rest_.front() != wanted)
            return false;
        rest_.remove_prefix(1);
        return true;
    }

    bool name() {
        size_t length = 0;
        if (take('<')) {
            length = rest_.find('>');
            if (length == std::string_view::npos || length < 3)
                return false;
            rest_.remove_prefix(length + 1);
            return true;
        }
        while (length < rest_.size() &&
               ((rest_[length] >= 'A' && rest_[length] <= 'Z') || (rest_[length] >= 'a' && rest_[length] <= 'z')))
            ++length;
        rest_.remove_prefix(length);
        return length >= 3;
    }

    bool number(int &value, int lowest, int highest) {
        size_t length = 0;
        value = 0;
        for (; length < rest_.size() && length < 4 && rest_[length] >= '0' && rest_[length] <= '9'; ++length)
            value = value * 10 + (rest_[length] - '0');
        rest_.remove_prefix(length);
        return length > 0 && value >= lowest && value <= highest;
    }

    bool time(int32_t &seconds, int highest_hour) {
        const bool negative = take('-');
        if (!negative)
            (void)take('+');
        int hours = 0;
        int minutes = 0;
        int rest = 0;
        if (!number(hours, 0, highest_hour))
            return false;
        if (take(':') && (!number(minutes, 0, 59) || (take(':') && !number(rest, 0, 59))))
            return false;
        seconds = hours * 3600 + minutes * 60 + rest;
        if (negative)
            seconds = -seconds;
        return true;
    }

    bool change(ZoneRule::Change &change) {
        using Form = ZoneRule::Change::Form;
        if (take('M')) {
            change.form = Form::kMonthWeekDay;
            if (!number(change.month, 1, 12) || !take('.') || !number(change.week, 1, 5) || !take('.') ||
                !number(change.day, 0, 6))
                return false;
        } else if (take('J')) {
            change.form = Form::kJulian;
            if (!number(change.day, 1, 365))
                return false;
        } else {
            change.form = Form::kDayOfYear;
            if (!number(change.day, 0, 365))
                return false;
        }
        return !take('/') || time(change.time_s, 167);
    }

    std::string_view rest_;
};

} // namespace

std::optional<ZoneRule> parse_zone_rule(std::string_view text) {
    return RuleParser(text).parse();
}

} // namespace pgvigil
