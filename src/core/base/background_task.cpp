#include "base/background_task.h"

#include "base/error.h"
#include "base/signal_mask.h"

#include <cerrno>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace pgvigil {

EventFd::EventFd() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0)
        throw system_error("could not create an event descriptor", errno);
}

EventFd::~EventFd() {
    ::close(fd_);
}

void EventFd::signal() noexcept {
    const uint64_t one = 1;
    // A full counter is signalled already.
    [[maybe_unused]] const ssize_t written = ::write(fd_, &one, sizeof one);
}

void EventFd::clear() noexcept {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(fd_, &count, sizeof count);
}

BackgroundTask::BackgroundTask(std::function<void(const CancelToken &cancel)> body) {
    const SignalsBlocked blocked;
    try {
        thread_ = std::thread([this, body = std::move(body)] {
            try {
                body(token_);
            } catch (...) {
                failure_ = std::current_exception();
            }
            done_.store(true, std::memory_order_release);
            event_.signal();
        });
    } catch (const std::system_error &error) {
        throw Error(ErrorCode::kOutOfMemory, std::string("could not start a thread: ") + error.what()).retryable();
    }
}

BackgroundTask::~BackgroundTask() {
    token_.cancel();
    if (thread_.joinable())
        thread_.join();
}

void BackgroundTask::finish() {
    if (thread_.joinable())
        thread_.join();
    if (failure_)
        std::rethrow_exception(std::exchange(failure_, nullptr));
}

} // namespace pgvigil
