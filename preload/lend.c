/*
 * Lending a listener, as the process does it that is about to become another program. Theory of
 * operation: lend.h.
 *
 * The placeholder stays open, close-on-exec, until the exec has succeeded; the keeper has another
 * descriptor of it, so that the stack's listener lives as long as the lent one.
 */
#include "preload/lend.h"

#include "preload/fdtable.h"
#include "preload/raw.h"
#include "preload/region.h"
#include "preload/tether.h"

#define PATIENCE_S 2

static bool lend_listens(ref r)
{
	const struct sock *sk = sock_get(host_enter(), r);
	bool listens = sk && sk->type == SOCK_STREAM && sk->state == SOCK_LISTENING;

	host_leave();
	return listens;
}

/* The keeper's answer: a listener, or a negative errno. */
static int lend_receive(int from)
{
	int fds[JOIN_FDS], status = -EPROTO;
	u32 count = 0;
	ssize_t n = join_recv(from, &status, sizeof(status), fds, &count);

	if (n < 0)
		return (int)n;
	if (status == 0 && count == 1)
		return fds[0];
	for (u32 i = 0; i < count; i++)
		raw_close(fds[i]);
	return n == sizeof(status) && status < 0 ? status : -EPROTO;
}

static int lend_ask(int fd)
{
	struct join_request request = {.layout = host_layout(), .op = JOIN_LEND};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int pair[2], fds[LEND_FDS], ret;

	ret = raw_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
	if (ret < 0)
		return ret;
	raw_setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	fds[0] = fd;
	fds[1] = pair[1];
	fds[2] = (int)raw_syscall2(SYS_pidfd_open, raw_getpid(), 0);
	ret = (int)join_send(host_local.control_fd, &request, sizeof(request), fds,
		fds[2] >= 0 ? LEND_FDS : LEND_FDS - 1);
	raw_close(pair[1]);
	if (fds[2] >= 0)
		raw_close(fds[2]);
	if (ret >= 0)
		ret = lend_receive(pair[0]);
	raw_close(pair[0]);
	return ret;
}

/* As accept finds them on a listener: O_NONBLOCK, and how long to wait. */
static void lend_settings(int fd, int listener, ref r)
{
	const struct sock *sk = sock_get(host_enter(), r);
	u64 ns = sk ? sk->rcvtimeo_ns : 0;
	struct timeval tv = {.tv_sec = (time_t)(ns / NS_PER_S),
		.tv_usec = (suseconds_t)(ns % NS_PER_S / NS_PER_US)};

	host_leave();
	if (ns)
		raw_setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	raw_fcntl(listener, F_SETFL, raw_fcntl(fd, F_GETFL, 0) & O_NONBLOCK);
}

/* A number of the same socket that is lent already, or a new listener: a descriptor to close. */
static int lend_listener(const struct lend *lend, int fd, ref sk)
{
	int listener;

	for (u32 i = 0; i < lend->count; i++) {
		if (lend->item[i].sk == sk)
			return raw_fcntl(lend->item[i].fd, F_DUPFD_CLOEXEC, 0);
	}
	listener = tether_tie(fd, sk);
	if (listener == 0)
		listener = lend_ask(fd);
	if (listener >= 0)
		lend_settings(fd, listener, sk);
	return listener;
}

int lend_begin(struct lend *lend, int fd, ref sk)
{
	int listener, kept;

	if (!lend_listens(sk))
		return -EOPNOTSUPP;
	if (lend->count == LEND_MAX)
		return -ENOBUFS;
	listener = lend_listener(lend, fd, sk);
	if (listener < 0)
		return listener;
	kept = raw_fcntl(fd, F_DUPFD_CLOEXEC, region_fd_floor());
	if (kept >= 0) {
		raw_dup3(listener, fd, 0);
		lend->item[lend->count++] = (struct lend_item){.fd = fd, .kept = kept, .sk = sk};
	}
	raw_close(listener);
	return kept < 0 ? kept : 0;
}

void lend_undo(struct lend *lend)
{
	while (lend->count) {
		const struct lend_item *item = &lend->item[--lend->count];

		raw_dup3(item->kept, item->fd, 0);
		raw_close(item->kept);
		/* Another thread may have met the listener at the number, and forgotten it. */
		if (fdtable_sock(item->fd) != item->sk)
			tether_claim(item->fd);
	}
}
