/*
 * Private to serve.c and sleep.c: the role of the driver. Theory of operation: serve.c.
 */
#ifndef PRELOAD_ROLE_H
#define PRELOAD_ROLE_H

#include "preload/region.h"

#define ROLE_HOLDER    0x3fffu
#define ROLE_SET_SHIFT 14
#define ROLE_READING   (1u << 16)
#define ROLE_COUNT     (1u << 17)
#define ROLE_COUNTS    (~(ROLE_COUNT - 1))

_Static_assert(RX_SETS <= 4, "two bits of the role");
_Static_assert(SLOTS_MAX < ROLE_HOLDER, "14 bits of the role");

static inline u32 role_load(const struct host *host)
{
	return __atomic_load_n(&host->role, __ATOMIC_SEQ_CST);
}

static inline bool role_change(struct host *host, u32 from, u32 to)
{
	return __atomic_compare_exchange_n(
		&host->role, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* The role in other hands, with the same buffers. */
static inline u32 role_pass(u32 role, u32 holder)
{
	return ((role & ROLE_COUNTS) + ROLE_COUNT) | (role & 3u << ROLE_SET_SHIFT) | holder;
}

static inline struct rx_set *role_set(struct host *host, u32 role)
{
	return &host->rx[role >> ROLE_SET_SHIFT & 3];
}

/* Takes the role if it is vacant; the word, with `more` bits, in *mine. */
bool role_take(struct host *host, const struct slot *slot, u32 more, u32 *mine);

/* Gives up the role. Threads that sleep behind it must not be left without a driver: one of them is
 * woken to take it. */
void role_leave(struct host *host, u32 role);

/* The holder of the role, with `reading` set, takes what the device has, once. True when something
 * came. */
bool serve_batch(struct host *host, u32 role);

void serve_timers(void);

/* Under the lock: fills the empty places of a set with buffers. */
void serve_fill(struct stack *s, struct rx_set *set);

/* ppoll until a monotonic time. */
int serve_poll(struct pollfd *fds, u32 count, u64 until_ns, const sigset_t *mask);

#endif
