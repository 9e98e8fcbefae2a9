/*
 * Descriptor numbers: closing, duplicating, and what else makes a number name another file. The
 * table is brought up to date before the kernel frees a number, and after it has given one out; the
 * library's own descriptors are not the program's to close.
 *
 * Closing the last number of a socket in this process ends this process's hold of it. Clearing the
 * entry and counting what is left happen under the lock, so of several closes at once exactly one
 * finds none left.
 */
#include "preload/call.h"

#include <limits.h>

#include "preload/epoll.h"
#include "preload/libc.h"
#include "preload/raw.h"

/* Under the lock: what goes with the entry that was cleared. Nanoseconds to linger. */
static u64 release(struct stack *s, enum fd_kind kind, ref object)
{
	if (kind == FD_SOCKET)
		return call_release(s, object);
	if (kind == FD_EPOLL && object && !fdtable_count(FD_EPOLL, object))
		epoll_closed(s, object, host_member());
	return 0;
}

/* Clears the entry. Nanoseconds to linger, and *sk the socket to linger on. */
static u64 forget(int fd, ref *sk)
{
	enum fd_kind kind;
	u64 linger_ns;

	*sk = 0;
	if (!host_up()) {
		fdtable_clear(fd, NULL);
		return 0;
	}
	guard_enter();
	host_enter();
	kind = fdtable_clear(fd, sk);
	linger_ns = release(host_stack(), kind, *sk);
	host_leave();
	guard_leave(false);
	call_changed(fd);
	return linger_ns;
}

/*
 * SO_LINGER: waits until what was queued has been acknowledged. A signal ends the wait, and nothing
 * more (tcp_close).
 */
static void linger(ref sk, u64 linger_ns)
{
	if (!linger_ns)
		return;
	guard_enter();
	wait_one(sk, EV_HUP, host_now() + linger_ns);
	guard_leave(false);
}

void call_forget(int fd)
{
	ref sk;

	forget(fd, &sk);
}

bool call_checked(int fd, ref sk)
{
	if (fdtable_sock_checked(fd) == sk)
		return true;
	if (fdtable_sock(fd) == sk) {
		call_forget(fd);
		call_came(fd);
	}
	return false;
}

int call_adopt(int fd, ref sk, u64 inode)
{
	struct sock *sock;
	int ret = fdtable_reserve(fd);

	if (ret < 0)
		return ret;
	guard_enter();
	sock = sock_get(host_enter(), sk);
	if (sock && !(sock->flags & SOCK_ORPHAN))
		fdtable_set(fd, FD_SOCKET, sk, inode);
	else
		ret = -EBADF;
	host_leave();
	guard_leave(false);
	return ret;
}

int call_close(int fd)
{
	enum fd_kind kind;
	u64 linger_ns;
	ref object;
	int ret;

	if (fdtable_word(fd) == 0)
		return libc.close(fd);
	kind = fdtable_find_checked(fd, &object);
	linger_ns = forget(fd, &object);
	ret = libc.close(fd);
	if (kind == FD_SOCKET)
		linger(object, linger_ns);
	return ret;
}

/*
 * After the kernel made `to` a duplicate of `from`: the entry follows, and what `to` was is
 * released.
 */
static void follow(int from, int to)
{
	u64 word = fdtable_word(from), linger_ns;
	enum fd_kind kind = (enum fd_kind)(word >> 62), old_kind;
	ref object = (ref)word, old;
	struct stack *s;

	if (!word && !fdtable_word(to))
		return;
	if (!host_up()) {
		fdtable_clear(to, NULL);
		if (word && fdtable_reserve(to) == 0)
			fdtable_set(to, kind, object, word >> 32);
		return;
	}
	if (word && fdtable_reserve(to) < 0)
		word = 0;
	guard_enter();
	s = host_enter();
	old_kind = fdtable_clear(to, &old);
	if (word && (kind != FD_SOCKET || sock_get(s, object)))
		fdtable_set(to, kind, object, word >> 32);
	linger_ns = release(s, old_kind, old);
	host_leave();
	guard_leave(false);
	call_changed(to);
	if (old_kind == FD_SOCKET)
		linger(old, linger_ns);
}

/* The entry of `from`, checked against its file, before it is duplicated. */
static void check(int fd)
{
	ref object;

	if (fdtable_word(fd) && fdtable_find_checked(fd, &object) == FD_OTHER)
		call_forget(fd);
}

int call_dup(int from)
{
	int to;

	check(from);
	to = libc.dup(from);
	if (to >= 0)
		follow(from, to);
	return to;
}

int call_dup_to(int from, int to, int flags, bool dup3)
{
	int ret;

	if (from != to && host_owns_fd(to)) {
		errno = EBADF;
		return -1;
	}
	check(from);
	ret = dup3 ? libc.dup3(from, to, flags) : libc.dup2(from, to);
	if (ret >= 0 && from != to)
		follow(from, to);
	return ret;
}

int call_fcntl(int fd, int cmd, void *arg)
{
	ref sk = fdtable_sock(fd);
	struct sock *sock;
	int ret;

	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) {
		check(fd);
		ret = libc.fcntl(fd, cmd, arg);
		if (ret >= 0)
			follow(fd, ret);
		return ret;
	}
	ret = libc.fcntl(fd, cmd, arg);
	if (ret >= 0 && sk && (cmd == F_SETOWN || cmd == F_SETOWN_EX || cmd == F_SETSIG))
		async_update(fd, sk);
	if (cmd != F_SETFL || ret < 0 || !sk || !call_checked(fd, sk))
		return ret;
	guard_enter();
	sock = sock_get(host_enter(), sk);
	if (sock)
		sock->fd_flags = (u32)(unsigned long)arg & (O_NONBLOCK | O_ASYNC);
	host_leave();
	guard_leave(false);
	return ret;
}

/* --- ranges --- */

static int close_kernel(unsigned first, unsigned last, int flags)
{
	return first <= last ? (int)raw_syscall3(SYS_close_range, first, last, flags) : 0;
}

static int next_own(unsigned from)
{
	return from <= INT_MAX ? host_next_fd((int)from) : -1;
}

int call_close_range(unsigned first, unsigned last, int flags)
{
	unsigned start = first, limit = (unsigned)fdtable_limit();
	int ret = 0;

	if (first > last || flags & ~(int)CLOSE_RANGE_UNSHARE)
		return (int)call_result(raw_syscall3(SYS_close_range, first, last, flags));
	/* From the end, as the kernel works off what it has put off: the order tells which end of
	 * a connection stays in TIME-WAIT. */
	for (unsigned fd = last < limit ? last + 1 : limit; fd-- > first;) {
		ref sk;
		u64 linger_ns = fdtable_word((int)fd) ? forget((int)fd, &sk) : 0;

		if (linger_ns)
			linger(sk, linger_ns);
	}
	for (int own = next_own(first); own >= 0 && (unsigned)own <= last && ret == 0;
		own = next_own(start)) {
		if ((unsigned)own > start)
			ret = close_kernel(start, (unsigned)own - 1, flags);
		start = (unsigned)own + 1;
	}
	if (ret == 0)
		ret = close_kernel(start, last, flags);
	return (int)call_result(ret);
}
