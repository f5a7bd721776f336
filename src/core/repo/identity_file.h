// The bytes of the identity file and the file's own marks; used by repo/identity.cpp alone.
// Threading: free functions, any thread.
#pragma once

#include "repo/identity.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgvigil::identity_file {

// What no copy of a file shares with it.
struct Marks {
    uint64_t inode = 0;
    int64_t birth_ns = 0; // 0 where the file system does not say

    friend bool operator==(const Marks &, const Marks &) = default;
};

// Of an open file; throws kIo naming `path`.
[[nodiscard]] Marks read_marks(int descriptor, const std::string &path);

struct Content {
    Identity identity;
    Marks marks;
};

[[nodiscard]] std::string encode(const Content &content);
[[nodiscard]] Content decode(std::string_view json, const std::string &path);

} // namespace pgvigil::identity_file
