// XXH3 for processors with AVX2: xxHash chooses its vector width when it is compiled, so that it is compiled twice.
// Only reached when the processor has the instructions (codec/frame.cpp).
#include "codec/content_hash_avx2.h"

#if defined(__x86_64__)

#include <cstring>
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define XXH_INLINE_ALL
#define XXH_VECTOR 2 // XXH_AVX2
#include <xxhash.h>

namespace pgvigil {

ContentHash content_hash_avx2(ByteView plain) noexcept {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(plain.data(), plain.size()));
    ContentHash hash;
    static_assert(sizeof canonical.digest == sizeof hash);
    std::memcpy(hash.data(), canonical.digest, sizeof hash);
    return hash;
}

} // namespace pgvigil

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
