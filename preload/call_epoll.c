/*
 * Interposed: epoll_create, epoll_ctl, epoll_wait and their kin.
 *
 * An epoll descriptor is the kernel's own, with the kernel members in it. Its entry in the table of
 * descriptors names the struct epoll_set once a stack socket has been added; until then its calls
 * are libc's. Threads that sleep in the kernel's epoll_wait at that moment are woken by the marker,
 * an eventfd of ours that stands readable in the kernel's set until the last of them has come back,
 * and go on in the stack's way.
 */
#include <errno.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/eventfd.h>

#include "preload/deadline.h"
#include "preload/epoll_nests.h"
#include "preload/epoll_set.h"
#include "preload/export.h"
#include "preload/fdtable.h"
#include "preload/guard.h"
#include "preload/libc.h"
#include "preload/raw.h"
#include "preload/splice.h"
#include "preload/wait.h"

enum { BATCH = 128 };

#define MARKER 0x7573746b6d61726bull
#define KERNEL_LOOK_NS                                                                             \
	(50 * NS_PER_US) /* the kernel's members wait no longer than this behind busy stack        \
			    members */

static int answer(int rc)
{
	if (rc >= 0)
		return rc;
	errno = -rc;
	return -1;
}

static ref set_of(int epfd, int *error);

/* A set that parent and child make later, each for itself, would not be one. */
static void before_fork(void)
{
	int fd, limit = fdtable_limit(), error;
	ref set;

	for (fd = 0; fd < limit; fd++) {
		set = 0;
		if (fdtable_find(fd, &set) == FD_EPOLL && !set)
			set_of(fd, &error);
	}
}

static int created(int fd)
{
	if (fd >= 0) {
		nests_forget(fd);
		fdtable_set(fd, FD_EPOLL, 0, 0);
		__atomic_store_n(&epoll_before_fork, before_fork, __ATOMIC_RELAXED);
	}
	return fd;
}

EXPORT int epoll_create(int size)
{
	return created(libc.epoll_create(size));
}

EXPORT int epoll_create1(int flags)
{
	return created(libc.epoll_create1(flags));
}

/* Threads in the kernel's epoll_wait, and the marker that fetches them out, by epoll descriptor. */
static struct kernel_wait {
	int sleepers;
	int marker;    /* descriptor + 1, 0 none */
	int sightings; /* by threads that do not sleep in the kernel */
} kernel_waits[256];

enum {
	SIGHTINGS_MAX = 64
}; /* then those counted as sleepers have left by cancellation or siglongjmp */

static struct kernel_wait *kernel_wait(int epfd)
{
	return &kernel_waits[(unsigned)epfd % ARRAY_LEN(kernel_waits)];
}

static void marker_remove(struct kernel_wait *k)
{
	int fd = __atomic_exchange_n(&k->marker, 0, __ATOMIC_ACQ_REL) - 1;

	if (fd >= 0)
		raw_close(fd); /* which takes it out of the kernel's set */
}

/* A thread that is not asleep meets the marker: it stays while somebody is to be woken. */
static void marker_seen(int epfd)
{
	struct kernel_wait *k = kernel_wait(epfd);

	if (__atomic_load_n(&k->sleepers, __ATOMIC_ACQUIRE) <= 0 ||
		__atomic_add_fetch(&k->sightings, 1, __ATOMIC_RELAXED) > SIGHTINGS_MAX) {
		__atomic_store_n(&k->sleepers, 0, __ATOMIC_RELEASE);
		marker_remove(k);
	}
}

/* Wakes the threads that sleep in the kernel's epoll_wait on epfd, if any; -EINVAL when it is no
 * epoll descriptor. */
