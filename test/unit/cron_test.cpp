#include "plan/cron.h"

#include "base/error.h"

#include <cstdlib>
#include <ctime>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <set>
#include <sstream>

namespace pgvigil {
namespace {

constexpr int64_t kDay = 86400;

int64_t utc(int year, int month, int day, int hour, int minute) {
    std::tm time{};
    time.tm_year = year - 1900;
    time.tm_mon = month - 1;
    time.tm_mday = day;
    time.tm_hour = hour;
    time.tm_min = minute;
    return timegm(&time);
}

std::string why(const std::string &text) {
    try {
        (void)CronExpression::parse(text);
    } catch (const Error &error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
        return error.detail();
    }
    return "";
}

std::string fires(const std::string &text, int64_t after, int count, const TimeZone &zone) {
    const CronExpression expression = CronExpression::parse(text);
    std::string list;
    for (auto next = expression.next_after(after, zone); next && count-- > 0;
         next = expression.next_after(*next, zone)) {
        char buffer[32];
        const time_t time = *next;
        std::tm parts{};
        gmtime_r(&time, &parts);
        (void)strftime(buffer, sizeof buffer, "%d %H:%M", &parts);
        list += (list.empty() ? "" : ", ") + std::string(buffer);
    }
    return list;
}

TEST(CronTest, SaysWhatIsWrong) {
    EXPECT_EQ(why("0 2 * * 0"), "");
    EXPECT_EQ(why(""), "It has 0 fields; expected five: minute, hour, day of month, month and day of week.");
    EXPECT_EQ(why("0 2 * *"), "It has 4 fields; expected five: minute, hour, day of month, month and day of week.");
    EXPECT_EQ(why("60 2 * * *"), "Field 1 (minute): 60 is not between 0 and 59.");
    EXPECT_EQ(why("0 24 * * *"), "Field 2 (hour): 24 is not between 0 and 23.");
    EXPECT_EQ(why("0 2 0 * *"), "Field 3 (day of month): 0 is not between 1 and 31.");
    EXPECT_EQ(why("0 2 * FOO *"), "Field 4 (month): \"FOO\" is not a number or a name.");
    EXPECT_EQ(why("0 2 * * 8"), "Field 5 (day of week): 8 is not between 0 and 7.");
    EXPECT_EQ(why("0,,5 2 * * *"), "Field 1 (minute): a value is missing.");
    EXPECT_EQ(why("5-1 2 * * *"), "Field 1 (minute): the range \"5-1\" ends before it begins.");
    EXPECT_EQ(why("5/2 2 * * *"), "Field 1 (minute): the step in \"5/2\" needs a range or * before it.");
    EXPECT_EQ(why("*/0 2 * * *"), "Field 1 (minute): 0 is not between 1 and 59.");
    EXPECT_EQ(why("0 2 30 2 *"), "Field 3 (day of month): none of the months in field 4 has such a day.");
    EXPECT_EQ(why("0 2 30 2 1"), "");
    EXPECT_EQ(why("0 2 29 2 *"), "");
    EXPECT_NE(why("@reboot"), "");
    EXPECT_EQ(why("  0  2 * jan-Mar,dec mon-SUN "), "");
}

TEST(CronTest, FiresWhenItShould) {
    const TimeZone zone = TimeZone::load("UTC");
    const int64_t friday = utc(2026, 11, 20, 12, 0);
    EXPECT_EQ(fires("0 2 * * 0", friday, 2, zone), "22 02:00, 29 02:00");
    EXPECT_EQ(fires("0 2 * * 7", friday, 2, zone), "22 02:00, 29 02:00");
    EXPECT_EQ(fires("0 2 * * FRI-SUN", friday, 3, zone), "21 02:00, 22 02:00, 27 02:00");
    EXPECT_EQ(fires("*/20 12 * * *", friday, 3, zone), "20 12:20, 20 12:40, 21 12:00");
    // Either day is enough where both are restricted; with a * both must match.
    EXPECT_EQ(fires("0 0 25 * MON", friday, 3, zone), "23 00:00, 25 00:00, 30 00:00");
    EXPECT_EQ(fires("0 0 */2 * MON", friday, 2, zone), "23 00:00, 07 00:00");
    EXPECT_EQ(fires("0 0 29 FEB *", friday, 1, zone), "29 00:00");
    EXPECT_EQ(fires("@monthly", friday, 2, zone), "01 00:00, 01 00:00");
    const CronExpression weekly = CronExpression::parse("0 2 * * 0");
    EXPECT_EQ(weekly.last_between(friday - 30 * kDay, friday, zone), utc(2026, 11, 15, 2, 0));
    EXPECT_EQ(weekly.last_between(friday - kDay, friday, zone), std::nullopt);
    EXPECT_EQ(weekly.last_between(utc(2026, 11, 15, 2, 0), friday, zone), std::nullopt);
    EXPECT_EQ(CronExpression::parse("* * * * *").last_between(0, friday, zone), friday);
}

TEST(CronTest, ChangesOfTheClock) {
    const TimeZone berlin = TimeZone::load("Europe/Berlin");
    // 2026-03-29 02:00 CET becomes 03:00 CEST (01:00 UTC).
    EXPECT_EQ(fires("30 2 * * *", utc(2026, 3, 28, 12, 0), 2, berlin), "29 01:00, 30 00:30");
    EXPECT_EQ(fires("0,30 2,3 * * *", utc(2026, 3, 28, 12, 0), 3, berlin), "29 01:00, 29 01:30, 30 00:00");
    // 2026-10-25 03:00 CEST becomes 02:00 CET (01:00 UTC): 02:30 comes at 00:30 and 01:30 UTC.
    EXPECT_EQ(fires("30 2 * * *", utc(2026, 10, 24, 12, 0), 2, berlin), "25 00:30, 26 01:30");
    EXPECT_EQ(fires("30 * * * *", utc(2026, 10, 25, 0, 0), 3, berlin), "25 00:30, 25 01:30, 25 02:30");
    const TimeZone lord_howe = TimeZone::load("Australia/Lord_Howe");
    // 2026-10-04 02:00 +10:30 becomes 02:30 +11 (2026-10-03 15:30 UTC).
    EXPECT_EQ(fires("15 2 * * *", utc(2026, 10, 3, 12, 0), 2, lord_howe), "03 15:30, 04 15:15");
}

// What another implementation would say: glibc's local time, minute after minute.
class Enumeration {
  public:
    Enumeration(const std::string &expression, const std::string &zone) {
        std::istringstream words(expression);
        for (auto &field : fields_)
            words >> field;
        setenv("TZ", zone.c_str(), 1); // NOLINT(concurrency-mt-unsafe)
        tzset();                       // NOLINT(concurrency-mt-unsafe)
    }
    ~Enumeration() {
        unsetenv("TZ"); // NOLINT(concurrency-mt-unsafe)
        tzset();        // NOLINT(concurrency-mt-unsafe)
    }
    Enumeration(const Enumeration &) = delete;
    Enumeration &operator=(const Enumeration &) = delete;

