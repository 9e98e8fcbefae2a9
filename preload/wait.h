/*
 * Waiting for sockets: waiters on sockets, poll, select, and the hand-out of readiness changes to
 * them and to epoll sets.
 */
#ifndef PRELOAD_WAIT_H
#define PRELOAD_WAIT_H

#include "preload/host.h"

struct wait_sock {
	ref sock;
	u32 events; /* EV_* wanted; EV_ERR and EV_HUP are always reported, but for EV_EXACT */
	u32 revents;
};

/*
 * Reported instead for a socket that is spliced (splice.h) and not connecting any more: the caller
 * goes on with the kernel's descriptor.
 */
#define EV_SPLICED 0x20000u

/*
 * Waits until one of the sockets has one of its events, a kernel descriptor has events, the
 * deadline passes, or a signal handler is due. Without the lock. Returns the number of entries with
 * revents (sockets and descriptors together), 0 at the deadline, -EINTR. A socket that has been
 * closed meanwhile gives EV_NVAL. deadline 0: looks once, without sleeping.
 */
enum { EV_NVAL = 0x020, EV_EXACT = 0x10000 };
int wait_any(struct wait_sock *socks, u32 nsocks, struct pollfd *fds, u32 nfds, u64 deadline_ns,
	const sigset_t *mask);

/* The same for one socket: >0 ready, 0 deadline passed, -EINTR. */
int wait_one(ref sock, u32 events, u64 deadline_ns);

/* Once, from the host's making: registers the slab of waiters. */
void wait_init(struct stack *s);

/* Under the lock: wakes those of a list of waiters that want one of the events, or the first one
 * only. */
void wait_wake(struct stack *s, ref waiters, u32 events);
void wait_wake_one(struct stack *s, ref waiters);

/* Under the lock, from host_leave: takes every changed socket off the engine's list, wakes its
 * waiters, notifies its epoll items. */
void wait_dispatch(struct stack *s);

/*
 * Under the lock: the last number of a socket in this process has been closed. As with the kernel,
 * a call that still sleeps on it keeps the socket: then true is returned and the caller leaves
 * host_unhold to that call's end; else the caller does it.
 */
bool wait_sock_closed(struct stack *s, ref sock);

/* Under the lock: does a call of a process (its number among the members) sleep on the socket? */
bool wait_of_member(struct stack *s, ref sock, u32 member);

/* Under the lock, in a repair: hangs every waiter anew on its object and its slot. */
void wait_repair(struct stack *s);

/* Under the lock: frees what a dead or ended thread's slot left behind in the lists of waiters. */
void wait_slot_dropped(struct stack *s, struct slot *slot);

/* The same, and what it may have been woken for instead of another thread is passed on. */
void wait_slot_died(struct stack *s, struct slot *slot);

#endif
