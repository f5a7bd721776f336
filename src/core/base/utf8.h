// Whether bytes that PostgreSQL calls a name or a path are valid UTF-8: JSON can hold nothing else.
// Threading: pure functions.
#pragma once

#include <string_view>

namespace pgvigil {

// Overlong forms, surrogates and code points above U+10FFFF are not valid.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

} // namespace pgvigil