static int marker_add(int epfd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = MARKER};
	struct kernel_wait *k = kernel_wait(epfd);
	int fd, err, none = 0;

	fd = raw_eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return fd;
	err = (int)raw_syscall4(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, (long)&e);
	__atomic_store_n(&k->sightings, 0, __ATOMIC_RELAXED);
	if (err || __atomic_load_n(&k->sleepers, __ATOMIC_ACQUIRE) <= 0 ||
		!__atomic_compare_exchange_n(
			&k->marker, &none, fd + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		raw_close(fd);
	return err;
}

/* Brackets a sleep in the kernel's own epoll_wait. False when the set has got stack members: sleep
 * the stack's way. */
static bool kernel_wait_begin(int epfd, ref *set)
{
	__atomic_add_fetch(&kernel_wait(epfd)->sleepers, 1, __ATOMIC_ACQ_REL);
	if (fdtable_find(epfd, set) != FD_EPOLL || !*set)
		return true;
	__atomic_sub_fetch(&kernel_wait(epfd)->sleepers, 1, __ATOMIC_ACQ_REL);
	return false;
}

static void kernel_wait_end(int epfd)
{
	struct kernel_wait *k = kernel_wait(epfd);

	if (__atomic_sub_fetch(&k->sleepers, 1, __ATOMIC_ACQ_REL) <= 0)
		marker_remove(k);
}

static int nest_add(ref outer, ref inner, int inner_fd, const struct epoll_event *e);

/* Numbers that were duplicated from epfd before it had a set name the same set. */
static void share_set(int epfd, ref set)
{
	int fd, limit = fdtable_limit(), pid = raw_getpid();
	ref other;

	for (fd = 0; fd < limit; fd++) {
		other = 0;
		if (fd != epfd && fdtable_find(fd, &other) == FD_EPOLL && !other &&
			raw_syscall5(SYS_kcmp, pid, pid, KCMP_FILE, fd, epfd) == 0)
			fdtable_set(fd, FD_EPOLL, set, 0);
	}
}

/* What was nested before this one had a set. */
static void nest_all(int epfd, ref set, int *error)
{
	struct nest n;
	ref inner;

	while (nests_take(epfd, -1, &n)) {
		if (fdtable_find(n.inner, &inner) != FD_EPOLL ||
			fdtable_find(n.outer, &inner) != FD_EPOLL)
			continue; /* another file by now */
		inner = n.inner == epfd ? set : set_of(n.inner, error);
		if (inner)
			nest_add(n.outer == epfd ? set : set_of(n.outer, error), inner, n.inner,
				&n.event);
	}
}

/* A new set for the number, or the one that another thread has just given it; 0: no memory. */
static ref set_make(int epfd, bool *made)
{
	struct stack *s = host_enter();
	ref set = 0;

	*made = fdtable_find(epfd, &set) != FD_EPOLL || !set;
	if (*made)
		set = epoll_set_new(s, host_member());
	if (*made && set)
		fdtable_set(epfd, FD_EPOLL, set, 0);
	host_leave();
	return set;
}

/* The set behind an epoll descriptor, made when it has none yet. 0 with *error. */
static ref set_of(int epfd, int *error)
{
	enum fd_kind kind;
	bool made;
	ref set = 0;

	kind = fdtable_find(epfd, &set);
	if (kind == FD_EPOLL && set)
		return set;
	*error = fdtable_reserve(epfd);
	set = *error ? 0 : set_make(epfd, &made);
	if (!set && !*error)
		*error = -ENOMEM;
	if (!set || !made)
		return set;
	*error = marker_add(epfd);
	if (*error) {
		fdtable_clear(epfd, &set);
		epoll_closed(host_enter(), set, host_member());
		host_leave();
		if (kind == FD_EPOLL)
			fdtable_set(epfd, FD_EPOLL, 0, 0);
		return 0;
	}
	share_set(epfd, set);
	nest_all(epfd, set, error);
	return set;
}

static int nest_add(ref outer, ref inner, int inner_fd, const struct epoll_event *e)
{
	int err;

	if (!outer)
		return -ENOMEM;
	err = epoll_set_ctl(host_enter(), outer, EPOLL_CTL_ADD, inner, inner_fd, e);
	host_leave();
	return err;
}

/* One epoll descriptor as a member of another: the kernel nests them; so do the sets, now or when
 * they come to be. */
static int ctl_nested(int epfd, int op, int fd, struct epoll_event *event)
{
	struct nest n = {epfd, fd, {0}}, old;
	int rc = libc.epoll_ctl(epfd, op, fd, event), err = 0;
	ref outer = 0, inner = 0;

	if (rc)
		return rc;
	if (op != EPOLL_CTL_DEL)
		n.event = *event;
	while (nests_take(epfd, fd, &old)) {
	}
	fdtable_find(epfd, &outer);
	fdtable_find(fd, &inner);
	if (!outer && !inner && op != EPOLL_CTL_DEL) {
		nests_add(&n);
		/* Who makes a set of one of them from now on finds the entry. */
		fdtable_find(epfd, &outer);
		fdtable_find(fd, &inner);
		if ((outer || inner) && !nests_take(epfd, fd, &old))
			return 0;
	}
	if (!outer && !inner)
		return 0;
	guard_enter();
	outer = set_of(epfd, &err);
	inner = outer ? set_of(fd, &err) : 0;
	if (inner) {
		epoll_set_ctl(host_enter(), outer, op, inner, fd, &n.event);
		host_leave();
	}
	guard_leave(false);
	return 0;
}

/* A spliced socket is the kernel's member; what it was in the stack's set until now goes. */
static int ctl_spliced(int epfd, int op, int fd, ref sock, struct epoll_event *event)
{
	struct epoll_event none = {0};
	ref set = 0;
	bool moved;

	if (fdtable_find(epfd, &set) == FD_EPOLL && set) {
		guard_enter();
		moved = epoll_set_ctl(host_enter(), set, EPOLL_CTL_DEL, sock, fd, &none) == 0;
		host_leave();
		guard_leave(false);
		if (moved && op == EPOLL_CTL_DEL)
			return 0;
		if (moved)
			op = EPOLL_CTL_ADD;
	}
	return libc.epoll_ctl(epfd, op, fd, event);
}

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct epoll_event e = {0};
	enum fd_kind target, kind;
	ref sock = 0, set = 0;
	int err = 0;

	target = fdtable_find(fd, &sock);
	if (target == FD_EPOLL && epfd != fd)
		return ctl_nested(epfd, op, fd, event);
	if (target != FD_SOCKET)
		return libc.epoll_ctl(epfd, op, fd, event);
	if (splice_is(sock))
		return ctl_spliced(epfd, op, fd, sock, event);
	guard_enter();
	kind = fdtable_find(epfd, &set);
	if (kind == FD_SOCKET)
		err = -EINVAL;
	else if (op != EPOLL_CTL_DEL && guard_copy(&e, event, sizeof(e)))
		err = -EFAULT;
	else if (raw_fcntl(epfd, F_GETFD, 0) < 0)
		err = -EBADF;
	else
		set = set_of(epfd, &err);
	if (!err) {
		err = epoll_set_ctl(host_enter(), set, op, sock, fd, &e);
		host_leave();
	}
	guard_leave(false);
	return answer(err);
}

