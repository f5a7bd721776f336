#include "base/bytes.h"

#include "base/error.h"

namespace pgvigil {

Bytes to_bytes(std::string_view text) {
    const ByteView view = as_view(text);
    return {view.begin(), view.end()};
}

std::string to_hex(ByteView bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::byte value : bytes) {
        text.push_back(kDigits[std::to_integer<unsigned>(value) >> 4]);
        text.push_back(kDigits[std::to_integer<unsigned>(value) & 15]);
    }
    return text;
}

namespace {

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

} // namespace

Bytes from_hex(std::string_view text) {
    if (text.size() % 2 != 0)
        throw Error(ErrorCode::kInvalidArgument, "odd number of hexadecimal digits");
    Bytes bytes;
    bytes.reserve(text.size() / 2);
    for (size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_digit(text[i]);
        const int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0)
            throw Error(ErrorCode::kInvalidArgument,
                        "invalid hexadecimal digit in \"" + std::string(text.substr(0, 80)) + "\"");
        bytes.push_back(static_cast<std::byte>(high * 16 + low));
    }
    return bytes;
}

void ByteWriter::varint(uint64_t value) {
    while (value >= 0x80) {
        u8(static_cast<uint8_t>(value | 0x80));
        value >>= 7;
    }
    u8(static_cast<uint8_t>(value));
}

void ByteWriter::string(std::string_view value) {
    varint(value.size());
    bytes(as_view(value));
}

const std::byte *ByteReader::need(size_t count) {
    if (count > remaining())
        throw Error(ErrorCode::kCorrupt, "unexpected end of data")
            .detail("Needed " + std::to_string(count) + " bytes at offset " + std::to_string(position_) + ", found " +
                    std::to_string(remaining()) + ".");
    const std::byte *at = bytes_.data() + position_;
    position_ += count;
    return at;
}

uint64_t ByteReader::varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t byte = u8();
        if (shift == 63 && byte > 1)
            break;
        value |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return value;
    }
    throw Error(ErrorCode::kCorrupt, "variable-length number is too long");
}

std::string_view ByteReader::string() {
    const uint64_t length = varint();
    if (length > remaining())
        throw Error(ErrorCode::kCorrupt, "string runs past the end of its data");
    return as_text(bytes(length));
}

} // namespace pgvigil
