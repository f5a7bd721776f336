#include "cli/signals.h"

#include <ctime>
#include <pthread.h>
#include <unistd.h>

namespace pgvigil::cli {

namespace {

constexpr long kPollNs = 50'000'000;
constexpr int kSignalExit = 128;

sigset_t ending_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&set, number);
    return set;
}

} // namespace

CancelOnSignal::CancelOnSignal() {
    const sigset_t set = ending_signals();
    pthread_sigmask(SIG_BLOCK, &set, &before_);
    thread_ = std::thread([this, set] {
        const timespec wait{0, kPollNs};
        while (!ending_) {
            const int number = sigtimedwait(&set, nullptr, &wait);
            if (number <= 0)
                continue;
            if (token_.is_cancelled())
                _exit(kSignalExit + number);
            token_.cancel();
        }
    });
}

CancelOnSignal::~CancelOnSignal() {
    ending_ = true;
    thread_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

} // namespace pgvigil::cli
