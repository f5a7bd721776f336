#include "base/random.h"

#include "base/error.h"

#include <algorithm>
#include <cerrno>
#include <random>
#include <sys/random.h>

namespace pgvigil {

void random_bytes(std::span<std::byte> out) {
    while (!out.empty()) {
        const ssize_t got = getrandom(out.data(), out.size(), 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            throw system_error("could not get random bytes from the kernel", errno);
        }
        out = out.subspan(static_cast<size_t>(got));
    }
}

Uuid random_uuid() {
    Uuid uuid;
    random_bytes(uuid);
    uuid[6] = (uuid[6] & std::byte{0x0f}) | std::byte{0x40};
    uuid[8] = (uuid[8] & std::byte{0x3f}) | std::byte{0x80};
    return uuid;
}

std::string to_string(const Uuid &uuid) {
    std::string text = to_hex(uuid);
    for (const size_t at : {8, 13, 18, 23})
        text.insert(at, 1, '-');
    return text;
}

Uuid parse_uuid(std::string_view text) {
    std::string digits(text);
    if (text.size() != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-')
        throw Error(ErrorCode::kInvalidArgument, "invalid identifier \"" + std::string(text.substr(0, 80)) + "\"")
            .detail("Expected 8-4-4-4-12 hexadecimal digits.");
    std::erase(digits, '-');
    const Bytes bytes = from_hex(digits);
    Uuid uuid{};
    if (bytes.size() != uuid.size())
        throw Error(ErrorCode::kInvalidArgument, "invalid identifier \"" + std::string(text) + "\"");
    std::copy(bytes.begin(), bytes.end(), uuid.begin());
    return uuid;
}

uint64_t random_below(uint64_t bound) {
    thread_local std::mt19937_64 generator{std::random_device{}()};
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(generator);
}

} // namespace pgvigil
