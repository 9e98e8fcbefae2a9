/*
 * Hierarchical timer wheel: eight levels of 64 slots. The tick (65.536 us) of a deadline and the
 * wheel's own tick are compared as numbers of base 64: the highest digit in which they differ is
 * the level, the digit itself the slot. As the wheel's tick reaches a slot of a higher level, its
 * timers are spread over the levels below.
 *
 * Level 0's slots are kept in order of deadline, equal ones in the order they were armed. An
 * insertion looks back over SORT_REACH entries at most, so that it stays O(1): beyond those, a
 * timer can be served late by less than a tick, never early.
 */
#include <string.h>

#include "stack/neigh.h"
#include "stack/reasm.h"
#include "stack/stack.h"

enum { SORT_REACH = 64, DIGIT_BITS = 6 };

/* Handshakes and TIME-WAIT: the timer stands directly behind the head they share with sockets
 * (tcp.h keeps to it). */
struct timed_conn {
	struct conn conn;
	struct timer timer;
};

static const u16 timer_offsets[SLAB_KINDS] = {
	[SLAB_SOCK] = offsetof(struct sock, timer),
	[SLAB_TCP_REQUEST] = offsetof(struct timed_conn, timer),
	[SLAB_TCP_TIMEWAIT] = offsetof(struct timed_conn, timer),
	[SLAB_NEIGH] = offsetof(struct neigh, timer),
	[SLAB_REASM] = offsetof(struct reasm, timer),
	[SLAB_TASK] = offsetof(struct task, timer),
};

static struct timer *wheel_timer(struct stack *s, ref owner)
{
	struct slab_head *head = slab_any(s, owner);
	u32 offset = head ? timer_offsets[ref_kind(owner)] : 0;

	return offset ? (struct timer *)(void *)((char *)head + offset) : NULL;
}

void wheel_init(struct stack *s)
{
	s->wheel.tick = s->now_ns >> WHEEL_TICK_SHIFT;
}

static void wheel_link(struct stack *s, ref owner, struct timer *t)
{
	struct wheel *w = &s->wheel;
	u64 tick = MAX(t->deadline_ns >> WHEEL_TICK_SHIFT, w->tick), differ = tick ^ w->tick;
	u32 level = differ ? (63 - (u32)__builtin_clzll(differ)) / DIGIT_BITS : 0;
	u32 slot = tick >> (level * DIGIT_BITS) & (WHEEL_SLOTS - 1);
	ref before = w->tail[level][slot], after = 0;
	struct timer *b = wheel_timer(s, before), *a;

	for (int reach = SORT_REACH;
		level == 0 && b && b->deadline_ns > t->deadline_ns && reach--;) {
		after = before;
		before = b->prev;
		b = wheel_timer(s, before);
	}
	t->prev = before;
	t->next = after;
	a = wheel_timer(s, after);
	*(b ? &b->next : &w->head[level][slot]) = owner;
	*(a ? &a->prev : &w->tail[level][slot]) = owner;
	w->occupied[level] |= 1ull << slot;
	t->slot = (u16)(1 + level * WHEEL_SLOTS + slot);
}

static void wheel_unlink(struct stack *s, struct timer *t)
{
	struct wheel *w = &s->wheel;
	u32 level = (t->slot - 1u) / WHEEL_SLOTS, slot = (t->slot - 1u) % WHEEL_SLOTS;
	struct timer *prev = wheel_timer(s, t->prev), *next = wheel_timer(s, t->next);

	*(prev ? &prev->next : &w->head[level][slot]) = t->next;
	*(next ? &next->prev : &w->tail[level][slot]) = t->prev;
	if (!w->head[level][slot])
		w->occupied[level] &= ~(1ull << slot);
	t->slot = 0;
	t->next = t->prev = 0;
}

void wheel_arm(struct stack *s, ref owner, u64 deadline_ns)
{
	struct timer *t = wheel_timer(s, owner);

	if (!t) {
		counter_inc(s, counter_invariant);
		return;
	}
	if (t->slot) {
		if (t->deadline_ns == deadline_ns)
			return;
		wheel_unlink(s, t);
	}
	t->deadline_ns = deadline_ns;
	if (deadline_ns != NEVER)
		wheel_link(s, owner, t);
}

void wheel_cancel(struct stack *s, ref owner)
{
	wheel_arm(s, owner, NEVER);
}

