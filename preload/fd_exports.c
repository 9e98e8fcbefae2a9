/* Interposed: what opens, closes, duplicates or controls descriptors. */
#include <pty.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "preload/call_file.h"
#include "preload/export.h"
#include "preload/libc.h"
#include "preload/raw.h"

/* --- closing and duplicating --- */

EXPORT int close(int fd)
{
	if (host_owns_fd(fd)) {
		errno = EBADF;
		return -1;
	}
	return call_close(fd);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	return call_close_range(first, last, flags);
}

EXPORT void closefrom(int first)
{
	call_close_range(first < 0 ? 0 : (unsigned)first, ~0u, 0);
}

EXPORT int dup(int fd)
{
	return call_dup(fd);
}

EXPORT int dup2(int from, int to)
{
	return call_dup_to(from, to, 0, false);
}

EXPORT int dup3(int from, int to, int flags)
{
	return call_dup_to(from, to, flags, true);
}

#define FCNTL(name)                                                                                \
	EXPORT int name(int fd, int cmd, ...)                                                      \
	{                                                                                          \
		va_list args;                                                                      \
		void *arg;                                                                         \
                                                                                                   \
		va_start(args, cmd);                                                               \
		arg = va_arg(args, void *);                                                        \
		va_end(args);                                                                      \
		return call_fcntl(fd, cmd, arg);                                                   \
	}
FCNTL(fcntl)
FCNTL(fcntl64)
FCNTL(__fcntl)

EXPORT int __close(int fd)
{
	return close(fd);
}

EXPORT int __close_nocancel(int fd)
{
	return close(fd);
}

EXPORT int __dup2(int from, int to)
{
	return dup2(from, to);
}

/* --- opening: the kernel gives out a number that may have been ours --- */

#define NEEDS_MODE(flags) ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE)

#define OPEN(name)                                                                                 \
	EXPORT int name(const char *path, int flags, ...)                                          \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
		va_list args;                                                                      \
                                                                                                   \
		if (NEEDS_MODE(flags)) {                                                           \
			va_start(args, flags);                                                     \
			mode = va_arg(args, mode_t);                                               \
			va_end(args);                                                              \
		}                                                                                  \
		return call_opened(libc.open(path, flags, mode));                                  \
	}
OPEN(open)
OPEN(open64)
OPEN(__open)
OPEN(__open64)

#define OPENAT(name)                                                                               \
	EXPORT int name(int dir, const char *path, int flags, ...)                                 \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
		va_list args;                                                                      \
                                                                                                   \
		if (NEEDS_MODE(flags)) {                                                           \
			va_start(args, flags);                                                     \
			mode = va_arg(args, mode_t);                                               \
			va_end(args);                                                              \
		}                                                                                  \
		return call_opened(libc.openat(dir, path, flags, mode));                           \
	}
OPENAT(openat)
OPENAT(openat64)

/* Fortified: what needs a mode and has none ends the program. */
extern void __chk_fail(void) __attribute__((noreturn));

EXPORT int __open_2(const char *path, int flags)
{
	if (NEEDS_MODE(flags))
		__chk_fail();
	return open(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return __open_2(path, flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	if (NEEDS_MODE(flags))
		__chk_fail();
	return openat(dir, path, flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return __openat_2(dir, path, flags);
}

EXPORT int creat(const char *path, mode_t mode)
{
	return call_opened(libc.open(path, O_CREAT | O_WRONLY | O_TRUNC, mode));
}

EXPORT int creat64(const char *path, mode_t mode)
{
	return creat(path, mode);
}

static int opened_pair(int ret, const int fds[2])
{
	if (ret == 0) {
		call_opened(fds[0]);
		call_opened(fds[1]);
	}
	return ret;
}

EXPORT int pipe(int fds[2])
{
	return opened_pair(libc.pipe(fds), fds);
}

EXPORT int __pipe(int fds[2])
{
	return pipe(fds);
}

EXPORT int pipe2(int fds[2], int flags)
{
	return opened_pair(libc.pipe2(fds, flags), fds);
}

EXPORT int eventfd(unsigned value, int flags)
{
	return call_opened(libc.eventfd(value, flags));
}

EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
	int ret;

	libc_need();
	ret = libc.signalfd(fd, mask, flags);
	return fd < 0 ? call_opened(ret) : ret;
}

EXPORT int timerfd_create(int clock, int flags)
{
	return call_opened(libc.timerfd_create(clock, flags));
}

EXPORT int inotify_init(void)
{
	return call_opened(libc.inotify_init());
}

EXPORT int inotify_init1(int flags)
{
	return call_opened(libc.inotify_init1(flags));
}

EXPORT int fanotify_init(unsigned flags, unsigned event_flags)
{
	return call_opened(libc.fanotify_init(flags, event_flags));
}

EXPORT int memfd_create(const char *name, unsigned flags)
{
	return call_opened(libc.memfd_create(name, flags));
}

EXPORT int pidfd_open(pid_t pid, unsigned flags)
{
	return call_opened(libc.pidfd_open(pid, flags));
}

EXPORT int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	return call_came(libc.pidfd_getfd(pidfd, fd, flags));
}

/* The files that libc makes under names of its own. */
#define OPENER(name, params, call)                                                                 \
	EXPORT int name params                                                                     \
	{                                                                                          \
		libc_need();                                                                       \
		return call_opened(libc.call);                                                     \
	}
OPENER(mkstemp, (char *path), mkstemp(path))
OPENER(mkstemp64, (char *path), mkstemp(path))
OPENER(mkostemp, (char *path, int flags), mkostemp(path, flags))
OPENER(mkostemp64, (char *path, int flags), mkostemp(path, flags))
OPENER(mkstemps, (char *path, int suffix), mkstemps(path, suffix))
OPENER(mkstemps64, (char *path, int suffix), mkstemps(path, suffix))
OPENER(mkostemps, (char *path, int suffix, int flags), mkostemps(path, suffix, flags))
OPENER(mkostemps64, (char *path, int suffix, int flags), mkostemps(path, suffix, flags))
OPENER(shm_open, (const char *path, int flags, mode_t mode), shm_open(path, flags, mode))
OPENER(posix_openpt, (int flags), posix_openpt(flags))
OPENER(getpt, (void), getpt())

EXPORT int openpty(
	int *master, int *slave, char *name, const struct termios *term, const struct winsize *size)
{
	int ret;

	libc_need();
	ret = libc.openpty(master, slave, name, term, size);
	if (ret == 0) {
		call_opened(*master);
		call_opened(*slave);
	}
	return ret;
}
