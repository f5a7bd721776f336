// Random identifiers from the kernel's generator, and a cheap generator for jitter.
#pragma once

#include "base/bytes.h"

#include <array>
#include <cstdint>
#include <string>

namespace pgvigil {

using Uuid = std::array<std::byte, 16>;

// Fills `out` from getrandom(2).
void random_bytes(std::span<std::byte> out);
// A version-4 UUID.
[[nodiscard]] Uuid random_uuid();
[[nodiscard]] std::string to_string(const Uuid &uuid);
// Throws kInvalidArgument unless `text` is 8-4-4-4-12 hexadecimal digits.
[[nodiscard]] Uuid parse_uuid(std::string_view text);
// Uniform in [0, bound); not for secrets. Thread-safe.
[[nodiscard]] uint64_t random_below(uint64_t bound);

} // namespace pgvigil
