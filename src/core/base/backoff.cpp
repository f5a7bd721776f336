#include "base/backoff.h"

#include "base/random.h"

#include <algorithm>

namespace pgvigil {

std::chrono::milliseconds Backoff::next() {
    const unsigned shift = std::min(attempts_++, 30U);
    const int64_t bound = std::min<int64_t>(cap_.count(), base_.count() << shift);
    return std::chrono::milliseconds(random_below(static_cast<uint64_t>(bound) + 1));
}

} // namespace pgvigil
