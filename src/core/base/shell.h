// Words for a POSIX shell. Threading: pure function.
#pragma once

#include <string>
#include <string_view>

namespace pgvigil {

// The word as a shell reads it back, quoted where that is needed.
[[nodiscard]] std::string shell_quoted(std::string_view word);

} // namespace pgvigil
