/*
 * Waiting for sockets.
 *
 * A call that must sleep hangs a struct waiter on each socket (or epoll set) that it waits for,
 * reads its slot's wake-up count under the same hold of the lock under which it found nothing, and
 * sleeps in host_sleep. Whoever makes the engine report a change hands it out before releasing the
 * lock (wait_dispatch): the waiters' slots are woken and look again. So no change between the look
 * and the sleep can be missed. A waiter belongs to one slot and goes when its wait ends, or with
 * its thread.
 *
 * As with the kernel, a call that sleeps on a socket keeps it when another thread closes the last
 * number: the hold is given back when the wait ends (wait_sock_closed).
 */
#include "preload/wait.h"

#include "preload/epoll.h"
#include "preload/guard.h"
#include "preload/raw.h"
#include "preload/region.h"
#include "preload/splice.h"

struct waiter {
	struct slab_head slab;
	ref object; /* SLAB_SOCK or SLAB_EPOLL_SET */
	ref next;   /* of the object's list */
	ref prev;
	ref slot_next;
	u32 slot;
	u32 events;
	u32 closed; /* the process has closed the socket meanwhile: the last waiter's end gives up
		       its hold */
};

enum { WAITERS_MAX = 1u << 18 };

void wait_init(struct stack *s)
{
	slab_init(s, SLAB_WAITER, sizeof(struct waiter), WAITERS_MAX);
}

static struct waiter *waiter_get(struct stack *s, ref r)
{
	return slab_get(s, SLAB_WAITER, r);
}

/* The head of the list of waiters of a socket or set, NULL when it is gone. */
static ref *waiter_list(struct stack *s, ref object)
{
	struct sock *sk;

	if (ref_kind(object) == SLAB_EPOLL_SET)
		return epoll_waiters(s, object);
	sk = sock_get(s, object);
	return sk ? &sk->waiters : NULL;
}

/* Into the lists of its object and of its slot. */
static void waiter_link(struct stack *s, struct waiter *w, struct slot *slot)
{
	ref *head = waiter_list(s, w->object), self = w->slab.self;
	struct waiter *first = head ? waiter_get(s, *head) : NULL;

	w->prev = 0;
	w->next = first ? *head : 0;
	if (first)
		first->prev = self;
	if (head)
		*head = self;
	w->slot_next = slot->waiters;
	slot->waiters = self;
}

/* Hangs a waiter of the slot on an object; false when there is no room. */
static bool waiter_add(struct stack *s, struct slot *slot, ref object, u32 events)
{
	struct waiter *w;
	ref r;

	if (!waiter_list(s, object))
		return true; /* gone already: the caller's next look finds it */
	r = slab_alloc(s, SLAB_WAITER);
	if (!r)
		return false;
	w = waiter_get(s, r);
	w->events = events | EV_ERR | EV_HUP;
	w->slot = slot_index(slot);
	/* With an object it counts in a repair. */
	__atomic_store_n(&w->object, object, __ATOMIC_RELEASE);
	waiter_link(s, w, slot);
	return true;
}

/* Does a thread of process pid still wait on the object? */
static bool waiter_of_process(struct stack *s, ref object, u32 pid)
{
	ref *head = waiter_list(s, object);
	struct waiter *w = head ? waiter_get(s, *head) : NULL;

	for (; w; w = waiter_get(s, w->next)) {
		if (slot_at(w->slot)->pid == pid)
			return true;
	}
	return false;
}

bool wait_of_member(struct stack *s, ref sock, u32 member)
{
	const struct sock *sk = sock_get(s, sock);
	struct waiter *w = sk ? waiter_get(s, sk->waiters) : NULL;

	for (; w; w = waiter_get(s, w->next)) {
		if (slot_at(w->slot)->member == member)
			return true;
	}
	return false;
}

static void waiter_remove(struct stack *s, ref r, u32 pid)
{
	struct waiter *w = waiter_get(s, r), *next, *prev;
	ref object = w->object;
	bool closed = w->closed;
	ref *head = waiter_list(s, object);

	next = waiter_get(s, w->next);
	prev = waiter_get(s, w->prev);
	if (next)
		next->prev = w->prev;
	if (prev)
		prev->next = w->next;
	else if (head && *head == r)
		*head = w->next;
	slab_free(s, r);
	if (closed && sock_get(s, object) && !waiter_of_process(s, object, pid))
		host_unhold(s, object);
}

/* Takes all waiters of a slot off their lists. Under the lock. */
void wait_slot_dropped(struct stack *s, struct slot *slot)
{
	while (waiter_get(s, slot->waiters)) {
		ref r = slot->waiters;

		slot->waiters = waiter_get(s, r)->slot_next;
		waiter_remove(s, r, slot->pid);
	}
	slot->waiters = 0;
}

void wait_slot_died(struct stack *s, struct slot *slot)
{
	struct waiter *w;

	while ((w = waiter_get(s, slot->waiters))) {
		ref r = slot->waiters, object = w->object;

		slot->waiters = w->slot_next;
		waiter_remove(s, r, slot->pid);
		if (epoll_ready(s, object))
			wait_wake_one(s, *epoll_waiters(s, object));
	}
	slot->waiters = 0;
}

