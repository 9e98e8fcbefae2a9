/*
 * Lending: a listener in the hands of a program that makes plain system calls.
 *
 * A placeholder cannot accept: it is no listener of the kernel's, and once tied it is connected. So
 * a process that is about to become a program without the library gets another descriptor in its
 * place: an AF_UNIX listener, which the keeper makes. Its accept gives the program a connection
 * with the keeper at the other end, which moves the bytes between it and a connection of the
 * stack's listener (pump.c).
 *
 * Nothing is taken from the stack's listener before the program has accepted. When a connection
 * waits there, the keeper connects to each lent listener once; which of the programs accepts that,
 * gets the next connection of the stack's. So connections are served in their order, whoever shares
 * the listener takes what he accepts first, and what nobody accepts stays where it is, in a backlog
 * that is full when it is full.
 */
#ifndef PRELOAD_LEND_H
#define PRELOAD_LEND_H

#include "preload/host.h"

/* --- in a member (lend.c) --- */

#define LEND_MAX 32 /* numbers of one process */

struct lend {
	u32 count;
	struct lend_item {
		int fd;
		int kept; /* the placeholder */
		ref sk;
	} item[LEND_MAX];
};

/*
 * Before an exec: the number is a lent listener from now on. 0, -EOPNOTSUPP for what is no
 * listener, or another negative errno: it is then as it was.
 */
int lend_begin(struct lend *lend, int fd, ref sk);

/* The exec has failed: all numbers are as they were. */
void lend_undo(struct lend *lend);

/* --- the keeper's side (keeper_lend.c) --- */

#define LEND_FDS 3 /* with JOIN_LEND: the placeholder, where to answer, a pidfd */

/* Answers with an int (0 or a negative errno) and the listener; takes the descriptors over. */
void lend_answer(const int *fds, u32 count);

/* A lent listener's stack socket has changed. */
void lend_notice(ref sk);

/* Some descriptors may have been closed: ends what nobody has any more. */
void lend_check(void);

/* What is to be looked at by time. When to be called again, or NEVER. */
u64 lend_look(u64 now);

/* Has the program still the connection that the keeper holds this end of? */
bool lend_connected(int fd);

#endif
