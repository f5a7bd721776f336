#include "server/pg.h"

#include "server/joined_events.h"

#include "base/error.h"

#include <cerrno>
#include <sys/epoll.h>
#include <unistd.h>

namespace pgvigil {

void JoinedEvents::close() noexcept {
    if (joined_ >= 0)
        ::close(joined_);
    joined_ = -1;
}

JoinedEvents::~JoinedEvents() {
    close();
}

int JoinedEvents::join(int first, int second) {
    close();
    if (first < 0 || second < 0)
        return first < 0 ? second : first;
    joined_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (joined_ < 0)
        throw system_error("could not create an epoll descriptor", errno);
    for (const int fd : {first, second}) {
        ::epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        if (::epoll_ctl(joined_, EPOLL_CTL_ADD, fd, &event) != 0)
            throw system_error("could not wait for a descriptor", errno);
    }
    return joined_;
}

} // namespace pgvigil
