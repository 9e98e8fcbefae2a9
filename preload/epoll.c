/*
 * epoll sets over the stack's sockets.
 *
 * A set holds one item per (socket, number) that was added; an item hangs on its socket (watch
 * list), on its set, and on the set's ready list while something may have happened. A readiness
 * change puts the items concerned on the ready list and wakes one sleeping epoll_wait per item;
 * epoll_wait takes items off, asks the socket for its present mask, and puts level-triggered ones
 * that reported back at the end. So epoll_wait costs the number of items that may be ready,
 * whatever the size of the set, and edge-triggered items report once per change (epoll(7)).
 *
 * The kernel's members stay in the program's real epoll descriptor (call_epoll.c). A set that is a
 * member of another one has an item there too, beside the kernel's own nesting: its readiness is
 * that of its ready list.
 */
#include "preload/epoll.h"

#include "preload/epoll_set.h"
#include "preload/fdtable.h"
#include "preload/splice.h"
#include "preload/wait.h"

enum { EPOLL_SETS_MAX = 1u << 16, EPOLL_ITEMS_MAX = 1u << 20 };
enum { EPOLL_DEPTH = 5 }; /* sets in sets, as the kernel bounds them */

void (*epoll_before_fork)(void);

void epoll_init(struct stack *s)
{
	slab_init(s, SLAB_EPOLL_SET, sizeof(struct epoll_set), EPOLL_SETS_MAX);
	slab_init(s, SLAB_EPOLL_ITEM, sizeof(struct epoll_item), EPOLL_ITEMS_MAX);
}

struct epoll_set *epoll_set_get(struct stack *s, ref r)
{
	return slab_get(s, SLAB_EPOLL_SET, r);
}

static struct epoll_item *item_get(struct stack *s, ref r)
{
	return slab_get(s, SLAB_EPOLL_ITEM, r);
}

ref epoll_set_new(struct stack *s, u32 member)
{
	ref r = slab_alloc(s, SLAB_EPOLL_SET);
	struct epoll_set *es = epoll_set_get(s, r);

	if (es)
		es->holder[0] = (u16)(member + 1);
	return r;
}

/* The head of the list of items on a target, NULL when it is gone. */
static ref *watch_list(struct stack *s, ref target)
{
	struct epoll_set *es = epoll_set_get(s, target);
	struct sock *sk = es ? NULL : sock_get(s, target);

	return es ? &es->watch_items : sk ? &sk->watch_items : NULL;
}

ref *epoll_waiters(struct stack *s, ref set)
{
	struct epoll_set *es = epoll_set_get(s, set);

	return es ? &es->waiters : NULL;
}

static void ready_push(struct stack *s, struct epoll_set *es, struct epoll_item *it)
{
	struct epoll_item *tail;

	if (it->flags & ITEM_READY)
		return;
	it->flags |= ITEM_READY;
	it->ready_next = 0;
	it->ready_prev = es->ready_tail;
	tail = item_get(s, es->ready_tail);
	if (tail)
		tail->ready_next = it->slab.self;
	else
		es->ready_head = it->slab.self;
	es->ready_tail = it->slab.self;
	es->ready_count++;
}

static void ready_remove(struct stack *s, struct epoll_set *es, struct epoll_item *it)
{
	struct epoll_item *next = item_get(s, it->ready_next), *prev = item_get(s, it->ready_prev);

	if (!(it->flags & ITEM_READY))
		return;
	it->flags &= ~(u32)ITEM_READY;
	if (next)
		next->ready_prev = it->ready_prev;
	else
		es->ready_tail = it->ready_prev;
	if (prev)
		prev->ready_next = it->ready_next;
	else
		es->ready_head = it->ready_next;
	es->ready_count--;
}

__attribute__((no_sanitize("thread"))) u32 epoll_expand(const struct sock *sk, u32 mask)
{
	if (mask & EV_IN)
		mask |= EPOLLRDNORM;
	if (mask & EV_OUT)
		mask |= EPOLLWRNORM | (sk->type == SOCK_DGRAM ? EPOLLWRBAND : 0u);
	return mask;
}

