/*
 * Lent listeners, the keeper's side. Theory of operation: lend.h.
 *
 * The keeper makes the listener in a folder of its own, keeps a descriptor of the name (O_PATH)
 * and removes the name: only it can connect then. It connects once, when the stack's listener has a
 * connection to accept: the token. A token that the program has accepted (its end is a file then,
 * which sock_diag tells) gets the stack's next connection, at once or when one comes; until then it
 * is looked at by time, ever less often, for AF_UNIX says nothing about an accept. A process with
 * the library that sleeps on the listener has a moment to take the connection first.
 *
 * The end of the last descriptor shows by the token (reset unaccepted), by the refusal of the next
 * one, or by sock_diag: asked when the process that was given the listener ends, when somebody
 * waits for what has ended (host_settle), and now and then.
 */
#include "preload/lend.h"

#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "preload/region.h"
#include "preload/tether.h"
#include "preload/unix_diag.h"
#include "preload/watch.h"

#define LENT_MAX   256
#define FIRST_NS   (50 * NS_PER_US) /* until the first look at a token */
#define LONGEST_NS (20 * NS_PER_MS)
#define OTHERS_NS  (NS_PER_MS) /* for a process with the library */
#define CHECK_NS   (5 * NS_PER_S)

struct lent {
	ref sk;	   /* 0: a free entry */
	int kept;  /* the placeholder */
	int path;  /* of the program's listener */
	u32 inode; /* its */
	int token; /* -1: none */
	bool accepted;
	u64 at_ns;    /* when to look again, or NEVER */
	u64 pause_ns; /* and how long then until the next look; 0: nothing waits */
};

static struct lending {
	struct lent lent[LENT_MAX];
	u32 count;
	int diag; /* NETLINK_SOCK_DIAG */
	u64 check_ns;
} lending = {.diag = -1};

/* --- what the kernel knows of an AF_UNIX socket --- */

/* The peer's inode in an answer; 0 when it has none. */
static u32 diag_peer(const struct nlmsghdr *h)
{
	const struct unix_diag_msg *msg = NLMSG_DATA(h);
	u32 left = h->nlmsg_len - (u32)NLMSG_LENGTH(sizeof(*msg)), peer = 0;

	for (const struct rtattr *a = (const void *)(msg + 1); RTA_OK(a, left);
		a = RTA_NEXT(a, left)) {
		if (a->rta_type == UNIX_DIAG_PEER && RTA_PAYLOAD(a) >= sizeof(peer))
			memcpy(&peer, RTA_DATA(a), sizeof(peer));
	}
	return peer;
}

/* 0 with *peer, -ENOENT when there is no such socket, or another negative errno. */
static int diag_ask(u32 inode, u32 *peer)
{
	_Alignas(struct nlmsghdr) char buf[512];
	const struct nlmsghdr *h = (const void *)buf;
	ssize_t n;

	if (lending.diag < 0)
		lending.diag = unix_diag_open();
	n = unix_diag_ask(lending.diag, inode, UDIAG_SHOW_PEER);
	if (n >= 0)
		n = raw_recvfrom(lending.diag, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL);
	if (n < 0)
		return (int)n;
	if (!NLMSG_OK(h, (u32)n))
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
		return -EPROTO;
	*peer = diag_peer(h);
	return 0;
}

static u32 inode_of(int fd)
{
	struct stat st;

	return raw_fstat(fd, &st) < 0 ? 0 : (u32)st.st_ino;
}

bool lend_connected(int fd)
{
	u32 peer = 0;

	return diag_ask(inode_of(fd), &peer) == 0 && peer;
}

/* --- a listener that only this process can connect to --- */

