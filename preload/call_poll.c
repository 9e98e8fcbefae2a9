/*
 * Interposed: poll, ppoll, select, pselect and their fortified forms, over any mixture of stack
 * sockets, epoll sets and kernel descriptors. A call that names none of ours is libc's. The others
 * are sorted into stack entries and kernel entries (struct mix), wait in wait_any, and are put
 * together again.
 */
#include <errno.h>
#include <string.h>
#include <sys/select.h>

#include "preload/deadline.h"
#include "preload/epoll_set.h"
#include "preload/export.h"
#include "preload/fdtable.h"
#include "preload/guard.h"
#include "preload/libc.h"
#include "preload/raw.h"
#include "preload/splice.h"
#include "preload/wait.h"

enum { MIX_LOCAL = 64, POLL_MAX = 1 << 20 };

/* The entries of a call, sorted. An epoll set with stack members stands on both sides. */
struct mix {
	u32 entries, nsocks, nfds;
	struct pollfd *all; /* what the program asked, and what it will get */
	struct wait_sock *socks;
	struct pollfd *fds;
	u32 *sock_entry; /* index in all */
	u32 *fd_entry;
	bool exact;   /* select: POLLERR and POLLHUP only where they count */
	void *memory; /* of large calls */
	size_t memory_bytes;
	struct pollfd local_all[MIX_LOCAL], local_fds[MIX_LOCAL];
	struct wait_sock local_socks[MIX_LOCAL];
	u32 local_sock_entry[MIX_LOCAL], local_fd_entry[MIX_LOCAL];
};

static int mix_begin(struct mix *m, u32 entries)
{
	char *p;
	long at;

	m->entries = entries;
	m->nsocks = m->nfds = 0;
	m->memory = NULL;
	m->exact = false;
	if (entries <= MIX_LOCAL) {
		m->all = m->local_all;
		m->socks = m->local_socks;
		m->fds = m->local_fds;
		m->sock_entry = m->local_sock_entry;
		m->fd_entry = m->local_fd_entry;
		return 0;
	}
	m->memory_bytes = (size_t)entries *
			  (2 * sizeof(struct pollfd) + sizeof(struct wait_sock) + 2 * sizeof(u32));
	at = raw_mmap(
		NULL, m->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(at))
		return -ENOMEM;
	m->memory = p = (char *)at;
	m->all = (struct pollfd *)(void *)p;
	p += entries * sizeof(struct pollfd);
	m->fds = (struct pollfd *)(void *)p;
	p += entries * sizeof(struct pollfd);
	m->socks = (struct wait_sock *)(void *)p;
	p += entries * sizeof(struct wait_sock);
	m->sock_entry = (u32 *)(void *)p;
	m->fd_entry = m->sock_entry + entries;
	return 0;
}

static void mix_end(struct mix *m)
{
	if (m->memory)
		raw_munmap(m->memory, m->memory_bytes);
}

static u32 engine_events(u32 events)
{
	return (events & (POLLIN | POLLRDNORM) ? EV_IN : 0u) | (events & POLLPRI ? EV_PRI : 0u) |
	       (events & (POLLOUT | POLLWRNORM | POLLWRBAND) ? EV_OUT : 0u) |
	       (events & POLLRDHUP ? EV_RDHUP : 0u);
}

static void mix_add_sock(struct mix *m, u32 entry, ref object)
{
	m->socks[m->nsocks].sock = object;
	m->socks[m->nsocks].events = engine_events((u32)(u16)m->all[entry].events);
	if (m->exact)
		m->socks[m->nsocks].events |=
			EV_EXACT | ((u32)m->all[entry].events & (EV_ERR | EV_HUP));
	m->sock_entry[m->nsocks++] = entry;
}

static void mix_add_fd(struct mix *m, u32 entry)
{
	m->fds[m->nfds] = m->all[entry];
	m->fds[m->nfds].revents = 0;
	m->fd_entry[m->nfds++] = entry;
}

/* Sorts the entries; true when one of them is ours. Spliced sockets are the kernel's. */
static bool mix_sort(struct mix *m)
{
	bool ours = false;
	u32 i;

	m->nsocks = m->nfds = 0;
	for (i = 0; i < m->entries; i++) {
		ref object = 0;
		enum fd_kind kind =
			m->all[i].fd < 0 ? FD_OTHER : fdtable_find(m->all[i].fd, &object);

		if (kind == FD_SOCKET && splice_is(object))
			kind = FD_OTHER;
		m->all[i].revents = 0;
		if (kind == FD_SOCKET || (kind == FD_EPOLL && object)) {
			mix_add_sock(m, i, object);
			ours = true;
		}
		if (kind != FD_SOCKET)
			mix_add_fd(m, i);
	}
	return ours;
}