/* What the kernel's members have, without waiting, the marker left out. */
static int kernel_events(int epfd, struct epoll_event *out, int max)
{
	int n = (int)raw_syscall6(SYS_epoll_pwait, epfd, (long)out, max, 0, 0, RAW_NSIG_BYTES), i,
	    kept = 0;

	for (i = 0; i < n; i++) {
		if (out[i].data.u64 != MARKER)
			out[kept++] = out[i];
	}
	if (kept < n)
		marker_seen(epfd);
	return n < 0 ? n : kept;
}

/* Drops kernel events of nested sets that the stack's side has reported already: the number kept.
 */
static int without_twins(struct epoll_event *e, int ours, int kernels)
{
	int i, k, kept = 0;

	for (i = ours; i < ours + kernels; i++) {
		for (k = 0; k < ours && e[k].data.u64 != e[i].data.u64; k++)
			;
		if (k < ours && e[k].events & e[i].events & EPOLLIN)
			continue;
		e[ours + kept++] = e[i];
	}
	return kept;
}

/* Members that have been spliced go over to the kernel's set. */
static void move_spliced(int epfd, ref set)
{
	struct epoll_event event;
	bool more;
	int fd;

	do {
		more = epoll_take_spliced(host_enter(), set, &fd, &event);
		host_leave();
		if (more)
			raw_syscall4(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, (long)&event);
	} while (more);
}

