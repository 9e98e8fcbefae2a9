/* Deadlines on the host's clock from the time-outs of the C library's calls: 0 looks once, NEVER
 * waits for ever. */
#ifndef PRELOAD_DEADLINE_H
#define PRELOAD_DEADLINE_H

#include <time.h>

#include "preload/host.h"

static inline u64 deadline_after(u64 ns)
{
	u64 now;

	if (!ns)
		return 0;
	now = host_now();
	return ns >= NEVER - now ? NEVER : now + ns;
}

static inline u64 deadline_ms(int ms)
{
	return ms < 0 ? NEVER : deadline_after((u64)(u32)ms * NS_PER_MS);
}

/* NULL waits for ever; the caller has refused what is negative or has too many nanoseconds. */
static inline u64 deadline_timespec(const struct timespec *t)
{
	if (!t)
		return NEVER;
	return (u64)t->tv_sec >= NEVER / NS_PER_S - 1
		       ? NEVER
		       : deadline_after((u64)t->tv_sec * NS_PER_S + (u64)t->tv_nsec);
}

static inline bool deadline_valid(const struct timespec *t)
{
	return !t || (t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < (long)NS_PER_S);
}

#endif
