/*
 * Preloaded into a server: after each wake-up by a descriptor the process is held up for a moment, so that a signal
 * arrives between the wake-up and what the process does next. What is a matter of microseconds in daily life becomes
 * the rule.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

int
epoll_wait(int descriptor, struct epoll_event *events, int size, int timeout)
{
	static int	(*real) (int, struct epoll_event *, int, int);
	struct timespec pause = {0, 60 * 1000 * 1000};
	int			count;
	int			saved;

	if (real == 0)
		real = (int (*) (int, struct epoll_event *, int, int)) dlsym(RTLD_NEXT, "epoll_wait");
	count = real(descriptor, events, size, timeout);
	saved = errno;
	if (count > 0)
		while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
			;
	errno = saved;
	return count;
}
