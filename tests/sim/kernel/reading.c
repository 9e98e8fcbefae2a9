/*
 * For the link inside user-mode Linux, where each system call is dear: the clock stands while
 * anything runs (clock.c), so it is read once after each wait.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SIGSET_BYTES 8 /* the kernel's */

static struct timespec reading;
static bool read_since_wait;

int clock_gettime(clockid_t clock, struct timespec *t)
{
	if (clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, t);
	if (!read_since_wait)
		syscall(SYS_clock_gettime, clock, &reading);
	read_since_wait = true;
	*t = reading;
	return 0;
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *wait, const sigset_t *open)
{
	struct timespec copy = wait ? *wait : (struct timespec){0};

	read_since_wait = false;
	return (int)syscall(SYS_ppoll, fds, count, wait ? &copy : NULL, open, SIGSET_BYTES);
}
