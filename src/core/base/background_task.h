// A function running in a thread of its own, for a main thread that must stay responsive: it waits on an event
// descriptor together with everything else it waits for. Threading: made, polled and destroyed by one owner thread. The
// destructor waits for the function to end: cancel it first.
#pragma once

#include "base/cancel.h"

#include <atomic>
#include <exception>
#include <functional>
#include <thread>

namespace pgvigil {

// An eventfd. signal() may be called from any thread; reading it is the owner's business.
class EventFd {
  public:
    EventFd();
    ~EventFd();
    EventFd(const EventFd &) = delete;
    EventFd &operator=(const EventFd &) = delete;

    void signal() noexcept;
    void clear() noexcept; // makes fd() not readable until the next signal()
    [[nodiscard]] int fd() const noexcept { return fd_; }

  private:
    int fd_ = -1;
};

class BackgroundTask {
  public:
    // Starts `body` at once, all signals blocked in its thread. `body` polls `cancel`.
    BackgroundTask(std::function<void(const CancelToken &cancel)> body);
    ~BackgroundTask();

    [[nodiscard]] bool done() const noexcept { return done_.load(std::memory_order_acquire); }
    // Readable once done.
    [[nodiscard]] int event_fd() const noexcept { return event_.fd(); }
    void cancel() noexcept { token_.cancel(); }
    // Waits for the end and rethrows what escaped from the body.
    void finish();

  private:
    CancelToken token_;
    EventFd event_;
    std::atomic<bool> done_{false};
    std::exception_ptr failure_;
    std::thread thread_;
};

} // namespace pgvigil
