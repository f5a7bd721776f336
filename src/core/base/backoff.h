// Exponential backoff with full jitter: the wait before retry n is uniform between 0 and min(cap, base * 2^n).
#pragma once

#include <chrono>

namespace pgvigil {

class Backoff {
  public:
    Backoff(std::chrono::milliseconds base, std::chrono::milliseconds cap) noexcept : base_(base), cap_(cap) {}

    // The wait before the next try; each call doubles the bound until the cap.
    [[nodiscard]] std::chrono::milliseconds next();
    void reset() noexcept { attempts_ = 0; }
    [[nodiscard]] unsigned attempts() const noexcept { return attempts_; }

  private:
    std::chrono::milliseconds base_;
    std::chrono::milliseconds cap_;
    unsigned attempts_ = 0;
};

} // namespace pgvigil
