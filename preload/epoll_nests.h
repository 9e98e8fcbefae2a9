/*
 * Epoll descriptors that have been nested before either of them had stack members: the kernel knows
 * of it, and the sets have to once they come to be.
 */
#ifndef PRELOAD_EPOLL_NESTS_H
#define PRELOAD_EPOLL_NESTS_H

#include "stack/types.h"

#include <sys/epoll.h>

struct nest {
	int outer, inner; /* numbers */
	struct epoll_event event;
};

/* Without room it is forgotten. */
void nests_add(const struct nest *n);

/* Takes out the one of these numbers; without `inner` (-1), one that `outer` is either end of.
 * False: there is none. */
bool nests_take(int outer, int inner, struct nest *n);

/* What the number was a member of, or had as members, has gone with what it was. */
void nests_forget(int fd);

#endif
