#include "pgdata/history_file.h"

#include "base/error.h"
#include "base/wal_name.h"

#include <algorithm>
#include <charconv>

namespace pgvigil {

namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";
constexpr size_t kMaxHistoryBytes = size_t{16} * 1024 * 1024;

std::string_view trim_left(std::string_view text) noexcept {
    const size_t at = text.find_first_not_of(kBlanks);
    return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

std::string_view take_word(std::string_view &text) noexcept {
    text = trim_left(text);
    const size_t end = std::min(text.find_first_of(kBlanks), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(end);
    return word;
}

Error bad_line(TimelineId timeline, std::string_view line, const char *why) {
    return Error(ErrorCode::kCorrupt, "timeline history file \"" + history_name(timeline) + "\" is damaged")
        .detail(std::string(why) + " in line \"" + std::string(line.substr(0, 200)) + "\".");
}

} // namespace

std::vector<TimelineSwitch> parse_history_file(std::string_view text, TimelineId timeline) {
    if (text.size() > kMaxHistoryBytes)
        throw Error(ErrorCode::kCorrupt, "timeline history file \"" + history_name(timeline) + "\" is too large");
    std::vector<TimelineSwitch> switches;
    while (!text.empty()) {
        const size_t newline = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, newline);
        text.remove_prefix(std::min(newline + 1, text.size()));
        std::string_view rest = trim_left(line);
        if (rest.empty() || rest.front() == '#')
            continue;
        const std::string_view number = take_word(rest);
        TimelineSwitch entry;
        const auto [end, status] = std::from_chars(number.data(), number.data() + number.size(), entry.timeline);
        if (status != std::errc() || end != number.data() + number.size() || entry.timeline == 0)
            throw bad_line(timeline, line, "Expected a timeline number");
        const auto lsn = parse_lsn(take_word(rest));
        if (!lsn)
            throw bad_line(timeline, line, "Expected a WAL location");
        entry.end = *lsn;
        entry.reason = trim_left(rest);
        if (entry.timeline >= timeline || (!switches.empty() && entry.timeline <= switches.back().timeline))
            throw bad_line(timeline, line, "Timelines must ascend and lie below the file's own");
        if (!switches.empty() && entry.end < switches.back().end)
            throw bad_line(timeline, line, "WAL locations must not descend");
        switches.push_back(std::move(entry));
    }
    return switches;
}

} // namespace pgvigil