static u32 item_mask(struct stack *s, const struct epoll_item *it)
{
	struct sock *sk;

	if (it->flags & ITEM_DISABLED)
		return 0;
	if (ref_kind(it->target) == SLAB_EPOLL_SET)
		return epoll_ready(s, it->target) ? it->events & (EPOLLIN | EPOLLRDNORM) : 0;
	sk = sock_get(s, it->target);
	return sk && !splice_is(it->target) ? epoll_expand(sk, sock_poll(s, it->target)) &
						      (it->events | EPOLLERR | EPOLLHUP)
					    : 0;
}

/* Puts an item on its set's ready list and wakes one call that sleeps on the set, or on one that
 * the set is a member of. */
static void item_happened(struct stack *s, struct epoll_item *it, u32 depth)
{
	struct epoll_set *es = epoll_set_get(s, it->set);
	ref r;

	if (!es || it->flags & ITEM_DISABLED || depth > EPOLL_DEPTH)
		return;
	ready_push(s, es, it);
	if (es->waiters)
		wait_wake_one(s, es->waiters);
	for (r = es->watch_items; item_get(s, r); r = item_get(s, r)->watch_next)
		item_happened(s, item_get(s, r), depth + 1);
}

void epoll_notify(struct stack *s, struct sock *sk, u32 events)
{
	u32 happened = epoll_expand(sk, events);
	bool exclusive_done = false;
	ref r, next;

	for (r = sk->watch_items; r; r = next) {
		struct epoll_item *it = item_get(s, r);
		struct epoll_set *es;

		if (!it)
			break;
		next = it->watch_next;
		es = epoll_set_get(s, it->set);
		if (es && sk->flags & SOCK_SPLICED)
			es->spliced = true;
		if (!(happened & (it->events | EPOLLERR | EPOLLHUP)))
			continue;
		if (it->events & EPOLLEXCLUSIVE && !(sk->flags & SOCK_SPLICED)) {
			if (exclusive_done || !es)
				continue;
			exclusive_done = es->waiters != 0;
		}
		item_happened(s, it, 0);
	}
}

bool epoll_ready(struct stack *s, ref set)
{
	struct epoll_set *es = epoll_set_get(s, set);
	u32 bound = es ? es->ready_count : 0;

	if (es && es->spliced)
		return true; /* it is to be looked at */
	while (bound-- && es->ready_head) {
		struct epoll_item *it = item_get(s, es->ready_head);

		if (!it)
			break;
		if (item_mask(s, it))
			return true;
		ready_remove(s, es, it);
	}
	return false;
}

static struct epoll_item *item_find(struct stack *s, ref set, ref target, int fd)
{
	ref *head = watch_list(s, target);
	struct epoll_item *it = head ? item_get(s, *head) : NULL;

	for (; it; it = item_get(s, it->watch_next)) {
		if (it->set == set && it->fd == fd)
			return it;
	}
	return NULL;
}

static void item_free(struct stack *s, struct epoll_item *it)
{
	struct epoll_set *es = epoll_set_get(s, it->set);
	ref *watch = watch_list(s, it->target);
	struct epoll_item *next = item_get(s, it->watch_next), *prev = item_get(s, it->watch_prev);

	if (next)
		next->watch_prev = it->watch_prev;
	if (prev)
		prev->watch_next = it->watch_next;
	else if (watch)
		*watch = it->watch_next;
	next = item_get(s, it->set_next);
	prev = item_get(s, it->set_prev);
	if (next)
		next->set_prev = it->set_prev;
	if (prev)
		prev->set_next = it->set_next;
	else if (es)
		es->items = it->set_next;
	if (es)
		ready_remove(s, es, it);
	slab_free(s, it->slab.self);
}

/* Into the lists of its target and of its set. */
static void item_link(struct stack *s, struct epoll_set *es, ref *watch, struct epoll_item *it)
{
	ref r = it->slab.self;
	struct epoll_item *head = item_get(s, *watch);

	it->watch_prev = it->set_prev = 0;
	it->watch_next = *watch;
	if (head)
		head->watch_prev = r;
	*watch = r;
	it->set_next = es->items;
	head = item_get(s, es->items);
	if (head)
		head->set_prev = r;
	es->items = r;
}