/* The bits of the slots behind the one that `tick` stands in, on a level. */
static u64 wheel_ahead(const struct wheel *w, u32 level)
{
	u32 digit = w->tick >> (level * DIGIT_BITS) & (WHEEL_SLOTS - 1);

	return digit == WHEEL_SLOTS - 1 ? 0 : w->occupied[level] >> (digit + 1) << (digit + 1);
}

/* The next occupied slot after the current one: its first tick, its level and slot. False when the
 * wheel is empty but for it. */
static bool wheel_seek(const struct wheel *w, u64 *tick, u32 *level, u32 *slot)
{
	for (u32 l = 0; l < WHEEL_LEVELS; l++) {
		u64 ahead = wheel_ahead(w, l);
		u32 shift = l * DIGIT_BITS;

		if (!ahead)
			continue;
		*level = l;
		*slot = (u32)__builtin_ctzll(ahead);
		*tick = (w->tick >> shift >> DIGIT_BITS << DIGIT_BITS | *slot) << shift;
		return true;
	}
	return false;
}

/* Spreads a slot of a higher level, whose time has come, over the levels below. */
static void wheel_cascade(struct stack *s, u32 level, u32 slot)
{
	ref r = s->wheel.head[level][slot], next;

	s->wheel.head[level][slot] = s->wheel.tail[level][slot] = 0;
	s->wheel.occupied[level] &= ~(1ull << slot);
	for (; r; r = next) {
		struct timer *t = wheel_timer(s, r);

		if (!t) {
			counter_inc(s, counter_invariant);
			return;
		}
		next = t->next;
		wheel_link(s, r, t);
	}
}

ref wheel_expired(struct stack *s, u64 now_ns)
{
	struct wheel *w = &s->wheel;
	u64 now = now_ns >> WHEEL_TICK_SHIFT, tick;
	u32 level, slot;

	for (;;) {
		ref r = w->head[0][w->tick & (WHEEL_SLOTS - 1)];
		struct timer *t = wheel_timer(s, r);

		if (t) {
			if (t->deadline_ns > now_ns)
				return 0;
			wheel_unlink(s, t);
			t->deadline_ns = NEVER;
			return r;
		}
		if (!wheel_seek(w, &tick, &level, &slot) || tick > now) {
			/* Nothing lies between: no slot that holds `now` is occupied. */
			w->tick = MAX(w->tick, now);
			return 0;
		}
		w->tick = tick;
		if (level)
			wheel_cascade(s, level, slot);
	}
}

u64 wheel_next(struct stack *s)
{
	struct wheel *w = &s->wheel;
	struct timer *t = wheel_timer(s, w->head[0][w->tick & (WHEEL_SLOTS - 1)]);
	u64 tick, earliest = NEVER;
	u32 level, slot;
	ref r;

	if (t)
		return t->deadline_ns;
	if (!wheel_seek(w, &tick, &level, &slot))
		return NEVER;
	r = w->head[level][slot];
	if (level == 0)
		return (t = wheel_timer(s, r)) ? t->deadline_ns : NEVER;
	/* A slot of a higher level is not in order. When it holds few timers, the exact deadline;
	 * else when it is spread. */
	for (int reach = SORT_REACH; (t = wheel_timer(s, r)); r = t->next) {
		if (!reach--)
			return tick << WHEEL_TICK_SHIFT;
		earliest = MIN(earliest, t->deadline_ns);
	}
	return earliest;
}

void wheel_rebuild(struct stack *s)
{
	struct wheel *w = &s->wheel;

	memset(w->occupied, 0, sizeof(w->occupied));
	memset(w->head, 0, sizeof(w->head));
	memset(w->tail, 0, sizeof(w->tail));
	for (u32 kind = 0; kind < SLAB_KINDS; kind++) {
		for (u32 i = 0; timer_offsets[kind] && i < slab_touched(s, (enum slab_kind)kind);
			i++) {
			struct slab_head *head = slab_at(s, (enum slab_kind)kind, i);
			struct timer *t = head ? wheel_timer(s, head->self) : NULL;

			if (!t)
				continue;
			t->slot = 0;
			t->next = t->prev = 0;
			if (t->deadline_ns && t->deadline_ns != NEVER)
				wheel_link(s, head->self, t);
		}
	}
}

bool wheel_armed(struct stack *s, ref owner)
{
	struct timer *t = wheel_timer(s, owner);

	return t && t->slot;
}
