#include "base/error.h"
#include "crypto/block_hash.h"
#include "repo/block_hashes.h"

#include <gtest/gtest.h>
#include <map>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

Bytes pattern(size_t size, uint32_t seed) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = static_cast<std::byte>(seed >> 24);
    }
    return bytes;
}

BlockHash by_openssl(ByteView key, ByteView block) {
    const Sha256Digest digest = hmac_sha256(key, block);
    BlockHash hash;
    std::copy_n(digest.begin(), hash.size(), hash.begin());
    return hash;
}

RC_GTEST_PROP(BlockHash, is_hmac_sha256_of_each_block, ()) {
    const size_t block_size = *rc::gen::element<size_t>(1024U, 8192U, 32768U);
    const Bytes key = pattern(32, *rc::gen::arbitrary<uint32_t>());
    const Bytes bytes = pattern(*rc::gen::inRange<size_t>(0, 5 * block_size), *rc::gen::arbitrary<uint32_t>());
    std::vector<BlockHash> hashes;
    BlockHasher hasher(key);
    hasher.append(hashes, bytes, block_size);
    hasher.append(hashes, bytes, block_size);
    std::vector<BlockHash> expected;
    for (int twice = 0; twice < 2; ++twice)
        for (size_t at = 0; at < bytes.size(); at += block_size)
            expected.push_back(by_openssl(key, ByteView(bytes).subspan(at, std::min(block_size, bytes.size() - at))));
    RC_ASSERT(hashes == expected);
}

TEST(BlockHash, CombinedTellsOrderAndKey) {
    const Bytes bytes = pattern(16384, 1);
    std::vector<BlockHash> a;
    std::vector<BlockHash> b;
    BlockHasher(pattern(32, 1)).append(a, bytes, 8192);
    BlockHasher(pattern(32, 2)).append(b, bytes, 8192);
    EXPECT_NE(combined_hash(a), combined_hash(b));
    b = a;
    EXPECT_EQ(combined_hash(a), combined_hash(b));
    std::swap(b[0], b[1]);
    EXPECT_NE(combined_hash(a), combined_hash(b));
}

// Over the borders of frames and objects, in pieces of any size.
TEST(BlockHashes, EveryRangeReadsBack) {
    const size_t total = kHashesPerFrame * kHashFramesPerObject + 3 * kHashesPerFrame + 17;
    std::vector<BlockHash> all(total);
    for (size_t i = 0; i < total; ++i)
        for (size_t b = 0; b < 8; ++b)
            all[i][b] = static_cast<std::byte>(i >> (8 * b));
    std::map<std::string, Bytes> objects;
    BlockHashWriter writer(0, Uuid{}, [&](const std::string &name, Bytes object) {
        EXPECT_LE(object.size(), 8 * kMiB);
        objects[name] = std::move(object);
    });
    for (size_t at = 0; at < total; at += 7001)
        writer.add(std::span(all).subspan(at, std::min<size_t>(7001, total - at)));
    writer.finish();
    EXPECT_EQ(writer.count(), total);
    ASSERT_EQ(objects.size(), 2U);
    size_t reads = 0;
    BlockHashReader reader(
        [&](const std::string &name, ByteRange range) {
            ++reads;
            const Bytes &object = objects.at(name);
            const uint64_t from = std::min<uint64_t>(range.offset, object.size());
            const uint64_t to = std::min<uint64_t>(range.offset + range.length, object.size());
            return Bytes(object.begin() + static_cast<ptrdiff_t>(from), object.begin() + static_cast<ptrdiff_t>(to));
        },
        "files/x/");
    const auto read = [&](uint64_t first, size_t count) {
        std::vector<BlockHash> out;
        reader.read(first, count, out);
        return out;
    };
    EXPECT_EQ(read(0, total), all);
    EXPECT_LE(reads, 18U);
    for (const size_t first : {size_t{0}, size_t{4095}, size_t{520190}, size_t{520192}, total - 2})
        EXPECT_EQ(read(first, 2), std::vector<BlockHash>(all.begin() + static_cast<ptrdiff_t>(first),
                                                         all.begin() + static_cast<ptrdiff_t>(first + 2)));
    EXPECT_THROW(read(total - 1, 2), Error);
    // A damaged byte is found.
    BlockHashReader damaged(
        [&](const std::string &name, ByteRange range) {
            Bytes part(objects.at(name).begin() + static_cast<ptrdiff_t>(range.offset),
                       objects.at(name).begin() + static_cast<ptrdiff_t>(range.offset + range.length));
            part[100] ^= std::byte{1};
            return part;
        },
        "files/x/");
    std::vector<BlockHash> out;
    EXPECT_THROW(damaged.read(0, 1, out), Error);
}

} // namespace
} // namespace pgvigil
