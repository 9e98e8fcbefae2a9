/*
 * The table of nested epoll descriptors (epoll_nests.h). A lock of the process would stay taken in
 * the child of a threaded program's fork, so each entry has a word that says whose it is: both
 * numbers, none, or that of a thread that is just writing or reading the rest.
 */
#include "preload/epoll_nests.h"

#define NESTS 32
#define FREE  0ull
#define BUSY  ~0ull

static struct entry {
	u64 key;
	struct epoll_event event;
} nests[NESTS];

static u64 nest_key(int outer, int inner)
{
	return (u64)((u32)outer + 1) << 32 | ((u32)inner + 1);
}

static bool nest_claim(struct entry *e, u64 key)
{
	return __atomic_compare_exchange_n(
		&e->key, &key, BUSY, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void nests_add(const struct nest *n)
{
	for (u32 i = 0; i < NESTS; i++) {
		if (!nest_claim(&nests[i], FREE))
			continue;
		nests[i].event = n->event;
		__atomic_store_n(&nests[i].key, nest_key(n->outer, n->inner), __ATOMIC_RELEASE);
		return;
	}
}

static bool nest_is(u64 key, int outer, int inner)
{
	if (key == FREE || key == BUSY)
		return false;
	if (inner >= 0)
		return key == nest_key(outer, inner);
	return (u32)(key >> 32) == (u32)outer + 1 || (u32)key == (u32)outer + 1;
}

bool nests_take(int outer, int inner, struct nest *n)
{
	for (u32 i = 0; i < NESTS; i++) {
		u64 key = __atomic_load_n(&nests[i].key, __ATOMIC_ACQUIRE);

		if (!nest_is(key, outer, inner) || !nest_claim(&nests[i], key))
			continue;
		*n = (struct nest){(int)(key >> 32) - 1, (int)(u32)key - 1, nests[i].event};
		__atomic_store_n(&nests[i].key, FREE, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}

void nests_forget(int fd)
{
	struct nest n;

	while (nests_take(fd, -1, &n)) {
	}
}
