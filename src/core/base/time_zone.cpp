#include "base/time_zone.h"

#include "base/error.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

namespace pgvigil {

namespace {

constexpr size_t kMaxZoneFile = size_t{256} * 1024;
constexpr size_t kHeader = 44;

// The numbers of one block of a zone file, in the order of its header.
struct Counts {
    uint32_t utc_marks = 0;
    uint32_t standard_marks = 0;
    uint32_t leaps = 0;
    uint32_t times = 0;
    uint32_t types = 0;
    uint32_t letters = 0;

    [[nodiscard]] uint64_t bytes(unsigned time_bytes) const noexcept {
        return uint64_t{times} * (time_bytes + 1) + uint64_t{types} * 6 + letters + uint64_t{leaps} * (time_bytes + 4) +
               standard_marks + utc_marks;
    }
};

int64_t big_endian(std::string_view bytes) noexcept {
    uint64_t value = (static_cast<unsigned char>(bytes[0]) & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (const char byte : bytes)
        value = (value << 8) | static_cast<unsigned char>(byte);
    return static_cast<int64_t>(value);
}

[[noreturn]] void damaged(const std::string &name) {
    throw Error(ErrorCode::kCorrupt, "the zone file of \"" + name + "\" cannot be understood");
}

Counts read_counts(std::string_view file, const std::string &name) {
    if (file.size() < kHeader || !file.starts_with("TZif"))
        damaged(name);
    uint32_t numbers[6];
    for (size_t i = 0; i < 6; ++i)
        numbers[i] = static_cast<uint32_t>(big_endian(file.substr(20 + 4 * i, 4)));
    return {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
}

int64_t day_number(std::chrono::sys_days day) noexcept {
    return day.time_since_epoch().count();
}

int64_t day_of(const ZoneRule::Change &change, int year) {
    using namespace std::chrono;
    const std::chrono::year in_year{year};
    const int64_t january = day_number(sys_days{in_year / January / 1});
    if (change.form == ZoneRule::Change::Form::kDayOfYear)
        return january + change.day;
    // Julian days do not count the 29th of February.
    if (change.form == ZoneRule::Change::Form::kJulian)
        return january + change.day - 1 + (in_year.is_leap() && change.day >= 60 ? 1 : 0);
    const std::chrono::month in_month{static_cast<unsigned>(change.month)};
    const weekday wanted{static_cast<unsigned>(change.day)};
    if (change.week == 5)
        return day_number(sys_days{in_year / in_month / wanted[last]});
    return day_number(sys_days{in_year / in_month / wanted[static_cast<unsigned>(change.week)]});
}

// A name as zone files have it: nothing that leads out of their directory.
bool is_file_name(std::string_view name) noexcept {
    if (name.empty() || name.front() == '/' || name.front() == '.' || name.size() > 100 ||
        name.find("..") != std::string_view::npos)
        return false;
    return std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
               c == '+' || c == '/' || c == '.';
    });
}

std::optional<std::string> read_zone_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file)
        return std::nullopt;
    std::string content(kMaxZoneFile, '\0');
    file.read(content.data(), static_cast<std::streamsize>(content.size()));
    content.resize(static_cast<size_t>(file.gcount()));
    // A directory can be opened, and is empty.
    return content.empty() ? std::nullopt : std::optional(std::move(content));
}

} // namespace

TimeZone TimeZone::load(std::string_view name) {
    return load(name, {"/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"});
}

TimeZone TimeZone::load(std::string_view name, const std::vector<std::string> &directories) {
    if (is_file_name(name))
        for (const std::string &directory : directories)
            if (const auto content = read_zone_file(directory + "/" + std::string(name)))
                return parse(std::string(name), *content);
    TimeZone zone;
    zone.name_ = name;
    // Known everywhere, zone files or not.
    if (name == "UTC" || name == "GMT")
        return zone;
    zone.rule_ = parse_zone_rule(name);
    if (!zone.rule_)
        throw Error(ErrorCode::kInvalidArgument, "time zone \"" + std::string(name) + "\" is not known")
            .detail("Expected the name of a zone file, such as Europe/Berlin, or UTC.");
    zone.first_offset_ = zone.rule_->standard_offset;
    return zone;
}

