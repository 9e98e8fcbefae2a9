/*
 * Thread slots: what a thread holds in the region, so that its death, or that of its process, can
 * free it.
 *
 * A slot is claimed at a thread's first use of the host and given back by the destructor of a
 * thread-specific key. A thread that ends without destructors (raw clone) leaves it behind; it is
 * found when the table is full, among the threads of the claimer's own process, as an id means
 * nothing in another pid namespace. The slots of a dead process are freed by the keeper.
 */
#include "preload/region.h"

#include <pthread.h>

#include "preload/guard.h"
#include "preload/wait.h"

struct slot_thread {
	struct slot *slot;
	u32 epoch;
};

static __thread struct slot_thread slot_thread;
static pthread_key_t slot_key;
static bool slot_key_made;

u32 slot_index(const struct slot *slot)
{
	const struct host *host = host_local.host;
	u64 offset = (u64)((const char *)slot - (const char *)host);
	u32 per_span = SLAB_SPAN_BYTES / (u32)sizeof(struct slot);

	if (offset < HOST_BYTES)
		return (u32)(slot - host->slot);
	for (u32 i = 0; i < host->slot_spans; i++) {
		u64 start = HOST_BYTES + (u64)host->slot_span[i] * SLAB_SPAN_BYTES;

		if (offset - start < SLAB_SPAN_BYTES)
			return SLOTS_FIRST + i * per_span +
			       (u32)((offset - start) / sizeof(struct slot));
	}
	return 0;
}

struct slot *slot_at(u32 index)
{
	struct host *host = host_local.host;
	u32 per_span = SLAB_SPAN_BYTES / (u32)sizeof(struct slot);
	struct slot *first;

	if (index >= host->slots)
		return NULL;
	if (index < SLOTS_FIRST)
		return &host->slot[index];
	index -= SLOTS_FIRST;
	first = stack_span(region_stack(&host_local), host->slot_span[index / per_span]);
	return first + index % per_span;
}

void slot_drop(struct stack *s, struct slot *slot)
{
	u32 index = slot_index(slot);

	if (slot->plan.kind != PLAN_NONE)
		sock_plan_drop(s, &slot->plan);
	if (slot->made)
		sock_close(s, slot->made);
	slot->made = 0;
	wait_slot_died(s, slot);
	serve_slot_dropped(s, index);
	__atomic_fetch_and(
		&host_local.host->sleeping[index / 64], ~(1ull << index % 64), __ATOMIC_RELAXED);
	if (slot->bell)
		bell_release(host_local.host, slot->bell - 1);
	__atomic_store_n(&slot->bell, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->sleeping, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->owed, 0, __ATOMIC_RELAXED);
	slot->pid = 0;
	__atomic_store_n(&slot->tid, 0, __ATOMIC_RELEASE);
	host_local.host->slot_hint = MIN(host_local.host->slot_hint, index);
}

void slot_drop_process(struct stack *s, u32 member)
{
	for (u32 i = 0; i < host_local.host->slots; i++) {
		struct slot *slot = slot_at(i);

		if (slot->tid && slot->member == member)
			slot_drop(s, slot);
	}
}

/* More slots, in a span of their own. */
static bool slot_grow(struct stack *s)
{
	struct host *host = host_local.host;
	u32 per_span = SLAB_SPAN_BYTES / (u32)sizeof(struct slot), span;

	if (host->slot_spans == SLOT_SPANS || host->slots + per_span > SLOTS_MAX)
		return false;
	span = stack_span_alloc(s);
	if (!span)
		return false;
	host->slot_span[host->slot_spans] = span;
	host->slot_spans++;
	host->slots += per_span;
	return true;
}

/* Threads of this process that ended without telling. */
static void slot_reap(struct stack *s)
{
	for (u32 i = 0; i < host_local.host->slots; i++) {
		struct slot *slot = slot_at(i);

		if (slot->tid && slot->member == host_local.member &&
			raw_syscall3(SYS_tgkill, raw_getpid(), slot->tid, 0) == -ESRCH)
			slot_drop(s, slot);
	}
}

static struct slot *slot_find_free(void)
{
	struct host *host = host_local.host;

	for (u32 i = host->slot_hint; i < host->slots; i++) {
		if (!slot_at(i)->tid) {
			host->slot_hint = i + 1;
			return slot_at(i);
		}
	}
	host->slot_hint = host->slots;
	return NULL;
}

static __attribute__((noinline, cold)) struct slot *slot_claim(void)
{
	bool locked = lock_mine(
		&host_local.host->lock); /* the first call of a thread may be made under the lock */
	struct stack *s = locked ? region_stack(&host_local) : host_enter();
	struct slot *slot = slot_find_free();

	if (!slot) {
		slot_reap(s);
		slot = slot_find_free();
	}
	if (!slot && slot_grow(s))
		slot = slot_find_free();
	if (slot) {
		slot->interrupted = 0;
		slot->made = 0;
		slot->member = host_local.member;
		slot->pid = host_local.pid;
		slot->thread = (u64)pthread_self();
		__atomic_store_n(&slot->tid, lock_tid(), __ATOMIC_RELEASE);
		slot_thread.slot = slot;
		slot_thread.epoch = host_local.epoch;
	}
	if (!locked)
		host_leave();
	if (slot && slot_key_made)
		pthread_setspecific(slot_key, slot);
	return slot;
}

struct slot *slot_mine(void)
{
	return slot_thread.slot && slot_thread.epoch == host_local.epoch ? slot_thread.slot : NULL;
}

struct slot *slot_self(void)
{
	struct slot *slot = slot_mine();

	return __builtin_expect(slot != NULL, 1) ? slot : slot_claim();
}

static void slot_thread_ended(void *unused)
{
	struct slot *slot = slot_mine();

	(void)unused;
	if (!slot || !host_up())
		return;
	guard_enter();
	slot_drop(host_enter(), slot);
	slot_thread.slot = NULL;
	host_leave();
	guard_leave(false);
}

void slot_thread_init(void)
{
	if (!slot_key_made)
		slot_key_made = pthread_key_create(&slot_key, slot_thread_ended) == 0;
}
