// SIGINT, SIGTERM and SIGHUP cancel what the program does; a second one ends it at once.
// Threading: made and destroyed by the main thread before and after all others.
#pragma once

#include "base/cancel.h"

#include <atomic>
#include <csignal>
#include <thread>

namespace pgvigil::cli {

class CancelOnSignal {
  public:
    CancelOnSignal();
    ~CancelOnSignal();
    CancelOnSignal(const CancelOnSignal &) = delete;
    CancelOnSignal &operator=(const CancelOnSignal &) = delete;

    [[nodiscard]] const CancelToken &token() const noexcept { return token_; }

  private:
    CancelToken token_;
    sigset_t before_{};
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

} // namespace pgvigil::cli