/* Puts the results into `all`; how many entries have any. */
static int mix_join(struct mix *m)
{
	int ready = 0;
	u32 i;

	for (i = 0; i < m->nfds; i++)
		m->all[m->fd_entry[i]].revents = m->fds[i].revents;
	for (i = 0; i < m->nsocks; i++) {
		struct pollfd *p = &m->all[m->sock_entry[i]];
		u32 revents = m->socks[i].revents;

		/* Another thread has closed the number meanwhile: the kernel finds that when it
		 * looks again. */
		if (!revents && ref_kind(m->socks[i].sock) == SLAB_SOCK &&
			fdtable_sock(p->fd) != m->socks[i].sock && raw_fcntl(p->fd, F_GETFD, 0) < 0)
			revents = EV_NVAL;
		if (ref_kind(m->socks[i].sock) == SLAB_SOCK && !(revents & EV_NVAL)) {
			const struct sock *sk = sock_get(host_stack(), m->socks[i].sock);

			if (sk)
				revents = epoll_expand(sk, revents);
		} else if (revents & EV_IN) {
			revents |= POLLRDNORM;
		}
		p->revents = (short)(p->revents | (short)(revents & ((u32)(u16)p->events | POLLERR |
									    POLLHUP | POLLNVAL)));
	}
	for (i = 0; i < m->entries; i++)
		ready += m->all[i].revents != 0;
	return ready;
}

/* Has one of the sockets been spliced meanwhile? */
static bool mix_spliced(const struct mix *m)
{
	for (u32 i = 0; i < m->nsocks; i++) {
		if (m->socks[i].revents & EV_SPLICED)
			return true;
	}
	return false;
}

/* Waits for the sorted entries. An interruption that has no handler to show for it (a cancellation
 * that is off) is not one. */
static int mix_wait(struct mix *m, u64 deadline, const sigset_t *mask)
{
	int rc;

	do {
		rc = wait_any(m->socks, m->nsocks, m->fds, m->nfds, deadline, mask);
		if (rc == -EINTR && !guard_pending()) {
			guard_leave(true);
			guard_enter();
			continue;
		}
		if (rc > 0 && mix_spliced(m)) {
			mix_sort(m);
			continue;
		}
		break;
	} while (true);
	return rc < 0 ? rc : mix_join(m);
}

static int result(int rc)
{
	if (rc >= 0)
		return rc;
	errno = -rc;
	return -1;
}

/* poll and ppoll: 1 when the call was ours, with its answer in *answer. */
static int poll_ours(struct pollfd *fds, nfds_t n, u64 deadline, const sigset_t *mask, int *answer)
{
	struct mix m;
	int rc;

	if (!host_up() || !n || n > POLL_MAX)
		return 0;
	guard_enter();
	rc = mix_begin(&m, (u32)n);
	if (!rc && guard_copy(m.all, fds, n * sizeof(*fds)))
		rc = -EFAULT;
	if (!rc && !mix_sort(&m)) {
		mix_end(&m);
		guard_leave(false);
		return 0;
	}
	if (!rc)
		rc = mix_wait(&m, deadline, mask);
	if (rc >= 0 && guard_copy(fds, m.all, n * sizeof(*fds)))
		rc = -EFAULT;
	mix_end(&m);
	guard_leave(true);
	*answer = result(rc);
	return 1;
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	int answer;

	return poll_ours(fds, n, deadline_ms(timeout), NULL, &answer) ? answer
								      : libc.poll(fds, n, timeout);
}

EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	int answer;

	libc_need();
	if (host_up() && deadline_valid(timeout) &&
		poll_ours(fds, n, deadline_timespec(timeout), mask, &answer))
		return answer;
	return libc.ppoll(fds, n, timeout, mask);
}

extern void __chk_fail(void) __attribute__((noreturn));
int __poll(struct pollfd *, nfds_t, int);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
int __select(int, fd_set *, fd_set *, fd_set *, struct timeval *);

EXPORT int __poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return poll(fds, n, timeout);
}

EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
	if (room / sizeof(*fds) < n)
		__chk_fail();
	return poll(fds, n, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
	const sigset_t *mask, size_t room)
{
	if (room / sizeof(*fds) < n)
		__chk_fail();
	return ppoll(fds, n, timeout, mask);
}

/* --- select --- */

#define WORD_BITS (8 * (int)sizeof(unsigned long))
enum { SELECT_WORDS = 1024 / (8 * sizeof(unsigned long)), SETS = 3 };

