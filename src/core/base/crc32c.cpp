#include "base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace pgvigil {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78; // reflected

using Table = std::array<std::array<uint32_t, 256>, 8>;

constexpr Table make_tables() {
    Table tables{};
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
        tables[0][i] = crc;
    }
    for (size_t k = 1; k < tables.size(); ++k)
        for (size_t i = 0; i < 256; ++i)
            tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 0xff];
    return tables;
}

constexpr Table kTables = make_tables();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc32c_hardware(const std::byte *at, size_t size, uint32_t crc) noexcept {
    uint64_t wide = crc;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word = 0;
        std::memcpy(&word, at, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = static_cast<uint32_t>(wide);
    for (; size > 0; ++at, --size)
        crc = _mm_crc32_u8(crc, std::to_integer<uint8_t>(*at));
    return crc;
}

bool has_hardware() noexcept {
    static const bool kHas = __builtin_cpu_supports("sse4.2") != 0;
    return kHas;
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
uint32_t crc32c_hardware(const std::byte *at, size_t size, uint32_t crc) noexcept {
    for (; size >= 8; at += 8, size -= 8)
        crc = __crc32cd(crc, load_le<uint64_t>(at));
    for (; size > 0; ++at, --size)
        crc = __crc32cb(crc, std::to_integer<uint8_t>(*at));
    return crc;
}

bool has_hardware() noexcept {
    return true;
}
#else
uint32_t crc32c_hardware(const std::byte *, size_t, uint32_t crc) noexcept {
    return crc;
}

bool has_hardware() noexcept {
    return false;
}
#endif

} // namespace

uint32_t crc32c_portable(ByteView bytes, uint32_t before) noexcept {
    uint32_t crc = ~before;
    const std::byte *at = bytes.data();
    size_t size = bytes.size();
    for (; size >= 8; at += 8, size -= 8) {
        const uint64_t word = load_le<uint64_t>(at) ^ crc;
        crc = 0;
        for (size_t k = 0; k < 8; ++k)
            crc ^= kTables[7 - k][(word >> (8 * k)) & 0xff];
    }
    for (; size > 0; ++at, --size)
        crc = (crc >> 8) ^ kTables[0][(crc ^ std::to_integer<uint32_t>(*at)) & 0xff];
    return ~crc;
}

uint32_t crc32c(ByteView bytes, uint32_t before) noexcept {
    if (!has_hardware())
        return crc32c_portable(bytes, before);
    return ~crc32c_hardware(bytes.data(), bytes.size(), ~before);
}

} // namespace pgvigil
