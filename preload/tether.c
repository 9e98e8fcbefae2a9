/*
 * Tethers, the program's side: tying a placeholder to the keeper before it leaves the processes
 * that the library sees, and claiming one that has turned up.
 *
 * To tie is to bind and to connect, both of which can be done but once: of several threads or
 * processes at it one does it and the others find it done. Only then is the socket marked, so the
 * mark means that the keeper will see the end of the last descriptor. A close of the last number
 * meanwhile is left to the tying thread, as to a call that sleeps (fdtable_pin).
 */
#include "preload/tether.h"

#include "preload/call.h"
#include "preload/guard_signal.h"
#include "preload/region.h"

#define PATIENCE_S   1	 /* for a keeper that does not accept */
#define SLICE	     512 /* sockets looked at under one hold of the lock */
#define WITHOUT_PROC 256 /* numbers looked at when /proc is not there */

/* --- tying --- */

/* Under the lock: what to tie, in *inode. 1, or 0 when it is tied already, or a negative errno. */
static int tie_look(struct stack *s, ref sk, u64 *inode)
{
	const struct sock *sock = sock_get(s, sk);

	if (!sock || sock->flags & SOCK_ORPHAN)
		return -EBADF;
	*inode = sock->inode;
	return !(sock->flags & SOCK_TETHERED);
}

static int tie_mark(ref sk)
{
	struct sock *sock = sock_get(host_enter(), sk);
	bool lives = sock && !(sock->flags & SOCK_ORPHAN);

	if (lives)
		sock->flags |= SOCK_TETHERED;
	host_leave();
	return lives ? 0 : -EBADF;
}

/* -EINVAL and -EISCONN: somebody else has bound it, or connected it. */
static int tie_connect(int fd, ref sk, u64 inode)
{
	const struct host *host = host_local.host;
	struct timeval patience = {.tv_sec = PATIENCE_S}, none = {0};
	struct sockaddr_un name;
	socklen_t len = tether_own_name(sk, inode, &name);
	int ret = raw_bind(fd, (struct sockaddr *)&name, len);

	if (ret < 0 && ret != -EINVAL)
		return ret;
	raw_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	do {
		ret = raw_connect(
			fd, (const struct sockaddr *)&host->tether_name, host->tether_name_len);
	} while (ret == -EINTR);
	raw_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
	return ret == -EISCONN ? 0 : ret;
}

/* The last number was closed meanwhile. */
static void tie_let_go(ref sk)
{
	struct stack *s = host_enter();

	if (!fdtable_count(FD_SOCKET, sk) && !fdtable_defer(sk) && !wait_sock_closed(s, sk))
		host_unhold(s, sk);
	host_leave();
}

int tether_tie(int fd, ref sk)
{
	u64 inode = 0;
	int pin, ret;

	if (!host_up())
		return -EBADF;
	guard_enter();
	pin = fdtable_pin(sk);
	ret = tie_look(host_enter(), sk, &inode);
	host_leave();
	if (ret > 0) {
		ret = fdtable_sock_checked(fd) == sk ? tie_connect(fd, sk, inode) : -EBADF;
		if (ret == 0)
			ret = tie_mark(sk);
	}
	if (fdtable_unpin(pin))
		tie_let_go(sk);
	guard_leave(false);
	return ret;
}

u32 tether_tie_inherited(void)
{
	int limit = host_up() ? fdtable_limit() : 0;
	u32 count = 0;

	for (int fd = 0; fd < limit; fd++) {
		ref sk = fdtable_sock(fd);
		int flags = sk ? raw_fcntl(fd, F_GETFD, 0) : -1;

		if (flags >= 0 && !(flags & FD_CLOEXEC) && tether_tie(fd, sk) == 0)
			count++;
	}
	return count;
}

/* --- claiming --- */

/* The rendezvous of the host that a placeholder is tied to; its length, or 0 when it is no such
 * thing. */
static socklen_t claim_host(int fd, struct sockaddr_un *name)
{
	static const char begin[] = "\0ustack/", end[] = TETHER_SUFFIX;
	socklen_t len = sizeof(*name), from = offsetof(struct sockaddr_un, sun_path);

	memset(name, 0, sizeof(*name));
	if (raw_getpeername(fd, (struct sockaddr *)name, &len) < 0 || name->sun_family != AF_UNIX)
		return 0;
	if (len > sizeof(*name) || len < from + sizeof(begin) + sizeof(end) - 2 ||
		memcmp(name->sun_path, begin, sizeof(begin) - 1) != 0 ||
		memcmp((char *)name + len - (sizeof(end) - 1), end, sizeof(end) - 1) != 0)
		return 0;
	return len - (socklen_t)(sizeof(end) - 1);
}

