/*
 * The host's lock.
 *
 * Theory of operation. The word is 0 when free, else the owner's thread id, with FUTEX_WAITERS when
 * somebody may sleep on it. At a thread's death the kernel looks at its robust list: we never link
 * the lock into the list but name it in list_op_pending before the word is touched and until after
 * it has been given up, which costs two stores. If the word then holds the dead thread's id the
 * kernel marks it FUTEX_OWNER_DIED and wakes a waiter; if the word is 0 it wakes one too, as the
 * wake-up that the dead thread had been given would be lost otherwise. This works for children of
 * raw clone() as well, where a robust pthread mutex hangs: their list, which glibc has not
 * registered, is made here.
 *
 * glibc uses list_op_pending for its own robust mutexes; a handler or a call of ours may interrupt
 * that, so the value found is put back.
 *
 * Thread ids are those of the thread's pid namespace. They are compared by their owner and the
 * kernel only, and never tested for life.
 */
#include "preload/lock.h"

#include <linux/futex.h>

#include "preload/raw.h"

#define LOCK_LONG_NS (10 * NS_PER_MS)
#define LOCK_SPINS   100 /* about 2 us: a hold is shorter, a sleep and wake-up ten times longer */

struct lock_thread {
	u32 tid;
	u32 epoch;
	long offset; /* from a list entry to its futex word */
	struct robust_list_head *list;
	struct robust_list
		*before; /* list_op_pending as found by the lock that is held; locks don't nest */
	struct robust_list_head own; /* used when nobody has registered one */
};

static __thread struct lock_thread lock_thread;
static u32 lock_epoch = 1;

void lock_forked(void)
{
	__atomic_add_fetch(&lock_epoch, 1, __ATOMIC_RELAXED);
}

static __attribute__((noinline, cold)) void lock_prepare(struct lock_thread *self)
{
	struct robust_list_head *list = NULL;
	size_t size = 0;

	raw_syscall3(SYS_get_robust_list, 0, (long)&list, (long)&size);
	if (!list) {
		self->own.list.next = &self->own.list;
		self->own.futex_offset = 0;
		self->own.list_op_pending = NULL;
		list = &self->own;
		raw_syscall2(SYS_set_robust_list, (long)list, sizeof(*list));
	}
	self->list = list;
	self->offset = list->futex_offset;
	self->tid = (u32)raw_gettid();
	self->epoch = __atomic_load_n(&lock_epoch, __ATOMIC_RELAXED);
}

static inline struct lock_thread *lock_self(void)
{
	struct lock_thread *self = &lock_thread;

	if (__builtin_expect(self->epoch != __atomic_load_n(&lock_epoch, __ATOMIC_RELAXED), 0))
		lock_prepare(self);
	return self;
}

u32 lock_tid(void)
{
	return lock_self()->tid;
}

bool lock_mine(const struct lock *lock)
{
	return (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & FUTEX_TID_MASK) ==
	       lock_self()->tid;
}

static inline void lock_name(struct lock_thread *self, struct lock *lock)
{
	self->list->list_op_pending = (struct robust_list *)((char *)&lock->word - self->offset);
	/* Read by the kernel at this thread's death: program order is all it takes. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void lock_unname(struct lock_thread *self)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self->list->list_op_pending = self->before;
}

static inline void lock_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

/* One attempt; *died tells whether the lock was its dead owner's. */
static inline bool lock_attempt(struct lock *lock, u32 mine, bool *died)
{
	u32 word = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);

	if (word & FUTEX_TID_MASK)
		return false;
	*died = word & FUTEX_OWNER_DIED;
	return __atomic_compare_exchange_n(&lock->word, &word, mine | (word & FUTEX_WAITERS), false,
		__ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) bool lock_wait(struct lock *lock, u32 tid)
{
	struct timespec patience = {0, LOCK_LONG_NS};
	bool died = false, counted = false;
	u32 word;

	for (u32 i = 0; i < LOCK_SPINS; i++) {
		if (lock_attempt(lock, tid, &died))
			return died;
		lock_pause();
	}
	/* Whoever has slept cannot know whether it was the last: it takes the lock with the mark
	 * set. */
	while (!lock_attempt(lock, tid | FUTEX_WAITERS, &died)) {
		word = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
		if (!(word & FUTEX_TID_MASK))
			continue;
		if (!(word & FUTEX_WAITERS) &&
			!__atomic_compare_exchange_n(&lock->word, &word, word | FUTEX_WAITERS,
				false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			continue;
		__atomic_add_fetch(&lock->contended, 1, __ATOMIC_RELAXED);
		if (raw_futex(&lock->word, FUTEX_WAIT, word | FUTEX_WAITERS,
			    counted ? NULL : &patience, NULL, 0) == -ETIMEDOUT) {
			__atomic_add_fetch(&lock->long_waits, 1, __ATOMIC_RELAXED);
			counted = true;
		}
	}
	return died;
}

bool lock_take(struct lock *lock)
{
	struct lock_thread *self = lock_self();
	u32 free = 0;

	self->before = self->list->list_op_pending;
	lock_name(self, lock);
	if (__builtin_expect(__atomic_compare_exchange_n(&lock->word, &free, self->tid, false,
				     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED),
		    1))
		return false;
	return lock_wait(lock, self->tid);
}

bool lock_try(struct lock *lock, bool *died)
{
	struct lock_thread *self = lock_self();

	self->before = self->list->list_op_pending;
	lock_name(self, lock);
	if (lock_attempt(lock, self->tid, died))
		return true;
	lock_unname(self);
	return false;
}

void lock_drop(struct lock *lock)
{
	struct lock_thread *self = lock_self();
	u32 word = __atomic_exchange_n(&lock->word, 0, __ATOMIC_SEQ_CST);

	if (word & FUTEX_WAITERS)
		raw_futex(&lock->word, FUTEX_WAKE, 1, NULL, NULL, 0);
	lock_unname(self);
}