static int item_add(
	struct stack *s, struct epoll_set *es, ref target, int fd, const struct epoll_event *e)
{
	ref r = slab_alloc(s, SLAB_EPOLL_ITEM);
	struct epoll_item *it = item_get(s, r);

	if (!r)
		return -ENOMEM;
	it->target = target;
	it->fd = fd;
	it->events = e->events;
	it->data = e->data.u64;
	/* With a set it counts in a repair. */
	__atomic_store_n(&it->set, es->slab.self, __ATOMIC_RELEASE);
	item_link(s, es, watch_list(s, target), it);
	return 0;
}

int epoll_set_ctl(struct stack *s, ref set, int op, ref target, int fd, const struct epoll_event *e)
{
	struct epoll_set *es = epoll_set_get(s, set);
	struct epoll_item *it;
	int err;

	if (!es || !watch_list(s, target))
		return -EBADF;
	it = item_find(s, set, target, fd);
	switch (op) {
	case EPOLL_CTL_ADD:
		if (it)
			return -EEXIST;
		if (e->events & EPOLLEXCLUSIVE &&
			e->events & ~(u32)(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP |
					    EPOLLET | EPOLLEXCLUSIVE))
			return -EINVAL;
		err = item_add(s, es, target, fd, e);
		if (err)
			return err;
		it = item_find(s, set, target, fd);
		break;
	case EPOLL_CTL_MOD:
		if (e->events & EPOLLEXCLUSIVE)
			return -EINVAL;
		if (!it)
			return -ENOENT;
		if (it->events & EPOLLEXCLUSIVE)
			return -EINVAL;
		it->events = e->events;
		it->data = e->data.u64;
		it->flags &= ~(u32)ITEM_DISABLED;
		break;
	case EPOLL_CTL_DEL:
		if (!it)
			return -ENOENT;
		item_free(s, it);
		return 0;
	default:
		return -EINVAL;
	}
	if (item_mask(s, it))
		item_happened(s, it, 0);
	return 0;
}

u32 epoll_collect(struct stack *s, ref set, struct epoll_event *out, u32 max)
{
	struct epoll_set *es = epoll_set_get(s, set);
	u32 bound = es ? es->ready_count : 0, n = 0;

	while (bound-- && n < max) {
		struct epoll_item *it = item_get(s, es->ready_head);
		u32 mask;

		if (!it)
			break;
		ready_remove(s, es, it);
		mask = item_mask(s, it);
		if (!mask)
			continue;
		out[n].events = mask;
		out[n].data.u64 = it->data;
		n++;
		if (it->events & EPOLLONESHOT)
			it->flags |= ITEM_DISABLED;
		else if (!(it->events & EPOLLET))
			ready_push(s, es, it);
	}
	/* What is left is for another thread, as the kernel wakes the next one. */
	if (es && n && es->ready_head && es->waiters)
		wait_wake_one(s, es->waiters);
	return n;
}

bool epoll_take_spliced(struct stack *s, ref set, int *fd, struct epoll_event *event)
{
	struct epoll_set *es = epoll_set_get(s, set);
	struct epoll_item *it, *next;

	if (!es || !es->spliced)
		return false;
	for (it = item_get(s, es->items); it; it = next) {
		next = item_get(s, it->set_next);
		/* One that is off goes when it is changed; one of another process, by that. */
		if (it->flags & ITEM_DISABLED || !splice_is(it->target) ||
			fdtable_sock(it->fd) != it->target)
			continue;
		*fd = it->fd;
		*event = (struct epoll_event){.events = it->events, .data.u64 = it->data};
		item_free(s, it);
		return true;
	}
	es->spliced = false;
	return false;
}

void epoll_forget(struct stack *s, ref sock)
{
	struct sock *sk = sock_get(s, sock);

	while (sk && item_get(s, sk->watch_items))
		item_free(s, item_get(s, sk->watch_items));
}