TimeZone TimeZone::parse(std::string name, std::string_view file) {
    Counts counts = read_counts(file, name);
    unsigned time_bytes = 4;
    const bool has_second = file[4] >= '2';
    if (has_second) {
        const uint64_t skip = kHeader + counts.bytes(4);
        if (skip > file.size())
            damaged(name);
        file.remove_prefix(skip);
        counts = read_counts(file, name);
        time_bytes = 8;
    }
    file.remove_prefix(kHeader);
    if (counts.bytes(time_bytes) > file.size() || counts.types == 0)
        damaged(name);
    const std::string_view times = file.substr(0, size_t{counts.times} * time_bytes);
    const std::string_view indexes = file.substr(times.size(), counts.times);
    const std::string_view types = file.substr(times.size() + indexes.size(), size_t{counts.types} * 6);
    const auto offset_of = [&](size_t type) {
        if (type >= counts.types)
            damaged(name);
        return static_cast<int32_t>(big_endian(types.substr(type * 6, 4)));
    };
    TimeZone zone;
    zone.first_offset_ = offset_of(0);
    for (size_t i = 0; i < counts.times; ++i) {
        const int64_t at = big_endian(times.substr(i * time_bytes, time_bytes));
        if (!zone.transitions_.empty() && at <= zone.transitions_.back().at)
            damaged(name);
        zone.transitions_.push_back({at, offset_of(static_cast<unsigned char>(indexes[i]))});
    }
    if (has_second) {
        std::string_view footer = file.substr(counts.bytes(time_bytes));
        if (footer.size() < 2 || footer.front() != '\n' || footer.find('\n', 1) == std::string_view::npos)
            damaged(name);
        footer = footer.substr(1, footer.find('\n', 1) - 1);
        if (!footer.empty())
            zone.rule_ = parse_zone_rule(footer);
        if (!footer.empty() && !zone.rule_)
            damaged(name);
    }
    zone.name_ = std::move(name);
    return zone;
}

void TimeZone::add_rule_years(std::vector<Transition> &list, int64_t unix_s) const {
    using namespace std::chrono;
    const int64_t begin = transitions_.empty() ? std::numeric_limits<int64_t>::min() : transitions_.back().at;
    const int year = static_cast<int>(year_month_day{floor<days>(sys_seconds{seconds{unix_s}})}.year());
    std::vector<Transition> made;
    for (int y = year - 2; y <= year + 2; ++y) {
        const int64_t to_summer =
            day_of(rule_->to_summer, y) * 86400 + rule_->to_summer.time_s - rule_->standard_offset;
        const int64_t to_standard =
            day_of(rule_->to_standard, y) * 86400 + rule_->to_standard.time_s - rule_->summer_offset;
        made.push_back({to_summer, rule_->summer_offset});
        made.push_back({to_standard, rule_->standard_offset});
    }
    std::stable_sort(made.begin(), made.end(), [](const auto &a, const auto &b) { return a.at < b.at; });
    for (const Transition &transition : made)
        if (transition.at > begin)
            list.push_back(transition);
}

ZonePeriod TimeZone::period_at(int64_t unix_s) const {
    std::vector<Transition> list;
    const bool by_rule = rule_ && rule_->has_summer && (transitions_.empty() || unix_s >= transitions_.back().at);
    if (by_rule) {
        if (!transitions_.empty())
            list.push_back(transitions_.back());
        add_rule_years(list, unix_s);
    }
    const std::vector<Transition> &source = by_rule ? list : transitions_;
    const auto after = std::upper_bound(source.begin(), source.end(), unix_s,
                                        [](int64_t time, const Transition &t) { return time < t.at; });
    ZonePeriod period;
    period.offset = first_offset_;
    if (after != source.begin()) {
        period.start = std::prev(after)->at;
        period.offset = std::prev(after)->offset;
    }
    if (after != source.end())
        period.end = after->at;
    return period;
}

} // namespace pgvigil
