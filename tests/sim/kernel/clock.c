/*
 * A virtual clock for user-mode Linux, preloaded into it by kernel_bbr.
 *
 * Reading the clock moves it by READING_NS, for the loops that wait for a moment. Else it stands
 * while the kernel or a program in it runs. When all sleep, which UML shows by sigsuspend, it jumps
 * to the moment that the timer is set for. So the work takes no time, as on a machine of any speed
 * wanted, and what the host does is not seen.
 *
 * A loop that waits for a tick of the timer without reading the clock, as there are at the start
 * (to choose the fastest of some routines), would wait for ever: the tick comes when the kernel has
 * been busy for some of the host's time and the clock has not moved at all.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { READING_NS = 50, SPIN_US = 10000 };

#define NS	     1000000000ll
#define SIGSET_BYTES 8 /* the kernel's */

static long long now = NS, due = -1, every; /* the timer; -1: it is not set */

static struct timespec spec(long long ns)
{
	return (struct timespec){ns / NS, ns % NS};
}

static long long from_spec(const struct timespec *t)
{
	return t->tv_sec * NS + t->tv_nsec;
}

static void expire(void)
{
	if (due < 0 || now < due)
		return;
	due = every ? due + every : -1;
	kill(getpid(), SIGALRM);
}

static void spins(int sig)
{
	static long long last;

	(void)sig;
	if (now == last && due > now) {
		now = due;
		expire();
	}
	last = now;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	if (clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, t);
	now += READING_NS;
	*t = spec(now);
	expire();
	return 0;
}

int timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
	struct sigaction action = {.sa_handler = spins, .sa_flags = SA_RESTART};
	struct itimerval spin = {{0, SPIN_US}, {0, SPIN_US}};

	(void)clock;
	(void)event;
	*timer = NULL;
	sigaction(SIGPROF, &action, NULL);
	return setitimer(ITIMER_PROF, &spin, NULL);
}

int timer_settime(timer_t timer, int flags, const struct itimerspec *set, struct itimerspec *old)
{
	(void)timer;
	(void)flags;
	(void)old;
	due = from_spec(&set->it_value) ? now + from_spec(&set->it_value) : -1;
	every = from_spec(&set->it_interval);
	return 0;
}

int timer_gettime(timer_t timer, struct itimerspec *left)
{
	(void)timer;
	left->it_interval = spec(every);
	left->it_value = spec(due < 0 ? 0 : due > now ? due - now : 1);
	return 0;
}

int sigsuspend(const sigset_t *set)
{
	if (due > now)
		now = due;
	expire();
	return (int)syscall(SYS_rt_sigsuspend, set, SIGSET_BYTES);
}