/* Bound to a name in a new folder, which goes again: *path is what is left of it. */
static int listener_bind(int fd, const char *where, int *path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char folder[64];
	u64 tag = 0;
	int ret;

	raw_syscall3(SYS_getrandom, (long)&tag, sizeof(tag), 0);
	snprintf(folder, sizeof(folder), "%s/ustack-%016llx", where, (unsigned long long)tag);
	snprintf(name.sun_path, sizeof(name.sun_path), "%s/listener", folder);
	ret = (int)raw_syscall3(SYS_mkdirat, AT_FDCWD, (long)folder, 0700);
	if (ret < 0)
		return ret;
	ret = raw_bind(fd, (struct sockaddr *)&name, sizeof(name));
	if (ret == 0) {
		raw_syscall3(SYS_fchmodat, AT_FDCWD, (long)name.sun_path, 0600);
		*path = raw_open(name.sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
		raw_syscall3(SYS_unlinkat, AT_FDCWD, (long)name.sun_path, 0);
		ret = MIN(*path, 0);
	}
	raw_syscall3(SYS_unlinkat, AT_FDCWD, (long)folder, AT_REMOVEDIR);
	return ret;
}

/* A connection to it, or a negative errno. */
static int listener_connect(int path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = raw_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;

	if (fd < 0)
		return fd;
	snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d", path);
	ret = raw_connect(fd, (struct sockaddr *)&name, sizeof(name));
	if (ret < 0)
		raw_close(fd);
	return ret < 0 ? ret : fd;
}

/* Can all be done with it that is to be? Not without /proc, or sock_diag. */
static bool listener_works(int fd, int path)
{
	int test = listener_connect(path), accepted = -1;
	bool works = test >= 0 && !lend_connected(test);

	if (works)
		accepted = (int)raw_syscall4(SYS_accept4, fd, 0, 0, SOCK_CLOEXEC);
	works = accepted >= 0 && lend_connected(test);
	if (accepted >= 0)
		raw_close(accepted);
	if (test >= 0)
		raw_close(test);
	return works;
}

static int listener_make(int *path)
{
	static const char *const folders[] = {"/dev/shm", "/run", "/tmp", "/var/tmp"};
	int fd = raw_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret = -ENOENT;

	if (fd < 0)
		return fd;
	for (u32 i = 0; ret < 0 && i < ARRAY_LEN(folders); i++)
		ret = listener_bind(fd, folders[i], path);
	if (ret == 0)
		ret = (int)raw_syscall2(SYS_listen, fd, 0);
	if (ret == 0 && !listener_works(fd, *path))
		ret = -EOPNOTSUPP;
	if (ret < 0)
		raw_close(fd);
	if (ret < 0 && *path >= 0)
		raw_close(*path);
	return ret < 0 ? ret : fd;
}

/* --- the table --- */

static void lent_close(int *fd)
{
	if (*fd >= 0)
		raw_close(*fd);
	*fd = -1;
}

static bool lent_any(ref sk)
{
	for (u32 i = 0; i < LENT_MAX; i++) {
		if (lending.lent[i].sk == sk)
			return true;
	}
	return false;
}

/* The program's listener is no more. The placeholder's end may be the socket's. */
static void lent_end(struct lent *l)
{
	ref r = l->sk;
	struct sock *sk;

	l->sk = 0;
	lending.count--;
	lent_close(&l->token);
	lent_close(&l->path);
	if (!lent_any(r)) {
		sk = sock_get(host_enter(), r);
		if (sk)
			sk->flags &= ~(u32)SOCK_LENT;
		host_leave();
	}
	lent_close(&l->kept);
}

static void lent_at(struct lent *l, u64 at_ns)
{
	l->at_ns = at_ns;
	watch_timer(at_ns);
}

/* Later and later, as nothing happens. */
static void lent_again(struct lent *l)
{
	lent_at(l, host_now() + l->pause_ns);
	l->pause_ns = MIN(2 * l->pause_ns, LONGEST_NS);
}

/* --- tokens --- */

enum token_state {
	TOKEN_WAITS,	/* in the listener's queue */
	TOKEN_ACCEPTED, /* the program has it */
	TOKEN_CLOSED,	/* had it */
	TOKEN_LOST,	/* the listener ended */
};

static enum token_state token_look(const struct lent *l)
{
	struct pollfd fd = {.fd = l->token};
	struct timespec none = {0, 0};

	if (lend_connected(l->token))
		return TOKEN_ACCEPTED;
	raw_ppoll(&fd, 1, &none, NULL);
	if (!(fd.revents & POLLHUP))
		return TOKEN_WAITS;
	return fd.revents & POLLERR && !l->accepted ? TOKEN_LOST : TOKEN_CLOSED;
}

/* The token becomes a connection of the stack's; false when none waits. */
static bool token_use(struct lent *l)
{
	u32 inode = inode_of(l->token);
	struct stack *s = host_enter();
	int error = 0, fd = l->token;
	ref r = sock_accept(s, l->sk, &error);
	struct sock *sk = sock_get(s, r);

	if (sk) {
		sk->inode = inode;
		sk->flags |= SOCK_TETHERED;
	}
	host_leave();
	if (!sk)
		return false;
	l->token = -1;
	tether_lent(fd, r, inode);
	return true;
}

/* True when there is more to do. */
static bool token_turn(struct lent *l)
{
	enum token_state state = token_look(l);
	bool first = !l->accepted;

	if (state == TOKEN_LOST) {
		lent_end(l);
		return false;
	}
	if (state == TOKEN_WAITS) {
		lent_again(l);
		return false;
	}
	l->accepted = true;
	/* One that was closed before it got a connection was for nobody: the next is another's. */
	if ((state == TOKEN_ACCEPTED || first) && token_use(l))
		return true;
	if (state == TOKEN_CLOSED)
		lent_close(&l->token);
	return state == TOKEN_CLOSED;
}

/* A connection waits at the stack's listener: *others, there may be somebody to take it. */
static bool lent_pending(const struct lent *l, bool *others)
{
	struct stack *s = host_enter();
	const struct sock *sk = sock_get(s, l->sk);
	bool pending = sk && sk->state == SOCK_LISTENING && sock_poll(s, l->sk) & EV_IN;

	*others = sk && (sk->waiters || sk->watch_items);
	host_leave();
	return pending;
}

/* True when there is more to do. */
static bool token_offer(struct lent *l)
{
	bool others;
	int fd;

	if (!lent_pending(l, &others)) {
		l->pause_ns = 0;
		return false;
	}
	if (others && !l->pause_ns) {
		l->pause_ns = FIRST_NS;
		lent_at(l, host_now() + OTHERS_NS);
		return false;
	}
	fd = listener_connect(l->path);
	if (fd == -ECONNREFUSED) {
		lent_end(l);
		return false;
	}
	if (fd < 0) {
		l->pause_ns = LONGEST_NS;
		lent_again(l);
		return false;
	}
	l->token = fd;
	l->accepted = false;
	l->pause_ns = FIRST_NS;
	return true;
}

static void lent_turn(struct lent *l)
{
	l->at_ns = NEVER;
	while (l->token >= 0 ? token_turn(l) : token_offer(l)) {
	}
}

/* --- from outside --- */

void lend_notice(ref sk)
{
	for (u32 i = 0; i < LENT_MAX; i++) {
		struct lent *l = &lending.lent[i];

		/* What waits has its time already. */
		if (l->sk == sk && l->at_ns == NEVER)
			lent_turn(l);
	}
}

void lend_check(void)
{
	u32 peer;

	for (u32 i = 0; i < LENT_MAX && lending.count; i++) {
		struct lent *l = &lending.lent[i];

		if (l->sk && diag_ask(l->inode, &peer) == -ENOENT)
			lent_end(l);
	}
}

u64 lend_look(u64 now)
{
	u64 next = lending.check_ns;

	if (!lending.count)
		return NEVER;
	if (now >= lending.check_ns) {
		lend_check();
		next = lending.check_ns = now + CHECK_NS;
	}
	for (u32 i = 0; i < LENT_MAX; i++) {
		struct lent *l = &lending.lent[i];

		if (l->sk && l->at_ns <= now)
			lent_turn(l);
		if (l->sk)
			next = MIN(next, l->at_ns);
	}
	return next;
}

/* The stack's listener whose placeholder this is; 0 when it is none. */
static ref lend_whose(int fd)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	u64 inode = 0;
	struct sock *sk;
	ref r;

	if (raw_getsockname(fd, (struct sockaddr *)&name, &len) < 0)
		return 0;
	r = tether_named(&name, len, &inode);
	sk = sock_get(host_enter(), r);
	if (sk && (sk->inode != inode || sk->state != SOCK_LISTENING || sk->flags & SOCK_ORPHAN))
		sk = NULL;
	if (sk)
		sk->flags |= SOCK_LENT;
	host_leave();
	return sk ? r : 0;
}

