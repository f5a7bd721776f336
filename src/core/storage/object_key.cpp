#include "storage/object_key.h"

#include "base/error.h"

namespace pgvigil {

bool is_valid_utf8(std::string_view text) noexcept {
    for (size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at]);
        const size_t length = lead < 0x80           ? 1
                              : (lead >> 5) == 0x6  ? 2
                              : (lead >> 4) == 0xe  ? 3
                              : (lead >> 3) == 0x1e ? 4
                                                    : 0;
        if (length == 0 || text.size() - at < length)
            return false;
        uint32_t code = length == 1 ? lead : lead & (0x7fU >> length);
        for (size_t i = 1; i < length; ++i) {
            const auto next = static_cast<unsigned char>(text[at + i]);
            if ((next & 0xc0) != 0x80)
                return false;
            code = (code << 6) | (next & 0x3f);
        }
        constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
        if (code < kSmallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        at += length;
    }
    return true;
}

void check_key(std::string_view key) {
    const auto refuse = [&](const char *why) {
        throw Error(ErrorCode::kInvalidArgument, "invalid object key \"" + std::string(key) + "\": " + why);
    };
    if (key.empty() || key.size() > kMaxKeyBytes)
        refuse("1 to 1024 bytes are expected");
    for (const char c : key)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            refuse("it contains a control character");
    if (!is_valid_utf8(key))
        refuse("it is not UTF-8");
    for (size_t start = 0; start <= key.size();) {
        const size_t end = std::min(key.find('/', start), key.size());
        const std::string_view component = key.substr(start, end - start);
        if (component.empty() || component == "." || component == "..")
            refuse("it has an empty, \".\" or \"..\" component");
        if (component.starts_with(kReservedPrefix))
            refuse("names that start with \".pgvigil-\" are reserved");
        start = end + 1;
    }
}

PageBuilder::PageBuilder(const ListRequest &request) : request_(request) {
    if (request.limit == 0)
        throw Error(ErrorCode::kInternal, "a listing's limit must be at least 1");
}

std::string_view PageBuilder::folded_directory(std::string_view key) const noexcept {
    if (!request_.directories || !key.starts_with(request_.prefix))
        return {};
    const size_t slash = key.find('/', request_.prefix.size());
    return slash == std::string_view::npos ? std::string_view{} : key.substr(0, slash + 1);
}

bool PageBuilder::wants_below(std::string_view directory) const noexcept {
    if (!directory.starts_with(request_.prefix) && !request_.prefix.starts_with(directory))
        return false;
    return directory > request_.start_after || request_.start_after.starts_with(directory);
}

bool PageBuilder::wants(std::string_view entry) const noexcept {
    return entry.starts_with(request_.prefix) && entry > request_.start_after;
}

bool PageBuilder::is_full() const noexcept {
    return page_.objects.size() + page_.directories.size() >= request_.limit;
}

bool PageBuilder::take_place(std::string_view entry) {
    if (is_full()) {
        page_.more = true;
        return false;
    }
    page_.last = entry;
    return true;
}

bool PageBuilder::add_object(ObjectInfo object) {
    if (!take_place(object.key))
        return false;
    page_.objects.push_back(std::move(object));
    return true;
}

bool PageBuilder::add_directory(std::string_view directory) {
    if (!take_place(directory))
        return false;
    page_.directories.emplace_back(directory);
    return true;
}

} // namespace pgvigil
