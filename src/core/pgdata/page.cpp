#include "pgdata/page.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace pgvigil {

namespace {

constexpr size_t kPageHeaderBytes = 24; // SizeOfPageHeaderData
constexpr size_t kChecksumAt = 8;
constexpr size_t kUpperAt = 14;

constexpr size_t kSums = 32;
constexpr uint32_t kPrime = 16777619;
constexpr size_t kRowBytes = kSums * sizeof(uint32_t);
using Sums = std::array<uint32_t, kSums>;

constexpr Sums kBaseOffsets = {0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2,
                               0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C,
                               0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979,
                               0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E,
                               0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

// The compiler turns the inner loops into vector code; the clones choose the widest the processor has.
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PGVIGIL_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define PGVIGIL_VECTOR_CLONES
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define PGVIGIL_VECTORISE __attribute__((optimize("O3")))
#else
#define PGVIGIL_VECTORISE
#endif

// One FNV-like sum for each of 32 columns of 32-bit words; `first_row` stands in for the page's first row, which holds
// the checksum itself.
PGVIGIL_VECTOR_CLONES PGVIGIL_VECTORISE uint32_t mix(const std::byte *page, size_t rows,
                                                     const std::byte *first_row) noexcept {
    uint32_t sums[kSums];
    std::memcpy(sums, kBaseOffsets.data(), sizeof sums);
    const std::byte *row = first_row;
    for (size_t i = 0; i < rows; ++i) {
        uint32_t words[kSums];
        std::memcpy(words, row, sizeof words);
        for (size_t j = 0; j < kSums; ++j) {
            const uint32_t value = sums[j] ^ words[j];
            sums[j] = (value * kPrime) ^ (value >> 17);
        }
        row = page + (i + 1) * kRowBytes;
    }
    for (int round = 0; round < 2; ++round)
        for (unsigned &sum : sums)
            sum = (sum * kPrime) ^ (sum >> 17);
    uint32_t result = 0;
    for (const unsigned sum : sums)
        result ^= sum;
    return result;
}

} // namespace

bool page_is_new(ByteView page) noexcept {
    return page.size() < kPageHeaderBytes || load_le<uint16_t>(page.data() + kUpperAt) == 0;
}

Lsn page_lsn(ByteView page) noexcept {
    if (page.size() < kPageHeaderBytes)
        return {};
    // PostgreSQL stores the high half first.
    return {(uint64_t{load_le<uint32_t>(page.data())} << 32) | load_le<uint32_t>(page.data() + 4)};
}

uint16_t stored_page_checksum(ByteView page) noexcept {
    return page.size() < kPageHeaderBytes ? uint16_t{0} : load_le<uint16_t>(page.data() + kChecksumAt);
}

uint16_t page_checksum(ByteView page, uint32_t block) noexcept {
    if (page.size() < kRowBytes)
        return 0;
    std::byte first_row[kRowBytes];
    std::memcpy(first_row, page.data(), sizeof first_row);
    first_row[kChecksumAt] = std::byte{0};
    first_row[kChecksumAt + 1] = std::byte{0};
    const uint32_t sum = mix(page.data(), page.size() / kRowBytes, first_row) ^ block;
    // Never zero: a page of zeroes has no checksum.
    return static_cast<uint16_t>(sum % 65535 + 1);
}

bool page_passes(ByteView page, uint32_t block, Lsn start) noexcept {
    return page_is_new(page) || page_lsn(page) >= start || stored_page_checksum(page) == page_checksum(page, block);
}

} // namespace pgvigil
