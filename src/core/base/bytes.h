// Byte sequences and their little-endian encoding. Everything pgvigil stores is little-endian, whatever the machine.
// Threading: values; no shared state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

inline constexpr size_t kKiB = 1024;
inline constexpr size_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

[[nodiscard]] inline ByteView as_view(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte *>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(ByteView bytes) noexcept {
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}
[[nodiscard]] Bytes to_bytes(std::string_view text);

// Lower-case hexadecimal.
[[nodiscard]] std::string to_hex(ByteView bytes);
// Throws kInvalidArgument unless `text` is an even number of hexadecimal digits.
[[nodiscard]] Bytes from_hex(std::string_view text);

// Loads a little-endian unsigned integer from `at`; the caller guarantees sizeof(T) readable bytes.
template <class T> [[nodiscard]] T load_le(const std::byte *at) noexcept {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
        value = static_cast<T>(value | (static_cast<T>(std::to_integer<uint8_t>(at[i])) << (8 * i)));
    return value;
}

// Appends encoded values to a buffer it owns.
class ByteWriter {
  public:
    void u8(uint8_t value) { append_le(value); }
    void u16(uint16_t value) { append_le(value); }
    void u32(uint32_t value) { append_le(value); }
    void u64(uint64_t value) { append_le(value); }
    void bytes(ByteView value) { buffer_.insert(buffer_.end(), value.begin(), value.end()); }
    // An unsigned LEB128 number, 1 to 10 bytes.
    void varint(uint64_t value);
    // A varint length, then the bytes.
    void string(std::string_view value);

    [[nodiscard]] size_t size() const noexcept { return buffer_.size(); }
    [[nodiscard]] const Bytes &view() const noexcept { return buffer_; }
    [[nodiscard]] Bytes take() noexcept { return std::move(buffer_); }

  private:
    template <class T> void append_le(T value) {
        for (size_t i = 0; i < sizeof(T); ++i)
            buffer_.push_back(static_cast<std::byte>((value >> (8 * i)) & 0xff));
    }
    Bytes buffer_;
};

// Reads encoded values from a view that must outlive it. Reading past the end throws kCorrupt: lengths found in foreign
// bytes are checked before anything is allocated (rules E7).
class ByteReader {
  public:
    explicit ByteReader(ByteView bytes) noexcept : bytes_(bytes) {}

    uint8_t u8() { return load_le<uint8_t>(need(1)); }
    uint16_t u16() { return load_le<uint16_t>(need(2)); }
    uint32_t u32() { return load_le<uint32_t>(need(4)); }
    uint64_t u64() { return load_le<uint64_t>(need(8)); }
    ByteView bytes(size_t count) { return {need(count), count}; }
    uint64_t varint();
    std::string_view string();

    [[nodiscard]] size_t remaining() const noexcept { return bytes_.size() - position_; }
    [[nodiscard]] size_t position() const noexcept { return position_; }
    [[nodiscard]] bool at_end() const noexcept { return remaining() == 0; }

  private:
    const std::byte *need(size_t count);
    ByteView bytes_;
    size_t position_ = 0;
};

} // namespace pgvigil
