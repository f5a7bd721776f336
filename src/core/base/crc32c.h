// CRC-32C (Castagnoli), as PostgreSQL and iSCSI use it: the processor's instruction where there is one, a table
// otherwise. Threading: pure functions.
#pragma once

#include "base/bytes.h"

#include <cstdint>

namespace pgvigil {

// The checksum of a + b is crc32c(b, crc32c(a)).
[[nodiscard]] uint32_t crc32c(ByteView bytes, uint32_t before = 0) noexcept;

// The table-driven form that crc32c() falls back to; a test compares the two.
[[nodiscard]] uint32_t crc32c_portable(ByteView bytes, uint32_t before = 0) noexcept;

} // namespace pgvigil