void wait_repair(struct stack *s)
{
	struct slot *slot;

	for (u32 i = 0; (slot = slot_at(i)); i++)
		slot->waiters = 0;
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk)
			sk->waiters = 0;
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_EPOLL_SET); i++) {
		struct slab_head *set = slab_at(s, SLAB_EPOLL_SET, i);

		if (set)
			*epoll_waiters(s, set->self) = 0;
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_WAITER); i++) {
		struct waiter *w = slab_at(s, SLAB_WAITER, i);

		slot = w ? slot_at(w->slot) : NULL;
		if (w && w->object && slot && slot->tid)
			waiter_link(s, w, slot);
		else if (w)
			slab_free(s, w->slab.self);
	}
}

bool wait_sock_closed(struct stack *s, ref sock)
{
	struct sock *sk = sock_get(s, sock);
	struct slot *self = slot_self();
	struct waiter *w;
	bool busy = false;

	if (!sk || !self)
		return false;
	for (w = waiter_get(s, sk->waiters); w; w = waiter_get(s, w->next)) {
		if (slot_at(w->slot)->pid == self->pid) {
			w->closed = 1;
			busy = true;
		}
	}
	return busy;
}

void wait_wake(struct stack *s, ref waiters, u32 events)
{
	struct waiter *w;

	for (w = waiter_get(s, waiters); w; w = waiter_get(s, w->next)) {
		if (w->events & events)
			host_wake(w->slot);
	}
}

void wait_wake_one(struct stack *s, ref waiters)
{
	struct waiter *w = waiter_get(s, waiters);

	if (w)
		host_wake(w->slot);
}

void wait_dispatch(struct stack *s)
{
	u32 events;
	ref r;

	while ((r = stack_changed(s, &events)) != 0) {
		struct sock *sk = sock_get(s, r);

		if (!sk)
			continue;
		if (sk->flags & (SOCK_SPLICED | SOCK_LENT))
			splice_due(s, sk);
		if (sk->owner)
			async_note(sk, events);
		if (sk->waiters)
			wait_wake(s, sk->waiters, events);
		if (sk->watch_items)
			epoll_notify(s, sk, events);
	}
}

/* Fills revents as things stand; how many have any. */
static u32 wait_look(struct stack *s, struct wait_sock *socks, u32 count)
{
	u32 i, ready = 0;

	for (i = 0; i < count; i++) {
		struct wait_sock *w = &socks[i];
		const struct sock *sk = sock_get(s, w->sock);

		if (ref_kind(w->sock) == SLAB_EPOLL_SET)
			w->revents = epoll_ready(s, w->sock) ? w->events & EV_IN : 0;
		else if (!sk)
			w->revents = EV_NVAL;
		else if (sk->flags & SOCK_SPLICED && sk->state != SOCK_CONNECTING)
			w->revents = EV_SPLICED;
		else
			w->revents =
				sock_poll(s, w->sock) &
				(w->events & EV_EXACT ? w->events : w->events | EV_ERR | EV_HUP);
		ready += w->revents != 0;
	}
	return ready;
}

/* A last look at the kernel's side, without waiting: how many descriptors have events. */
static int wait_kernel(struct pollfd *fds, u32 count)
{
	struct timespec none = {0, 0};

	return count ? raw_ppoll(fds, count, &none, NULL) : 0;
}

static bool wait_register(
	struct stack *s, struct slot *slot, const struct wait_sock *socks, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++) {
		if (!waiter_add(s, slot, socks[i].sock, socks[i].events))
			return false;
	}
	return true;
}

static void wait_end(struct slot *slot)
{
	if (!slot->waiters)
		return;
	wait_slot_dropped(host_enter(), slot);
	host_leave();
}

int wait_any(struct wait_sock *socks, u32 nsocks, struct pollfd *fds, u32 nfds, u64 deadline_ns,
	const sigset_t *mask)
{
	struct slot *slot = slot_self();
	bool registered = false, last = deadline_ns == 0, polled = false, interrupted;
	int result = 0, kernel = 0, how;
	u32 seen, ready, i;

	if (!slot)
		return -ENOMEM;
	for (;;) {
		struct stack *s = host_enter();

		ready = wait_look(s, socks, nsocks);
		if ((ready || last) && slot->waiters)
			wait_slot_dropped(s, slot);
		if (!ready && !last && !registered) {
			registered = wait_register(s, slot, socks, nsocks);
			if (!registered) {
				host_leave();
				result = -ENOMEM;
				break;
			}
		}
		seen = __atomic_load_n(&slot->woken, __ATOMIC_ACQUIRE);
		host_leave();
		if (ready || last) {
			if (!kernel)
				kernel = wait_kernel(fds, nfds);
			result = kernel < 0 ? kernel : (int)ready + kernel;
			if (result || polled || deadline_ns || !host_poll_device())
				break;
			polled = true;
			continue;
		}
		interrupted = __atomic_exchange_n(&slot->interrupted, 0, __ATOMIC_ACQ_REL) != 0;
		if (interrupted || guard_pending()) {
			result = -EINTR;
			break;
		}
		how = host_sleep(slot, seen, fds, nfds, deadline_ns, mask);
		if (how == -EINTR) {
			result = -EINTR;
			break;
		}
		if (how < 0) {
			result = how;
			break;
		}
		if (how == 2) {
			for (kernel = 0, i = 0; i < nfds; i++)
				kernel += fds[i].revents != 0;
		}
		last = how != 1;
	}
	__atomic_store_n(&slot->interrupted, 0, __ATOMIC_RELEASE);
	wait_end(slot);
	return result;
}

int wait_one(ref sock, u32 events, u64 deadline_ns)
{
	struct wait_sock w = {.sock = sock, .events = events};

	return wait_any(&w, 1, NULL, 0, deadline_ns, NULL);
}
