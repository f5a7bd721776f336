// CRC-32C of a file from the checksums of its pieces, which a restore computes in whatever order they arrive.
// Threading: pure functions.
#pragma once

#include <cstdint>

namespace pgvigil {

// The checksum of a + b from those of a and b.
[[nodiscard]] uint32_t crc32c_join(uint32_t a, uint32_t b, uint64_t length_of_b) noexcept;
// The checksum of `length` zero bytes.
[[nodiscard]] uint32_t crc32c_of_zeroes(uint64_t length) noexcept;

} // namespace pgvigil
