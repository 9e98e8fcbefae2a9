/*
 * The host's lock: a futex word in the layout that the kernel expects of robust futexes (owner's
 * tid, FUTEX_WAITERS, FUTEX_OWNER_DIED), so that the death of the owner, in any process and of any
 * kind, is handed to the next one.
 */
#ifndef PRELOAD_LOCK_H
#define PRELOAD_LOCK_H

#include "stack/types.h"

struct lock {
	_Alignas(64) u32 word;
	u32 contended;	/* times that somebody had to sleep for it */
	u32 long_waits; /* for more than 10 ms: its owner was stopped, or had no processor */
};

/* Takes the lock; true when the previous owner died with it. */
bool lock_take(struct lock *lock);
void lock_drop(struct lock *lock);

/* Takes it if it is free, or its owner died (*died). */
bool lock_try(struct lock *lock, bool *died);

/* True when the calling thread holds it. */
bool lock_mine(const struct lock *lock);

/* In a forked child: the threads' cached ids and robust lists are those of the parent. */
void lock_forked(void);

/* The calling thread's id in its own pid namespace, cached. */
u32 lock_tid(void);

#endif
