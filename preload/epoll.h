/*
 * epoll sets. A program's epoll descriptor is a real one and holds its kernel members; the stack's
 * sockets hang on a struct epoll_set in the region, made when the first of them is added, with a
 * list of those that may be ready.
 */
#ifndef PRELOAD_EPOLL_H
#define PRELOAD_EPOLL_H

#include "preload/host.h"

/* Under the lock, from wait_dispatch: `events` have happened on a socket that has items. */
void epoll_notify(struct stack *s, struct sock *sk, u32 events);

/* Under the lock: the last number of a socket in all processes is closed: it leaves its sets, no
 * sooner (epoll(7), Q6). */
void epoll_forget(struct stack *s, ref sock);

/* Before a fork, if there are epoll descriptors: those without a set get one, which the child will
 * share. */
extern void (*epoll_before_fork)(void);

/* Under the lock: a member's process forks; its child has its epoll descriptors too. */
void epoll_forked(struct stack *s, u32 parent, u32 child);

/* Under the lock: a member's process has ended, the last one of all if `last`. */
void epoll_member_gone(struct stack *s, u32 member, bool last);

/* Under the lock: the last number of an epoll descriptor in a member's process has been closed;
 * after the last process's the set goes. */
void epoll_closed(struct stack *s, ref set, u32 member);

/* Under the lock: is any stack member of the set ready? */
bool epoll_ready(struct stack *s, ref set);

/* Under the lock: the list of waiters of a set (struct waiter). NULL when the set is gone. */
ref *epoll_waiters(struct stack *s, ref set);

/* Under the lock, in a repair: hangs every item anew on its set and its target. */
void epoll_repair(struct stack *s);

/* Once, from the host's making: registers the slabs of epoll. */
void epoll_init(struct stack *s);

#endif
