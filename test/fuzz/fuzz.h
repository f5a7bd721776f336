// What every fuzz target needs: a check that stays on in all builds, and the rule that foreign bytes may be refused
// with an Error and with nothing else.
#pragma once

#include "base/bytes.h"
#include "base/error.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace pgvigil::fuzz {

inline void require(bool condition, const char *what) {
    if (!condition) {
        std::fprintf(stderr, "broken: %s\n", what);
        std::abort();
    }
}

// Runs `body`; true when it ended without an Error. Any other exception ends the target.
template <class Body> bool accepted(Body &&body) {
    try {
        body();
        return true;
    } catch (const Error &error) {
        require(!error.message().empty(), "an error without a message");
        require(error.code() != ErrorCode::kInternal, "foreign bytes reported as an internal error");
        return false;
    }
}

inline ByteView view(const uint8_t *data, size_t size) {
    return {reinterpret_cast<const std::byte *>(data), size};
}

} // namespace pgvigil::fuzz
