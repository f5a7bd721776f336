#include "crypto/block_hash.h"

#include "base/error.h"

#include <algorithm>

namespace pgvigil {

namespace {

BlockHash cut(const Sha256Digest &digest) noexcept {
    BlockHash hash;
    std::copy_n(digest.begin(), hash.size(), hash.begin());
    return hash;
}

} // namespace

BlockHasher::BlockHasher(ByteView key) : in_pairs_(sha256_pair_is_faster()) {
    if (key.size() > inner_.size())
        throw Error(ErrorCode::kInternal, "a hash key of more than 64 bytes");
    std::copy(key.begin(), key.end(), inner_.begin());
    outer_ = inner_;
    for (std::byte &byte : inner_)
        byte ^= std::byte{0x36};
    for (std::byte &byte : outer_)
        byte ^= std::byte{0x5c};
}

BlockHash BlockHasher::one(ByteView block) {
    single_.update(inner_);
    single_.update(block);
    const Sha256Digest inner = single_.finish();
    single_.update(outer_);
    single_.update(inner);
    return cut(single_.finish());
}

std::array<BlockHash, 2> BlockHasher::two(ByteView first, ByteView second) {
    pair_.update(inner_, inner_);
    pair_.update(first, second);
    const auto inner = pair_.finish();
    pair_.update(outer_, outer_);
    pair_.update(inner.first, inner.second);
    const auto outer = pair_.finish();
    return {cut(outer.first), cut(outer.second)};
}

void BlockHasher::append(std::vector<BlockHash> &out, ByteView bytes, size_t block_size) {
    out.reserve(out.size() + (bytes.size() + block_size - 1) / block_size);
    while (in_pairs_ && bytes.size() >= 2 * block_size) {
        const auto hashes = two(bytes.first(block_size), bytes.subspan(block_size, block_size));
        out.insert(out.end(), hashes.begin(), hashes.end());
        bytes = bytes.subspan(2 * block_size);
    }
    while (!bytes.empty()) {
        const size_t length = std::min(block_size, bytes.size());
        out.push_back(one(bytes.first(length)));
        bytes = bytes.subspan(length);
    }
}

BlockHash combined_hash(std::span<const BlockHash> blocks) {
    return cut(sha256({reinterpret_cast<const std::byte *>(blocks.data()), blocks.size_bytes()}));
}

} // namespace pgvigil