/* The descriptor to give away, or a negative errno. */
static int lend_new(int kept)
{
	struct lent *l = lending.lent;
	int path = -1, fd;
	ref sk;

	while (l < lending.lent + LENT_MAX && l->sk)
		l++;
	if (l == lending.lent + LENT_MAX)
		return -ENOBUFS;
	fd = listener_make(&path);
	if (fd < 0)
		return fd;
	sk = lend_whose(kept);
	if (!sk) {
		raw_close(path);
		raw_close(fd);
		return -EBADF;
	}
	if (!lending.count++)
		lending.check_ns = host_now() + CHECK_NS;
	watch_timer(lending.check_ns);
	*l = (struct lent){.sk = sk,
		.kept = kept,
		.path = path,
		.inode = inode_of(fd),
		.token = -1,
		.at_ns = NEVER};
	lent_turn(l);
	return fd;
}

void lend_answer(const int *fds, u32 count)
{
	int fd = count >= LEND_FDS - 1 ? lend_new(fds[0]) : -EPROTO, status = MIN(fd, 0);

	if (count > 1)
		join_send(fds[1], &status, sizeof(status), &fd, fd >= 0);
	if (fd >= 0)
		raw_close(fd);
	/* By which the end of the program shows at once. */
	if (fd >= 0 && count == LEND_FDS)
		watch_add(fds[2], WATCH_LENT, WATCH_NOBODY, EPOLLIN);
	for (u32 i = fd >= 0 ? 1 : 0; i < count; i++) {
		if (fd < 0 || i != 2)
			raw_close(fds[i]);
	}
}