static const short set_events[SETS] = {POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
	POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR, POLLPRI};
static const short set_bit[SETS] = {POLLIN, POLLOUT, POLLPRI};

/* Does a set of the call name a number of ours? Sets beyond FD_SETSIZE, which some programs
 * allocate themselves, included. */
static bool select_ours(int n, fd_set *sets[SETS], u32 *entries)
{
	bool ours = false;
	ref object;
	int fd, i;

	*entries = 0;
	for (fd = 0; fd < n; fd++) {
		unsigned long bit = 1ul << (fd % WORD_BITS), any = 0;

		for (i = 0; i < SETS; i++)
			any |= sets[i] ? ((unsigned long *)(void *)sets[i])[fd / WORD_BITS] & bit
				       : 0;
		if (!any)
			continue;
		++*entries;
		if (!ours) {
			enum fd_kind kind = fdtable_find(fd, &object);

			ours = kind == FD_SOCKET || (kind == FD_EPOLL && object);
		}
	}
	return ours;
}

static void select_fill(struct mix *m, int n, fd_set *sets[SETS])
{
	u32 k = 0;
	int fd, i;

	for (fd = 0; fd < n && k < m->entries; fd++) {
		short events = 0;

		for (i = 0; i < SETS; i++) {
			if (sets[i] && ((unsigned long *)(void *)sets[i])[fd / WORD_BITS] &
					       1ul << (fd % WORD_BITS))
				events = (short)(events | set_events[i]);
		}
		if (events)
			m->all[k++] = (struct pollfd){.fd = fd, .events = events};
	}
}

/* Writes the sets back; the number of bits, or -EBADF. */
static int select_answer(const struct mix *m, int n, fd_set *sets[SETS])
{
	size_t words = ((size_t)n + (size_t)WORD_BITS - 1) / (size_t)WORD_BITS;
	int bits = 0, i;
	u32 k;

	for (k = 0; k < m->entries; k++) {
		if (m->all[k].revents & POLLNVAL)
			return -EBADF;
	}
	for (i = 0; i < SETS; i++) {
		if (sets[i])
			memset(sets[i], 0, words * sizeof(unsigned long));
	}
	for (k = 0; k < m->entries; k++) {
		int fd = m->all[k].fd;

		for (i = 0; i < SETS; i++) {
			if (!sets[i] || !(m->all[k].events & set_bit[i]) ||
				!(m->all[k].revents & set_events[i]))
				continue;
			((unsigned long *)(void *)sets[i])[fd / WORD_BITS] |= 1ul
									      << (fd % WORD_BITS);
			bits++;
		}
	}
	return bits;
}

static int select_ours_wait(
	int n, fd_set *sets[SETS], u32 entries, u64 deadline, const sigset_t *mask)
{
	struct mix m;
	int rc;

	guard_enter();
	rc = mix_begin(&m, entries);
	if (!rc) {
		m.exact = true;
		select_fill(&m, n, sets);
		mix_sort(&m);
		rc = mix_wait(&m, deadline, mask);
		if (rc >= 0)
			rc = select_answer(&m, n, sets);
		mix_end(&m);
	}
	guard_leave(true);
	return rc;
}

EXPORT int select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	fd_set *sets[SETS] = {r, w, e};
	struct timespec t;
	u64 deadline, now;
	u32 entries;
	int rc;

	if (!host_up() || n <= 0 || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)) ||
		!select_ours(n, sets, &entries))
		return libc.select(n, r, w, e, timeout);
	if (timeout)
		t = (struct timespec){timeout->tv_sec + timeout->tv_usec / 1000000,
			timeout->tv_usec % 1000000 * 1000};
	deadline = deadline_timespec(timeout ? &t : NULL);
	rc = select_ours_wait(n, sets, entries, deadline, NULL);
	if (timeout) { /* Linux leaves what remains */
		now = host_now();
		now = deadline > now ? deadline - now : 0;
		timeout->tv_sec = (time_t)(now / NS_PER_S);
		timeout->tv_usec = (suseconds_t)(now % NS_PER_S / NS_PER_US);
	}
	return result(rc);
}

EXPORT int __select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	return select(n, r, w, e, timeout);
}

EXPORT int pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
	const sigset_t *mask)
{
	fd_set *sets[SETS] = {r, w, e};
	u32 entries;

	libc_need();
	if (!host_up() || n <= 0 || !deadline_valid(timeout) || !select_ours(n, sets, &entries))
		return libc.pselect(n, r, w, e, timeout, mask);
	return result(select_ours_wait(n, sets, entries, deadline_timespec(timeout), mask));
}
