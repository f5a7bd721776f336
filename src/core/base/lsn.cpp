#include "base/lsn.h"

#include <charconv>
#include <cstdio>

namespace pgvigil {

std::string to_string(Lsn lsn) {
    char text[20];
    const int length = std::snprintf(text, sizeof text, "%X/%X", static_cast<unsigned>(lsn.value >> 32),
                                     static_cast<unsigned>(lsn.value & 0xffffffffU));
    return {text, static_cast<size_t>(length)};
}

namespace {

std::optional<uint32_t> parse_half(std::string_view text) noexcept {
    if (text.empty() || text.size() > 8)
        return std::nullopt;
    uint32_t value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (status != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

} // namespace

std::optional<Lsn> parse_lsn(std::string_view text) noexcept {
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos)
        return std::nullopt;
    const auto high = parse_half(text.substr(0, slash));
    const auto low = parse_half(text.substr(slash + 1));
    if (!high || !low)
        return std::nullopt;
    return Lsn{(static_cast<uint64_t>(*high) << 32) | *low};
}

} // namespace pgvigil
