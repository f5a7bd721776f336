// SHA-256 of two messages of the same length at once. One message leaves most of a processor's SHA unit idle (each
// round waits for the one before); two that take turns cost little more than one. Threading: belongs to one thread at a
// time.
#pragma once

#include "base/bytes.h"
#include "crypto/digest.h"

#include <array>
#include <cstdint>
#include <utility>

namespace pgvigil {

// Whether this processor gains by it. Sha256Pair works everywhere, elsewhere slower than two Sha256.
[[nodiscard]] bool sha256_pair_is_faster() noexcept;

class Sha256Pair {
  public:
    Sha256Pair() noexcept { start(); }

    // The next bytes of both: the same length, a multiple of 64 but for the last ones.
    void update(ByteView first, ByteView second);
    // The digests of everything since construction or the previous finish(); starts over.
    [[nodiscard]] std::pair<Sha256Digest, Sha256Digest> finish();

  private:
    using State = std::array<uint32_t, 8>;
    void start() noexcept;
    void blocks(const std::byte *first, const std::byte *second, size_t count) noexcept;

    State first_;
    State second_;
    std::array<std::byte, 64> first_rest_;
    std::array<std::byte, 64> second_rest_;
    size_t rest_ = 0;     // bytes in each
    uint64_t length_ = 0; // of each message
};

} // namespace pgvigil