/* epoll_wait on a set with stack members: the number of events in out, or negative errno. */
static int set_wait(
	int epfd, ref set, struct epoll_event *out, int max, u64 deadline, const sigset_t *mask)
{
	struct wait_sock w = {.sock = set, .events = EV_IN};
	struct pollfd fd = {.fd = epfd, .events = POLLIN};
	int ours, kernels, rc;

	for (;;) {
		struct stack *s = host_enter();
		struct epoll_set *es = epoll_set_get(s, set);
		bool look;

		if (!es) {
			host_leave();
			return -EBADF;
		}
		if (es->spliced) {
			host_leave();
			move_spliced(epfd, set);
			continue;
		}
		ours = (int)epoll_collect(s, set, out, (u32)max);
		look = ours < max && (!ours || s->now_ns - es->kernel_ns >= KERNEL_LOOK_NS);
		if (look)
			es->kernel_ns = s->now_ns;
		host_leave();
		kernels = look ? kernel_events(epfd, out + ours, max - ours) : 0;
		if (kernels > 0 && ours)
			kernels = without_twins(out, ours, kernels);
		if (ours || kernels)
			return kernels < 0 && ours ? ours : ours + kernels;
		fd.revents = 0;
		rc = wait_any(&w, 1, &fd, 1, deadline, mask);
		if (rc <= 0)
			return rc;
	}
}

static int wait_ours(
	int epfd, ref set, struct epoll_event *events, int max, u64 deadline, const sigset_t *mask)
{
	struct epoll_event out[BATCH];
	int n;

	if (max <= 0)
		return -EINVAL;
	guard_enter();
	for (;;) {
		n = set_wait(epfd, set, out, max < BATCH ? max : BATCH, deadline, mask);
		if (n != -EINTR || guard_pending())
			break;
		guard_leave(true);
		guard_enter();
	}
	if (n > 0 && guard_copy(events, out, (unsigned long)n * sizeof(*events)))
		n = -EFAULT;
	guard_leave(true);
	return n;
}

/*
 * After the kernel's own epoll_wait: true when it came back for the marker, and the set has stack
 * members now. Other events of the same answer are the program's.
 */
static bool woken_by_marker(int epfd, struct epoll_event *events, int *n, ref *set)
{
	int i, kept = 0;

	for (i = 0; i < *n; i++) {
		if (events[i].data.u64 != MARKER)
			events[kept++] = events[i];
	}
	if (kept == *n)
		return false;
	*n = kept;
	return !kept && fdtable_find(epfd, set) == FD_EPOLL && *set;
}

EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int max,
	const struct timespec *timeout, const sigset_t *mask)
{
	ref set = 0;
	u64 deadline;
	int n;

	if (!deadline_valid(timeout)) {
		errno = EINVAL;
		return -1;
	}
	deadline = deadline_timespec(timeout);
	if (!kernel_wait_begin(epfd, &set))
		return answer(wait_ours(epfd, set, events, max, deadline, mask));
	libc_need();
	n = libc.epoll_pwait2(epfd, events, max, timeout, mask);
	kernel_wait_end(epfd);
	if (n > 0 && woken_by_marker(epfd, events, &n, &set))
		return answer(wait_ours(epfd, set, events, max, deadline, mask));
	return n;
}

EXPORT int epoll_pwait(
	int epfd, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
	u64 deadline = deadline_ms(timeout);
	ref set = 0;
	int n;

	if (!kernel_wait_begin(epfd, &set))
		return answer(wait_ours(epfd, set, events, max, deadline, mask));
	libc_need();
	n = mask ? libc.epoll_pwait(epfd, events, max, timeout, mask)
		 : libc.epoll_wait(epfd, events, max, timeout);
	kernel_wait_end(epfd);
	if (n > 0 && woken_by_marker(epfd, events, &n, &set))
		return answer(wait_ours(epfd, set, events, max, deadline, mask));
	return n;
}

EXPORT int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	return epoll_pwait(epfd, events, max, timeout, NULL);
}
