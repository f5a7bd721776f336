#include "crypto/sha256_pair.h"

#include "base/error.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pgvigil {

namespace {

constexpr size_t kBlock = 64;

alignas(16) constexpr uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr uint32_t rotate(uint32_t value, int by) noexcept {
    return (value >> by) | (value << (32 - by));
}

uint32_t load_be(const std::byte *at) noexcept {
    uint32_t value = 0;
    std::memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

// FIPS 180-4, as it stands there.
void portable_block(std::array<uint32_t, 8> &state, const std::byte *block) noexcept {
    uint32_t w[64];
    for (size_t t = 0; t < 16; ++t)
        w[t] = load_be(block + 4 * t);
    for (size_t t = 16; t < 64; ++t) {
        const uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ (w[t - 15] >> 3);
        const uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ (w[t - 2] >> 10);
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (size_t t = 0; t < 64; ++t) {
        const uint32_t t1 =
            h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + kRounds[t] + w[t];
        const uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    const std::array<uint32_t, 8> added = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i)
        state[i] += added[i];
}

#if defined(__x86_64__)

#define PGVIGIL_SHA __attribute__((target("sha,sse4.1,ssse3")))

// Words in the order the instructions want: A B E F and C D G H.
struct Lanes {
    __m128i abef;
    __m128i cdgh;
};

PGVIGIL_SHA inline Lanes load_lanes(const std::array<uint32_t, 8> &state) noexcept {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i *>(state.data()));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i *>(state.data() + 4));
    const __m128i cdab = _mm_shuffle_epi32(low, 0xb1);
    const __m128i efgh = _mm_shuffle_epi32(high, 0x1b);
    return {_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)};
}

PGVIGIL_SHA inline void store_lanes(std::array<uint32_t, 8> &state, const Lanes &lanes) noexcept {
    const __m128i feba = _mm_shuffle_epi32(lanes.abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(lanes.cdgh, 0xb1);
    _mm_storeu_si128(reinterpret_cast<__m128i *>(state.data()), _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(state.data() + 4), _mm_alignr_epi8(dchg, feba, 8));
}

PGVIGIL_SHA inline __m128i load_words(const std::byte *at) noexcept {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at)), swap);
}

PGVIGIL_SHA inline __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3) noexcept {
    return _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3);
}

PGVIGIL_SHA void two_at_once(std::array<uint32_t, 8> &first_state, std::array<uint32_t, 8> &second_state,
                             const std::byte *first, const std::byte *second, size_t count) noexcept {
    Lanes a = load_lanes(first_state);
    Lanes b = load_lanes(second_state);
    for (; count > 0; --count, first += kBlock, second += kBlock) {
        const Lanes a_before = a;
        const Lanes b_before = b;
        __m128i aw[4];
        __m128i bw[4];
#pragma GCC unroll 16
        for (int group = 0; group < 16; ++group) {
            const int at = group & 3;
            if (group < 4) {
                aw[at] = load_words(first + 16 * group);
                bw[at] = load_words(second + 16 * group);
            } else {
                aw[at] = next_words(aw[at], aw[(at + 1) & 3], aw[(at + 2) & 3], aw[(at + 3) & 3]);
                bw[at] = next_words(bw[at], bw[(at + 1) & 3], bw[(at + 2) & 3], bw[(at + 3) & 3]);
            }
            const __m128i k = _mm_load_si128(reinterpret_cast<const __m128i *>(kRounds + 4 * group));
            __m128i am = _mm_add_epi32(aw[at], k);
            __m128i bm = _mm_add_epi32(bw[at], k);
            a.cdgh = _mm_sha256rnds2_epu32(a.cdgh, a.abef, am);
            b.cdgh = _mm_sha256rnds2_epu32(b.cdgh, b.abef, bm);
            am = _mm_shuffle_epi32(am, 0x0e);
            bm = _mm_shuffle_epi32(bm, 0x0e);
            a.abef = _mm_sha256rnds2_epu32(a.abef, a.cdgh, am);
            b.abef = _mm_sha256rnds2_epu32(b.abef, b.cdgh, bm);
        }
        a.abef = _mm_add_epi32(a.abef, a_before.abef);
        a.cdgh = _mm_add_epi32(a.cdgh, a_before.cdgh);
        b.abef = _mm_add_epi32(b.abef, b_before.abef);
        b.cdgh = _mm_add_epi32(b.cdgh, b_before.cdgh);
    }
    store_lanes(first_state, a);
    store_lanes(second_state, b);
}

bool has_sha_instructions() noexcept {
    // CPUID leaf 7: __builtin_cpu_supports() of g++ 12 does not know "sha".
    static const bool known = [] {
        unsigned a = 7;
        unsigned b = 0;
        unsigned c = 0;
        unsigned d = 0;
        __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        return (b & (1U << 29)) != 0 && __builtin_cpu_supports("sse4.1") != 0;
    }();
    return known;
}

#else

bool has_sha_instructions() noexcept {
    return false;
}

#endif

Sha256Digest digest_of(const std::array<uint32_t, 8> &state) noexcept {
    Sha256Digest digest;
    for (size_t i = 0; i < 8; ++i) {
        const uint32_t big_endian = __builtin_bswap32(state[i]);
        std::memcpy(digest.data() + 4 * i, &big_endian, sizeof big_endian);
    }
    return digest;
}

} // namespace

bool sha256_pair_is_faster() noexcept {
    return has_sha_instructions();
}

void Sha256Pair::start() noexcept {
    first_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    second_ = first_;
    rest_ = 0;
    length_ = 0;
}

void Sha256Pair::blocks(const std::byte *first, const std::byte *second, size_t count) noexcept {
#if defined(__x86_64__)
    if (has_sha_instructions()) {
        two_at_once(first_, second_, first, second, count);
        return;
    }
#endif
    for (size_t i = 0; i < count; ++i) {
        portable_block(first_, first + i * kBlock);
        portable_block(second_, second + i * kBlock);
    }
}

void Sha256Pair::update(ByteView first, ByteView second) {
    if (first.size() != second.size() || rest_ != 0)
        throw Error(ErrorCode::kInternal, "two messages hashed at once differ in length");
    const size_t whole = first.size() / kBlock;
    blocks(first.data(), second.data(), whole);
    length_ += first.size();
    rest_ = first.size() % kBlock;
    std::copy(first.end() - static_cast<ptrdiff_t>(rest_), first.end(), first_rest_.begin());
    std::copy(second.end() - static_cast<ptrdiff_t>(rest_), second.end(), second_rest_.begin());
}

std::pair<Sha256Digest, Sha256Digest> Sha256Pair::finish() {
    std::array<std::byte, 2 * kBlock> first_end{};
    std::array<std::byte, 2 * kBlock> second_end{};
    std::copy_n(first_rest_.begin(), rest_, first_end.begin());
    std::copy_n(second_rest_.begin(), rest_, second_end.begin());
    first_end[rest_] = std::byte{0x80};
    const size_t count = rest_ + 1 + sizeof(uint64_t) <= kBlock ? 1 : 2;
    const uint64_t bits = __builtin_bswap64(length_ * 8);
    second_end[rest_] = std::byte{0x80};
    std::memcpy(first_end.data() + count * kBlock - sizeof bits, &bits, sizeof bits);
    std::memcpy(second_end.data() + count * kBlock - sizeof bits, &bits, sizeof bits);
    blocks(first_end.data(), second_end.data(), count);
    const std::pair<Sha256Digest, Sha256Digest> digests(digest_of(first_), digest_of(second_));
    start();
    return digests;
}

} // namespace pgvigil
