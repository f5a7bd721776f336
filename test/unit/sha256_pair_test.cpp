#include "crypto/sha256_pair.h"

#include "base/error.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace pgvigil {
namespace {

Bytes numbered(size_t size, unsigned seed) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::byte>(i * seed + (i >> 8));
    return bytes;
}

TEST(Sha256Pair, agrees_with_sha256_at_every_length_around_a_block) {
    for (size_t size = 0; size < 300; ++size) {
        const Bytes first = numbered(size, 3);
        const Bytes second = numbered(size, 11);
        Sha256Pair pair;
        pair.update(first, second);
        const auto [a, b] = pair.finish();
        EXPECT_EQ(a, sha256(first)) << size;
        EXPECT_EQ(b, sha256(second)) << size;
    }
}

RC_GTEST_PROP(Sha256Pair, agrees_with_sha256_in_pieces, ()) {
    const auto blocks = *rc::gen::container<std::vector<size_t>>(rc::gen::inRange<size_t>(0, 40));
    const auto rest = *rc::gen::inRange<size_t>(0, 64);
    Bytes first;
    Bytes second;
    Sha256Pair pair;
    for (size_t i = 0; i <= blocks.size(); ++i) {
        const size_t size = i < blocks.size() ? blocks[i] * 64 : rest;
        const Bytes a = numbered(size, static_cast<unsigned>(3 + i));
        const Bytes b = numbered(size, static_cast<unsigned>(5 + i));
        pair.update(a, b);
        first.insert(first.end(), a.begin(), a.end());
        second.insert(second.end(), b.begin(), b.end());
    }
    const auto digests = pair.finish();
    RC_ASSERT(digests.first == sha256(first));
    RC_ASSERT(digests.second == sha256(second));
    pair.update(first, second); // it starts over
    RC_ASSERT(pair.finish().first == sha256(first));
}

TEST(Sha256Pair, lengths_must_agree) {
    const Bytes bytes(64);
    Sha256Pair pair;
    EXPECT_THROW(pair.update(bytes, ByteView(bytes).first(63)), Error);
    pair.update(ByteView(bytes).first(63), ByteView(bytes).first(63));
    EXPECT_THROW(pair.update(bytes, bytes), Error);
}

} // namespace
} // namespace pgvigil