static void set_free(struct stack *s, struct epoll_set *es)
{
	struct epoll_item *it;

	while ((it = item_get(s, es->items))) {
		bool alone = it->flags & ITEM_READY && it->events & EPOLLEXCLUSIVE;
		struct sock *sk = sock_get(s, it->target);

		item_free(s, it);
		if (alone && sk) /* no other set has been told of what it has */
			epoll_notify(s, sk, sock_poll(s, sk->conn.slab.self));
	}
	while (item_get(s, es->watch_items))
		item_free(s, item_get(s, es->watch_items));
	slab_free(s, es->slab.self);
}

/* --- the processes that have a set's descriptor --- */

static u16 *holder_find(struct epoll_set *es, u32 member)
{
	for (u32 i = 0; i < EPOLL_HOLDERS; i++)
		if (es->holder[i] == member + 1)
			return &es->holder[i];
	return NULL;
}

static void holder_add(struct epoll_set *es, u32 member)
{
	u16 *room = holder_find(es, UINT32_MAX); /* a free one */

	if (room)
		*room = (u16)(member + 1);
	else
		es->crowded = true;
}

static void holder_gone(struct stack *s, struct epoll_set *es, u32 member)
{
	u16 *holder = holder_find(es, member);

	if (holder)
		*holder = 0;
	for (u32 i = 0; i < EPOLL_HOLDERS; i++)
		if (es->holder[i])
			return;
	if (!es->crowded)
		set_free(s, es);
}

void epoll_closed(struct stack *s, ref set, u32 member)
{
	struct epoll_set *es = epoll_set_get(s, set);

	if (es)
		holder_gone(s, es, member);
}

void epoll_forked(struct stack *s, u32 parent, u32 child)
{
	u32 left = slab_in_use(s, SLAB_EPOLL_SET);

	for (u32 i = 0; left && i < EPOLL_SETS_MAX; i++) {
		struct epoll_set *es = slab_at(s, SLAB_EPOLL_SET, i);

		if (!es)
			continue;
		left--;
		if (holder_find(es, parent))
			holder_add(es, child);
	}
}

void epoll_member_gone(struct stack *s, u32 member, bool last)
{
	u32 left = slab_in_use(s, SLAB_EPOLL_SET);

	for (u32 i = 0; left && i < EPOLL_SETS_MAX; i++) {
		struct epoll_set *es = slab_at(s, SLAB_EPOLL_SET, i);

		if (!es)
			continue;
		left--;
		if (last)
			set_free(s, es);
		else if (holder_find(es, member))
			holder_gone(s, es, member);
	}
}

/* --- after a death inside the lock --- */

static void set_repair_items(struct stack *s)
{
	for (u32 i = 0; i < slab_touched(s, SLAB_EPOLL_ITEM); i++) {
		struct epoll_item *it = slab_at(s, SLAB_EPOLL_ITEM, i);
		struct epoll_set *es = it ? epoll_set_get(s, it->set) : NULL;
		ref *watch = es ? watch_list(s, it->target) : NULL;

		if (!it)
			continue;
		if (!watch) {
			slab_free(s, it->slab.self);
			continue;
		}
		item_link(s, es, watch, it);
		it->flags &= ~(u32)ITEM_READY;
		if (!(it->flags & ITEM_DISABLED))
			ready_push(s, es, it); /* whoever collects looks */
	}
}

void epoll_repair(struct stack *s)
{
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk)
			sk->watch_items = 0;
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_EPOLL_SET); i++) {
		struct epoll_set *es = slab_at(s, SLAB_EPOLL_SET, i);

		if (!es)
			continue;
		es->items = es->watch_items = 0;
		es->ready_head = es->ready_tail = 0;
		es->ready_count = 0;
	}
	set_repair_items(s);
	for (u32 i = 0; i < slab_touched(s, SLAB_EPOLL_SET); i++) {
		struct epoll_set *es = slab_at(s, SLAB_EPOLL_SET, i);

		if (es)
			holder_gone(s, es, UINT32_MAX - 1); /* one that nobody has goes */
		if (es && es->slab.self && es->waiters)
			wait_wake(s, es->waiters, EV_IN);
	}
}
