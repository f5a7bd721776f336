#include "base/wal_name.h"

#include <charconv>
#include <cstdio>

namespace pgvigil {

namespace {

std::optional<uint32_t> parse_hex8(std::string_view text) noexcept {
    for (const char c : text)
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F')))
            return std::nullopt;
    uint32_t value = 0;
    if (text.size() != 8 || std::from_chars(text.data(), text.data() + 8, value, 16).ec != std::errc())
        return std::nullopt;
    return value;
}

} // namespace

std::optional<WalFileName> parse_wal_file_name(std::string_view name) noexcept {
    const auto timeline = parse_hex8(name.substr(0, 8));
    if (!timeline)
        return std::nullopt;
    if (name.substr(8) == ".history")
        return WalFileName{WalFileKind::kHistory, *timeline};
    if (name.size() < 24)
        return std::nullopt;
    const auto high = parse_hex8(name.substr(8, 8));
    const auto low = parse_hex8(name.substr(16, 8));
    if (!high || !low)
        return std::nullopt;
    const std::string_view rest = name.substr(24);
    if (rest.empty())
        return WalFileName{WalFileKind::kSegment, *timeline, *high, *low};
    if (rest == ".partial")
        return WalFileName{WalFileKind::kPartial, *timeline, *high, *low};
    if (rest.size() == 16 && rest[0] == '.' && rest.substr(9) == ".backup" && parse_hex8(rest.substr(1, 8)))
        return WalFileName{WalFileKind::kBackupHistory, *timeline, *high, *low};
    return std::nullopt;
}

std::string segment_name(TimelineId timeline, uint64_t segment, uint64_t segment_size) {
    const uint64_t per_high = uint64_t{0x100000000} / segment_size;
    char text[32];
    std::snprintf(text, sizeof text, "%08X%08X%08X", timeline, static_cast<unsigned>(segment / per_high),
                  static_cast<unsigned>(segment % per_high));
    return text;
}

std::string history_name(TimelineId timeline) {
    char text[24];
    std::snprintf(text, sizeof text, "%08X.history", timeline);
    return text;
}

} // namespace pgvigil