static bool claim_is_ours(const struct sockaddr_un *name, socklen_t len)
{
	const struct host *host = host_local.host;

	return len + sizeof(TETHER_SUFFIX) - 1 == host->tether_name_len &&
	       memcmp(name, &host->tether_name, len) == 0;
}

/* Holds the socket and enters the number: 1, or 0 when the socket is no more. */
static int claim_take(int fd, ref sk, u64 inode)
{
	int flags = raw_fcntl(fd, F_GETFL, 0), ret = 0;
	struct stack *s = host_enter();
	struct sock *sock = sock_get(s, sk);

	if (sock && sock->inode == inode && !(sock->flags & SOCK_ORPHAN)) {
		host_hold(s, sk);
		/* Who had it before may have changed it by the kernel's call. */
		sock->fd_flags = (u32)flags & O_NONBLOCK;
		fdtable_set(fd, FD_SOCKET, sk, inode);
		ret = 1;
	}
	host_leave();
	return ret;
}

static int claim(int fd, const struct sockaddr_un *host, socklen_t host_len)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	struct stat st;
	u64 inode = 0;
	ref sk;
	int ret = host_up() ? 0 : host_start_at(host, host_len);

	if (ret < 0)
		return ret;
	if (!claim_is_ours(host, host_len) || raw_fstat(fd, &st) < 0 ||
		raw_getsockname(fd, (struct sockaddr *)&name, &len) < 0)
		return 0;
	sk = tether_named(&name, len, &inode);
	if (!sk || inode != st.st_ino)
		return 0;
	ret = fdtable_reserve(fd);
	return ret < 0 ? ret : claim_take(fd, sk, inode);
}

int tether_claim(int fd)
{
	struct sockaddr_un host;
	socklen_t len = claim_host(fd, &host);
	int ret;

	if (!len)
		return 0;
	guard_install();
	guard_enter();
	ret = claim(fd, &host, len);
	guard_leave(false);
	if (ret > 0)
		call_changed(fd);
	return ret;
}

/* The socket of an inode. The lock is given up now and then. */
static ref claim_find(u64 inode)
{
	struct stack *s = host_enter();
	ref found = 0;

	for (u32 i = 0; !found && i < slab_touched(s, SLAB_SOCK); i++) {
		const struct sock *sock = slab_at(s, SLAB_SOCK, i);

		if (sock && sock->inode == inode && !(sock->flags & SOCK_ORPHAN))
			found = sock->conn.slab.self;
		if (i % SLICE == SLICE - 1) {
			host_leave();
			s = host_enter();
		}
	}
	host_leave();
	return found;
}

int tether_claim_untied(int fd)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name), peer_len = sizeof(name);
	struct stat st;
	int ret = 0;
	ref sk;

	if (!host_up() || raw_getsockname(fd, (struct sockaddr *)&name, &len) < 0 ||
		name.sun_family != AF_UNIX || len > offsetof(struct sockaddr_un, sun_path) ||
		raw_getpeername(fd, (struct sockaddr *)&name, &peer_len) != -ENOTCONN ||
		raw_fstat(fd, &st) < 0)
		return 0;
	guard_enter();
	sk = claim_find(st.st_ino);
	if (sk && fdtable_reserve(fd) == 0)
		ret = claim_take(fd, sk, st.st_ino);
	guard_leave(false);
	if (ret > 0)
		call_changed(fd);
	return ret;
}

struct entry { /* struct linux_dirent64 */
	u64 ino;
	s64 off;
	u16 len;
	u8 type;
	char name[];
};

static void claim_listed(int dir)
{
	_Alignas(u64) char list[2048];
	long n;

	while ((n = raw_syscall3(SYS_getdents64, dir, (long)list, sizeof(list))) > 0) {
		for (long at = 0; at < n;) {
			const struct entry *e = (const struct entry *)(const void *)(list + at);
			int fd = 0;

			for (const char *c = e->name; *c >= '0' && *c <= '9'; c++)
				fd = 10 * fd + *c - '0';
			if (e->name[0] != '.' && fd != dir)
				tether_claim(fd);
			at += e->len;
		}
	}
}

void tether_claim_all(void)
{
	int dir = raw_open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (dir >= 0) {
		claim_listed(dir);
		raw_close(dir);
		return;
	}
	for (int fd = 0; fd < WITHOUT_PROC; fd++)
		tether_claim(fd);
}
