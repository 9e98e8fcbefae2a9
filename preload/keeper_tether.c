/*
 * Tethers, the keeper's side: their listeners, one for streams and one for datagram sockets
 * (SOCK_SEQPACKET), both of the same name; and the connections.
 *
 * A connection's name says which socket it belongs to; one that is not a member's work is dropped.
 * Its hang-up means that no descriptor of the placeholder is left in any process, nor in flight:
 * whatever the members think that they hold is stale then (closes that the library did not see),
 * and the socket is closed. A program without the library that shuts its placeholder down in both
 * directions looks the same; the placeholder's own name, still taken then, tells the two apart.
 */
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "preload/lend.h"
#include "preload/pump.h"
#include "preload/splice.h"
#include "preload/tether.h"
#include "preload/watch.h"

#define BACKLOG	      4096
#define ACCEPTS	      64  /* at one event */
#define NAME_TRIES    500 /* a millisecond each */
#define SPARE_FDS     256 /* that tethers leave for members */
#define LOOK_AGAIN_NS (NS_PER_S / 4)
#define TETHER_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

static struct tethers {
	u32 limit;
	u32 shut;	   /* with TETHER_SHUT */
	u64 look_again_ns; /* at those */
} tethers;

/* --- the listeners --- */

static int tether_listener(int type)
{
	const struct host *host = host_local.host;
	int fd = raw_socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret = 0;

	if (fd < 0)
		return fd;
	/* Who has the rendezvous has this name too, when the keeper before it is gone altogether.
	 */
	for (u32 tries = 0; tries < NAME_TRIES; tries++) {
		struct timespec pause = {0, NS_PER_MS};

		ret = raw_bind(
			fd, (const struct sockaddr *)&host->tether_name, host->tether_name_len);
		if (ret != -EADDRINUSE)
			break;
		raw_ppoll(NULL, 0, &pause, NULL);
	}
	if (ret == 0)
		ret = (int)raw_syscall2(SYS_listen, fd, BACKLOG);
	if (ret == 0)
		return watch_add(fd, WATCH_TETHERS, WATCH_NOBODY, EPOLLIN) ? 0 : -ENOSPC;
	raw_close(fd);
	return ret;
}

int tether_listen(const struct sockaddr_un *rendezvous, socklen_t len)
{
	static const char suffix[] = TETHER_SUFFIX;
	struct host *host = host_local.host;
	struct rlimit files = {1024, 0};
	int ret;

	if (len + sizeof(suffix) - 1 > sizeof(*rendezvous))
		return -ENAMETOOLONG;
	host->tether_name = *rendezvous;
	memcpy((char *)&host->tether_name + len, suffix, sizeof(suffix) - 1);
	host->tether_name_len = len + (u32)sizeof(suffix) - 1;
	if (raw_syscall3(SYS_getrandom, (long)&host->tether_key, sizeof(host->tether_key), 0) !=
		sizeof(host->tether_key))
		return -EIO;
	raw_syscall4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&files);
	files.rlim_cur = MIN(files.rlim_cur, WATCHES_MAX);
	tethers.limit = (u32)(files.rlim_cur > 2 * SPARE_FDS ? files.rlim_cur - SPARE_FDS
							     : files.rlim_cur / 2);
	ret = tether_listener(SOCK_STREAM);
	return ret < 0 ? ret : tether_listener(SOCK_SEQPACKET);
}

/* Under the lock: the socket of a tether while it has it. */
static struct sock *tether_sock(struct stack *s, const struct tether *t)
{
	struct sock *sk = sock_get(s, t->sock);

	return sk && sk->inode == t->inode && !(sk->flags & SOCK_ORPHAN) ? sk : NULL;
}

/* Back to its holders. */
static void tether_let_go(const struct tether *t)
{
	struct sock *sk = tether_sock(host_enter(), t);

	if (sk)
		sk->flags &= ~(u32)SOCK_TETHERED;
	if (sk && !sk->holders)
		sock_close(host_stack(), t->sock);
	host_leave();
}

/* From now on its bytes are moved. */
static void tether_pump(struct watch *w)
{
	if (!pump_start(w->index, w->fd, w->tether.sock))
		return;
	w->tether.flags |= TETHER_PUMPED;
	watch_events(w, TETHER_EVENTS | EPOLLOUT);
}

/* A connection has come. The member marks the socket too; one of the two may be late, or dead. */
static void tether_begin(int fd)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	struct tether t = {0};
	struct watch *w;
	struct sock *sk = NULL;

	if (raw_getpeername(fd, (struct sockaddr *)&name, &len) == 0)
		t.sock = tether_named(&name, len, &t.inode);
	if (t.sock) {
		sk = tether_sock(host_enter(), &t);
		if (sk) {
			sk->flags |= SOCK_TETHERED;
			if (!sk->holders)
				splice_due(host_stack(), sk);
		}
		host_leave();
	}
	if (!sk) {
		raw_close(fd);
		return;
	}
	w = watch_add(fd, WATCH_TETHER, WATCH_NOBODY, TETHER_EVENTS);
	if (!w) {
		tether_let_go(&t);
		return;
	}
	w->tether = t;
	if (sk->flags & SOCK_SPLICED)
		tether_pump(w);
}