    std::vector<int64_t> run(int64_t from, int64_t until) {
        std::vector<int64_t> found;
        int64_t highest = wall(from - 2 * kDay);
        for (int64_t t = from - 2 * kDay + 60; t <= until; t += 60) {
            const int64_t now = wall(t);
            bool fire = matches(now);
            if (fields_[1] != "*") {
                fire = fire && now > highest;
                for (int64_t left_out = highest + 60; left_out < now; left_out += 60)
                    fire = fire || matches(left_out);
            }
            highest = std::max(highest, now);
            if (fire && t > from)
                found.push_back(t);
        }
        return found;
    }

  private:
    // The wall's clock as if it were UTC.
    static int64_t wall(int64_t unix_s) {
        const time_t time = unix_s;
        std::tm parts{};
        localtime_r(&time, &parts);
        return timegm(&parts);
    }
    static bool in_list(const std::string &field, int value) {
        if (field == "*")
            return true;
        std::istringstream items(field);
        for (std::string item; std::getline(items, item, ',');)
            if (std::stoi(item) == value)
                return true;
        return false;
    }
    bool matches(int64_t shown) const {
        const time_t time = shown;
        std::tm parts{};
        gmtime_r(&time, &parts);
        const bool by_month = in_list(fields_[2], parts.tm_mday);
        const bool by_week = in_list(fields_[4], parts.tm_wday);
        const bool day = fields_[2] != "*" && fields_[4] != "*" ? by_month || by_week : by_month && by_week;
        return day && in_list(fields_[0], parts.tm_min) && in_list(fields_[1], parts.tm_hour) &&
               in_list(fields_[3], parts.tm_mon + 1);
    }
    std::array<std::string, 5> fields_;
};

std::string random_list(int lowest, int highest, int star_in) {
    if (*rc::gen::inRange(0, star_in) == 0)
        return "*";
    std::set<int> values;
    const int count = *rc::gen::inRange(1, 4);
    for (int i = 0; i < count; ++i)
        values.insert(*rc::gen::inRange(lowest, highest + 1));
    std::string text;
    for (const int value : values)
        text += (text.empty() ? "" : ",") + std::to_string(value);
    return text;
}

// Days on whose eve the clocks of a zone change, and ordinary ones.
RC_GTEST_PROP(CronProperty, AgreesWithAnEnumerationMinuteByMinute, ()) {
    const std::vector<std::pair<std::string, std::vector<int64_t>>> zones = {
        {"Europe/Berlin", {utc(2026, 3, 29, 1, 0), utc(2026, 10, 25, 1, 0), utc(2041, 3, 31, 1, 0)}},
        {"America/New_York", {utc(2026, 3, 8, 7, 0), utc(2026, 11, 1, 6, 0), utc(2045, 11, 5, 6, 0)}},
        {"Australia/Lord_Howe", {utc(2026, 4, 4, 15, 0), utc(2026, 10, 3, 15, 30), utc(2050, 4, 2, 15, 0)}},
        {"America/Santiago", {utc(2026, 4, 5, 3, 0), utc(2026, 9, 6, 4, 0)}},
        {"Africa/Casablanca", {utc(2026, 2, 15, 2, 0), utc(2026, 3, 22, 2, 0)}},
        {"Pacific/Apia", {utc(2011, 12, 30, 10, 0)}},
        {"UTC", {utc(2026, 6, 1, 0, 0)}},
    };
    const auto &[name, changes] = *rc::gen::elementOf(zones);
    const int64_t around = *rc::gen::elementOf(changes);
    const int64_t from = around + *rc::gen::inRange(-4000, 1000) * 60 + *rc::gen::inRange(0, 60);
    const int64_t until = from + 4 * kDay;
    const std::string text = random_list(0, 59, 4) + " " +
                             (*rc::gen::inRange(0, 2) == 0 ? random_list(0, 4, 4) : random_list(0, 23, 3)) + " " +
                             random_list(1, 31, 2) + " * " + random_list(0, 6, 2);
    const TimeZone zone = TimeZone::load(name);
    const CronExpression expression = CronExpression::parse(text);
    const int64_t first_minute = from - from % 60;
    std::vector<int64_t> expected = Enumeration(text, name).run(first_minute, until);
    std::vector<int64_t> found;
    for (auto next = expression.next_after(from, zone); next && *next <= until;
         next = expression.next_after(*next, zone))
        found.push_back(*next);
    RC_LOG() << name << " \"" << text << "\" after " << from << "\n";
    RC_ASSERT(found == expected);
    const auto last = expression.last_between(from, until, zone);
    RC_ASSERT(last.has_value() == !expected.empty());
    if (last)
        RC_ASSERT(*last == expected.back());
}

TEST(TimeZoneTest, AgreesWithTheCLibrary) {
    for (const char *name : {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
                             "Asia/Kolkata", "America/Sao_Paulo", "Antarctica/Troll", "UTC", "Europe/Dublin"}) {
        const TimeZone zone = TimeZone::load(name);
        setenv("TZ", name, 1); // NOLINT(concurrency-mt-unsafe)
        tzset();               // NOLINT(concurrency-mt-unsafe)
        for (int64_t t = utc(1960, 1, 1, 0, 0); t < utc(2070, 1, 1, 0, 0); t += 3 * kDay / 2 + 1234) {
            const time_t time = t;
            std::tm parts{};
            localtime_r(&time, &parts);
            const ZonePeriod period = zone.period_at(t);
            ASSERT_EQ(period.offset, parts.tm_gmtoff) << name << " at " << t;
            ASSERT_LE(period.start, t);
            ASSERT_GT(period.end, t);
        }
    }
    unsetenv("TZ"); // NOLINT(concurrency-mt-unsafe)
    tzset();        // NOLINT(concurrency-mt-unsafe)
}

TEST(TimeZoneTest, RulesAndNames) {
    const TimeZone berlin = TimeZone::load("Europe/Berlin");
    const TimeZone rule = TimeZone::load("CET-1CEST,M3.5.0,M10.5.0/3");
    for (int64_t t = utc(2020, 1, 1, 0, 0); t < utc(2060, 1, 1, 0, 0); t += kDay / 3)
        ASSERT_EQ(rule.period_at(t).offset, berlin.period_at(t).offset) << t;
    EXPECT_EQ(TimeZone::load("<+0530>-5:30").period_at(0).offset, 19800);
    EXPECT_EQ(TimeZone::load("UTC", {}).period_at(0).offset, 0);
    for (const char *name :
         {"", "Europe/Nowhere", "../../etc/passwd", "/etc/passwd", "Europe", "CET-1CEST,M13.1.0,M1.1.0"})
        EXPECT_THROW((void)TimeZone::load(name), Error) << name;
    EXPECT_THROW((void)TimeZone::parse("x", "TZif2"), Error);
}

} // namespace
} // namespace pgvigil
