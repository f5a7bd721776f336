// XXH3-128 compiled for AVX2; see content_hash(). Threading: a pure function.
#pragma once

#include "codec/frame.h"

namespace pgvigil {

#if defined(__x86_64__)
// The caller has checked that the processor has AVX2.
[[nodiscard]] ContentHash content_hash_avx2(ByteView plain) noexcept;
#endif

} // namespace pgvigil
