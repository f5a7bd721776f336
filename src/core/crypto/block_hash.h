// The keyed hash of a file's block: HMAC-SHA-256 with the repository's hash key, cut to 128 bits (rules A4). Who does
// not know the key cannot make two blocks that hash equal. Two blocks are hashed at a time where the processor gains by
// it. Threading: a hasher belongs to one thread.
#pragma once

#include "base/bytes.h"
#include "crypto/digest.h"
#include "crypto/sha256_pair.h"

#include <array>
#include <span>
#include <vector>

namespace pgvigil {

using BlockHash = std::array<std::byte, 16>;

class BlockHasher {
  public:
    // `key` of at most 64 bytes.
    explicit BlockHasher(ByteView key);

    // Appends the hashes of `bytes` block by block; the last block may be shorter.
    void append(std::vector<BlockHash> &out, ByteView bytes, size_t block_size);

  private:
    using Pad = std::array<std::byte, 64>;
    BlockHash one(ByteView block);
    std::array<BlockHash, 2> two(ByteView first, ByteView second);

    Pad inner_{};
    Pad outer_{};
    Sha256Pair pair_;
    Sha256 single_;
    const bool in_pairs_;
};

// Stands for a run of blocks: equal for equal blocks, and for no others as far as anybody without the key can bring
// about.
[[nodiscard]] BlockHash combined_hash(std::span<const BlockHash> blocks);

} // namespace pgvigil
