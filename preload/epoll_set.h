/* Private to epoll.c and call_epoll.c: an epoll set and its items. All functions are called under
 * the lock. */
#ifndef PRELOAD_EPOLL_SET_H
#define PRELOAD_EPOLL_SET_H

#include <sys/epoll.h>
#include <sys/socket.h>

#include "preload/epoll.h"

enum { EPOLL_HOLDERS = 8 };

struct epoll_set {
	struct slab_head slab;
	u16 holder[EPOLL_HOLDERS]; /* members + 1 whose processes have its descriptor */
	bool crowded; /* there are more: it stays until the last process of the host has ended */
	ref items;
	ref ready_head, ready_tail;
	u32 ready_count;
	ref waiters;	 /* sleeping epoll_wait, poll and select calls (struct waiter) */
	ref watch_items; /* items of other sets of which this one is a member */
	bool spliced;  /* sockets in it have become the kernel's (epoll_take_spliced) */
	u64 kernel_ns; /* when the kernel's members were last looked at while the stack's had events
			*/
};

enum { ITEM_READY = 1, ITEM_DISABLED = 2 };

struct epoll_item {
	struct slab_head slab;
	ref set;
	ref target; /* SLAB_SOCK, or SLAB_EPOLL_SET: a set in a set */
	s32 fd;
	u32 events;
	u32 flags;
	u64 data;
	ref watch_next, watch_prev; /* of the target's items */
	ref set_next, set_prev;
	ref ready_next, ready_prev;
};

struct epoll_set *epoll_set_get(struct stack *s, ref r);
ref epoll_set_new(struct stack *s, u32 member); /* 0: no room */

/* 0, -EEXIST, -ENOENT, -EINVAL, -ENOMEM, -EBADF as epoll_ctl(2). */
int epoll_set_ctl(
	struct stack *s, ref set, int op, ref target, int fd, const struct epoll_event *e);

/* Takes at most max events; how many. */
u32 epoll_collect(struct stack *s, ref set, struct epoll_event *out, u32 max);

/*
 * Takes an item out whose socket has been spliced: it is to be added to the kernel's set under this
 * process's number fd. False when there is none.
 */
bool epoll_take_spliced(struct stack *s, ref set, int *fd, struct epoll_event *event);

/* The mask that poll(2) shows for what the engine reports: POLLRDNORM beside POLLIN and so on. */
u32 epoll_expand(const struct sock *sk, u32 mask);

#endif
