/*
 * Hierarchical timer wheel: O(1) to arm and cancel, first-in first-out among equal deadlines. A
 * timer is embedded in its owner at an offset that is fixed per slab kind (the const table in
 * wheel.c), so an entry is linked by its owner's ref. An owner has one timer, for the earliest of
 * its deadlines. Deadlines are exact: a timer never fires early, whatever the width of a slot. In
 * SLAB_TCP_REQUEST and SLAB_TCP_TIMEWAIT the timer stands directly behind struct conn. The owner is
 * cancelled before it is freed.
 */
#ifndef STACK_WHEEL_H
#define STACK_WHEEL_H

#include "stack/slab.h"

struct timer {
	u64 deadline_ns; /* NEVER while not armed */
	ref next;
	ref prev;
	u16 slot; /* 1 + level * WHEEL_SLOTS + slot, 0 while not armed */
	u16 zero;
};

enum {
	WHEEL_LEVELS = 8,
	WHEEL_SLOTS = 64,
	WHEEL_TICK_SHIFT = 16
}; /* a tick is 65.536 us; the wheel spans centuries */

struct wheel {
	u64 tick;		    /* all earlier ones have been served */
	u64 occupied[WHEEL_LEVELS]; /* bit per slot */
	ref head[WHEEL_LEVELS][WHEEL_SLOTS];
	ref tail[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct stack *s);
void wheel_arm(
	struct stack *s, ref owner, u64 deadline_ns); /* moves it when armed; NEVER cancels */
void wheel_cancel(struct stack *s, ref owner);

/* The owner of the earliest timer whose deadline is at or before now, taken off the wheel; 0 when
 * there is none. */
ref wheel_expired(struct stack *s, u64 now_ns);

/* For repair.c: links every timer that has a deadline anew. */
void wheel_rebuild(struct stack *s);

/* True when the owner's timer is on the wheel. */
bool wheel_armed(struct stack *s, ref owner);

/* When wheel_expired can next give something: never later than the earliest deadline; NEVER when
 * the wheel is empty. */
u64 wheel_next(struct stack *s);

#endif