void tether_accept(struct watch *listener)
{
	for (u32 i = 0; i < ACCEPTS; i++) {
		int fd = watch_count(WATCH_TETHER) >= tethers.limit ? -EMFILE : 0;

		if (fd == 0)
			fd = (int)raw_syscall4(
				SYS_accept4, listener->fd, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
			watch_pause(listener);
		if (fd < 0)
			return;
		tether_begin(fd);
	}
}

bool tether_pending(void)
{
	const struct watch *w = watch_first(WATCH_NOBODY);

	for (; w; w = watch_next(w)) {
		struct pollfd fd = {.fd = w->fd, .events = POLLIN};
		struct timespec none = {0, 0};

		if (w->kind == WATCH_TETHER ||
			(w->kind == WATCH_TETHERS && raw_ppoll(&fd, 1, &none, NULL) > 0))
			return true;
	}
	return false;
}

/* --- the connections --- */

/* The placeholder's name is taken then. */
bool tether_exists(u32 index)
{
	const struct watch *w = watch_of(index);
	struct sockaddr_un name;
	socklen_t len = tether_own_name(w->tether.sock, w->tether.inode, &name), size = sizeof(int);
	int type = SOCK_STREAM, fd, ret;

	if (w->tether.flags & TETHER_LENT)
		return lend_connected(w->fd);
	raw_getsockopt(w->fd, SOL_SOCKET, SO_TYPE, &type, &size);
	fd = raw_socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	ret = raw_bind(fd, (struct sockaddr *)&name, len);
	raw_close(fd);
	return ret == -EADDRINUSE;
}

void tether_lost(const struct tether *t)
{
	struct stack *s = host_enter();
	struct sock *sk = tether_sock(s, t);

	if (sk) {
		sk->flags &= ~(u32)(SOCK_TETHERED | SOCK_SPLICED);
		member_unhold_all(s, t->sock);
	}
	host_leave();
}

static void tether_end(struct watch *w)
{
	struct tether t = w->tether;

	if (t.flags & TETHER_SHUT)
		tethers.shut--;
	watch_end(w);
	tether_lost(&t);
}

static void tether_hangup(struct watch *w)
{
	if (!tether_exists(w->index)) {
		tether_end(w);
		return;
	}
	if (w->tether.flags & TETHER_SHUT)
		return;
	w->tether.flags |= TETHER_SHUT;
	if (!tethers.shut++)
		tethers.look_again_ns = host_now() + LOOK_AGAIN_NS;
	watch_timer(tethers.look_again_ns);
}

static bool tether_bytes(const struct watch *w)
{
	int bytes = 0;

	raw_ioctl(w->fd, FIONREAD, &bytes);
	return bytes > 0;
}

void tether_event(u32 index, u32 events)
{
	struct watch *w = watch_of(index);

	/* What somebody without the library has written comes first. */
	if (!(w->tether.flags & TETHER_PUMPED) &&
		(!(events & (EPOLLHUP | EPOLLERR)) || tether_bytes(w)))
		tether_pump(w);
	if (w->tether.flags & TETHER_PUMPED)
		pump_event(w->tether.sock, events);
	else if (events & (EPOLLHUP | EPOLLERR))
		tether_hangup(w);
}

void tether_splice(ref sk)
{
	struct watch *w, *next;

	for (w = watch_first(WATCH_NOBODY); w; w = next) {
		next = watch_next(w);
		if (w->kind == WATCH_TETHER && w->tether.sock == sk &&
			!(w->tether.flags & TETHER_PUMPED))
			tether_pump(w);
	}
}

void tether_ended(u32 index, bool lost)
{
	struct watch *w = watch_of(index);
	struct tether t = w->tether;

	if (lost) {
		tether_end(w);
		return;
	}
	watch_end(w);
	tether_let_go(&t);
}

void tether_lent(int fd, ref sk, u64 inode)
{
	struct tether t = {.sock = sk, .inode = inode, .flags = TETHER_LENT};
	struct watch *w = watch_add(fd, WATCH_TETHER, WATCH_NOBODY, TETHER_EVENTS);

	if (!w) {
		tether_lost(&t);
		return;
	}
	w->tether = t;
	tether_pump(w);
	if (!(w->tether.flags & TETHER_PUMPED))
		tether_end(w);
}

u64 tether_look(u64 now)
{
	struct watch *w, *next;

	if (!tethers.shut)
		return NEVER;
	if (now < tethers.look_again_ns)
		return tethers.look_again_ns;
	tethers.look_again_ns = now + LOOK_AGAIN_NS;
	for (w = watch_first(WATCH_NOBODY); w; w = next) {
		next = watch_next(w);
		if (w->kind == WATCH_TETHER && w->tether.flags & TETHER_SHUT &&
			!tether_exists(w->index))
			tether_end(w);
	}
	return tethers.shut ? tethers.look_again_ns : NEVER;
}
