#include "base/time.h"

#include <cstdio>
#include <ctime>

namespace pgvigil {

namespace {

int64_t clock_ms(clockid_t clock) noexcept {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

tm utc_parts(int64_t unix_seconds) noexcept {
    const time_t seconds = unix_seconds;
    tm parts{};
    gmtime_r(&seconds, &parts);
    return parts;
}

constexpr int64_t floor_div(int64_t value, int64_t by) noexcept {
    return value / by - (value % by < 0 ? 1 : 0);
}

// Reads exactly `width` digits, or fails.
bool digits(std::string_view &text, size_t width, int &value) noexcept {
    if (text.size() < width)
        return false;
    value = 0;
    for (size_t i = 0; i < width; ++i) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(width);
    return true;
}

bool literal(std::string_view &text, char c) noexcept {
    if (text.empty() || text.front() != c)
        return false;
    text.remove_prefix(1);
    return true;
}

// Up to six digits of a fraction, further digits rounded down.
bool fraction_us(std::string_view &text, int &value) noexcept {
    value = 0;
    int count = 0;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
        if (count < 6)
            value = value * 10 + (text.front() - '0');
        ++count;
        text.remove_prefix(1);
    }
    for (int i = count; i < 6; ++i)
        value *= 10;
    return count > 0;
}

enum class Zone { kNone, kOffset, kBad };

Zone zone_offset(std::string_view text, int &offset_seconds) noexcept {
    offset_seconds = 0;
    while (!text.empty() && text.front() == ' ')
        text.remove_prefix(1);
    if (text.empty())
        return Zone::kNone;
    if (text == "Z" || text == "z" || text == "UTC" || text == "GMT")
        return Zone::kOffset;
    const char sign = text.front();
    if (sign != '+' && sign != '-')
        return Zone::kBad;
    text.remove_prefix(1);
    int hours = 0;
    int minutes = 0;
    int seconds = 0;
    if (!digits(text, 2, hours))
        return Zone::kBad;
    if (!text.empty()) {
        literal(text, ':');
        if (!digits(text, 2, minutes))
            return Zone::kBad;
    }
    if (!text.empty()) {
        literal(text, ':');
        if (!digits(text, 2, seconds))
            return Zone::kBad;
    }
    if (!text.empty() || hours > 15 || minutes > 59 || seconds > 59)
        return Zone::kBad;
    offset_seconds = hours * 3600 + minutes * 60 + seconds;
    if (sign == '-')
        offset_seconds = -offset_seconds;
    return Zone::kOffset;
}

} // namespace

int64_t unix_time_ms() noexcept {
    return clock_ms(CLOCK_REALTIME);
}

int64_t boot_time_ms() noexcept {
    return clock_ms(CLOCK_BOOTTIME);
}

std::string iso_time_ms(int64_t unix_ms) {
    const int64_t seconds = floor_div(unix_ms, 1000);
    const tm parts = utc_parts(seconds);
    char text[48];
    std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                  parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(unix_ms - seconds * 1000));
    return text;
}

std::string postgres_time_us(int64_t unix_us) {
    const int64_t seconds = floor_div(unix_us, 1000000);
    const tm parts = utc_parts(seconds);
    const int fraction = static_cast<int>(unix_us - seconds * 1000000);
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00", parts.tm_year + 1900, parts.tm_mon + 1,
                  parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, fraction);
    return text;
}

std::string compact_time(int64_t unix_ms) {
    const tm parts = utc_parts(floor_div(unix_ms, 1000));
    char text[48];
    std::snprintf(text, sizeof text, "%04d%02d%02dT%02d%02d%02d", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                  parts.tm_hour, parts.tm_min, parts.tm_sec);
    return text;
}

std::optional<int64_t> parse_time_us(std::string_view text) noexcept {
    tm parts{};
    int year = 0;
    int month = 0;
    int fraction = 0;
    if (!digits(text, 4, year) || !literal(text, '-') || !digits(text, 2, month) || !literal(text, '-') ||
        !digits(text, 2, parts.tm_mday))
        return std::nullopt;
    if (!literal(text, ' ') && !literal(text, 'T'))
        return std::nullopt;
    if (!digits(text, 2, parts.tm_hour) || !literal(text, ':') || !digits(text, 2, parts.tm_min))
        return std::nullopt;
    if (literal(text, ':')) {
        if (!digits(text, 2, parts.tm_sec))
            return std::nullopt;
        if (literal(text, '.') && !fraction_us(text, fraction))
            return std::nullopt;
    }
    if (parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 59)
        return std::nullopt;
    int offset = 0;
    const Zone zone = zone_offset(text, offset);
    if (zone == Zone::kBad)
        return std::nullopt;
    parts.tm_year = year - 1900;
    parts.tm_mon = month - 1;
    parts.tm_isdst = -1;
    const int day = parts.tm_mday;
    const time_t seconds = zone == Zone::kNone ? mktime(&parts) : timegm(&parts);
    // An impossible date (the 31st of April) comes back normalised to another day.
    if (parts.tm_mon != month - 1 || parts.tm_mday != day)
        return std::nullopt;
    return (static_cast<int64_t>(seconds) - offset) * 1000000 + fraction;
}

} // namespace pgvigil
