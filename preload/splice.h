/*
 * Splicing: a tethered socket (tether.h) whose user makes plain system calls on the descriptor.
 *
 * The keeper then moves the bytes between its end of the tether and the engine's socket (pump.c).
 * From the moment SOCK_SPLICED is set, members make data calls (and shutdown, poll, epoll and
 * FIONREAD) on the kernel's descriptor as everybody else does, in one order with them; names,
 * options and the rest stay with the stack. There is no way back.
 */
#ifndef PRELOAD_SPLICE_H
#define PRELOAD_SPLICE_H

#include "preload/host.h"

/*
 * In a member, without the lock: ties the socket's placeholder if it is not tied, and has it
 * spliced. 0, also when it is spliced already, -EOPNOTSUPP for what cannot be (listening sockets:
 * see lend.h), or another negative errno.
 */
int splice_begin(int fd, ref sk);

/* Under the lock: the same for a socket that is tied already. */
void splice_set(struct stack *s, struct sock *sk);

/*
 * Do its data go through the kernel's descriptor? By a look without the lock: once true, it stays
 * so. A connect that was on its way at the switch is waited for in the stack.
 */
__attribute__((no_sanitize("thread"))) static inline bool splice_is(ref sk)
{
	const struct sock *sock = sock_get(host_stack(), sk);

	return sock && __atomic_load_n(&sock->flags, __ATOMIC_ACQUIRE) & SOCK_SPLICED &&
	       sock->state != SOCK_CONNECTING;
}

/*
 * Under the lock: the keeper is to look at a socket: a spliced one that has changed, or a tethered
 * one whose last holder has gone.
 */
void splice_due(struct stack *s, struct sock *sk);

/* Under the lock, in a repair: the keeper is to look at all. */
void splice_repair(void);

#endif
