// Blocks every signal in the calling thread for the object's life; threads started meanwhile inherit the blocked mask,
// so that the process's main thread alone handles signals.
#pragma once

#include <csignal>
#include <pthread.h>

namespace pgvigil {

class SignalsBlocked {
  public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked &) = delete;
    SignalsBlocked &operator=(const SignalsBlocked &) = delete;

  private:
    sigset_t before_{};
};

} // namespace pgvigil
