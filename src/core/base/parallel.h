// Runs the same function for many indexes with a few threads.
#pragma once

#include <cstddef>
#include <functional>

namespace pgvigil {

// Calls body(0) … body(count - 1), at most `threads` at the same time, and returns when all have ended. After the first
// exception no further index is started, and it is rethrown at the end.
void parallel_for(size_t count, size_t threads, const std::function<void(size_t index)> &body);

} // namespace pgvigil
