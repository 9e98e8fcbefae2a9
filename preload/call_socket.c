/*
 * Sockets: made, named, connected, accepted, shut down.
 *
 * A stack socket is a lone AF_UNIX socket of the kernel, the placeholder, whose number the table
 * maps to the stack's socket. The placeholder for an accepted connection is made before the
 * connection is taken off its listener, so EMFILE loses none. The file status flags that all
 * duplicates share stand in struct sock.
 *
 * Whether an address is the kernel's by the user's rules is known only when the program names it:
 * then a socket of the kernel takes the placeholder's place under every number it has
 * (call_bypass).
 */
#include "preload/call.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>

#include "preload/config.h"
#include "preload/guard_signal.h"
#include "preload/raw.h"
#include "preload/splice.h"

#define TYPE_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK)

static const struct config *config(void)
{
	return &config_get()->config;
}

/*
 * A placeholder, its inode in *inode. The number, or negative errno. A thread that meets the number
 * before it stands in the table gets an error from the kernel, where a datagram socket would have
 * it sleep for ever; SOCK_SEQPACKET keeps messages apart should it be spliced.
 */
static int placeholder(int type, int flags, u64 *inode)
{
	int kind = type == SOCK_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
	int fd = raw_socket(AF_UNIX, kind | flags, 0);
	struct stat st = {0};
	int ret;

	if (fd < 0)
		return fd;
	call_opened(fd);
	ret = raw_fstat(fd, &st);
	if (ret == 0)
		ret = fdtable_reserve(fd);
	if (ret < 0) {
		raw_close(fd);
		return ret;
	}
	*inode = st.st_ino;
	return fd;
}

/* Under the lock: the new socket belongs to this placeholder. */
static void take_hold(struct stack *s, ref sk, int flags, u64 inode)
{
	struct sock *sock = sock_get(s, sk);

	sock->fd_flags = flags & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	sock->inode = inode;
	host_hold(s, sk);
}

static s64 open_socket(int type, int flags, int protocol)
{
	struct slot *slot = slot_self();
	struct stack *s;
	u64 inode;
	int error = 0, fd;
	ref sk;

	s = host_enter();
	sk = sock_open(s, FAMILY_INET, type, protocol, &error);
	if (slot)
		slot->made = sk;
	host_leave();
	if (!sk)
		return error;
	fd = placeholder(type, flags, &inode);
	s = host_enter();
	if (fd >= 0)
		take_hold(s, sk, flags, inode);
	else
		sock_close(s, sk);
	if (slot)
		slot->made = 0;
	host_leave();
	if (fd >= 0) {
		fdtable_set(fd, FD_SOCKET, sk, inode);
		call_changed(fd);
	}
	return fd;
}

s64 call_socket(int domain, int type, int protocol)
{
	int flags = type & TYPE_FLAGS;
	s64 ret;

	if ((domain != AF_INET && domain != AF_INET6) || config()->off)
		return CALL_NOT_OURS;
	/* Never the kernel's IPv6: it would pass around the stack. */
	if (domain == AF_INET6)
		return -EAFNOSUPPORT;
	if (type & ~(TYPE_FLAGS | 0xf))
		return -EINVAL;
	guard_install();
	guard_enter();
	ret = host_start();
	if (ret == 0)
		ret = open_socket(type & 0xf, flags, protocol);
	else if (config()->fallback == CONFIG_FALLBACK_KERNEL)
		ret = CALL_NOT_OURS;
	guard_leave(false);
	return ret;
}

/* --- to the kernel --- */

/* What a program may have set before it names the address, and the kernel's socket should have too.
 */
static const struct {
	u8 level, name, type; /* type 0: any */
} options[] = {
	{SOL_SOCKET, SO_REUSEADDR, 0},
	{SOL_SOCKET, SO_REUSEPORT, 0},
	{SOL_SOCKET, SO_KEEPALIVE, 0},
	{SOL_SOCKET, SO_BROADCAST, 0},
	{SOL_SOCKET, SO_OOBINLINE, 0},
	{SOL_SOCKET, SO_LINGER, 0},
	{SOL_SOCKET, SO_RCVTIMEO, 0},
	{SOL_SOCKET, SO_SNDTIMEO, 0},
	{SOL_SOCKET, SO_RCVLOWAT, 0},
	{SOL_SOCKET, SO_PRIORITY, 0},
	{SOL_SOCKET, SO_TIMESTAMP, 0},
	{SOL_SOCKET, SO_TIMESTAMPNS, 0},
	{SOL_IP, IP_TOS, 0},
	{SOL_IP, IP_TTL, 0},
	{SOL_IP, IP_RECVERR, 0},
	{SOL_IP, IP_PKTINFO, 0},
	{SOL_IP, IP_RECVTTL, 0},
	{SOL_IP, IP_RECVTOS, 0},
	{SOL_IP, IP_MTU_DISCOVER, 0},
	{SOL_IP, IP_FREEBIND, 0},
	{SOL_IP, IP_MULTICAST_TTL, 0},
	{SOL_IP, IP_MULTICAST_LOOP, 0},
	{SOL_TCP, TCP_NODELAY, SOCK_STREAM},
	{SOL_TCP, TCP_CORK, SOCK_STREAM},
	{SOL_TCP, TCP_KEEPIDLE, SOCK_STREAM},
	{SOL_TCP, TCP_KEEPINTVL, SOCK_STREAM},
	{SOL_TCP, TCP_KEEPCNT, SOCK_STREAM},
	{SOL_TCP, TCP_SYNCNT, SOCK_STREAM},
	{SOL_TCP, TCP_USER_TIMEOUT, SOCK_STREAM},
	{SOL_TCP, TCP_DEFER_ACCEPT, SOCK_STREAM},
	{SOL_TCP, TCP_LINGER2, SOCK_STREAM},
	{SOL_TCP, TCP_FASTOPEN_CONNECT, SOCK_STREAM},
};

static void copy_options(ref sk, int type, int kernel)
{
	for (u32 i = 0; i < ARRAY_LEN(options); i++) {
		u8 ours[SOCK_OPT_MAX] = {0}, theirs[SOCK_OPT_MAX] = {0};
		u32 len = 32;
		socklen_t kernel_len = 32;
		int ret;

		if (options[i].type && options[i].type != type)
			continue;
		ret = sock_getopt(host_enter(), sk, options[i].level, options[i].name, ours, &len);
		host_leave();
		if (ret == 0 &&
			raw_getsockopt(kernel, options[i].level, options[i].name, theirs,
				&kernel_len) == 0 &&
			len == kernel_len && memcmp(ours, theirs, len) != 0)
			raw_setsockopt(kernel, options[i].level, options[i].name, ours, len);
	}
}

/*
 * A socket of the kernel like this one, bound to the same port if it is bound. Negative errno if
 * there can be none.
 */
static int kernel_twin(ref sk)
{
	struct sockaddr_storage name;
	struct sock *sock;
	struct sock copy;
	socklen_t len;
	int fd, ret = 0;

	sock = sock_get(host_enter(), sk);
	if (sock)
		copy = *sock;
	host_leave();
	if (!sock)
		return -EBADF;
	fd = raw_socket(AF_INET, copy.type | SOCK_CLOEXEC, copy.conn.proto);
	if (fd < 0)
		return fd;
	if (copy.fd_flags & O_NONBLOCK)
		raw_fcntl(fd, F_SETFL, O_NONBLOCK);
	copy_options(sk, copy.type, fd);
	if (copy.flags & SOCK_BOUND_PORT) {
		len = call_sockaddr(&copy.conn.local, &name);
		ret = raw_bind(fd, (struct sockaddr *)&name, len);
	}
	if (ret == 0)
		return fd;
	raw_close(fd);
	return ret;
}

bool call_bypass(int fd, ref sk, const struct sockaddr_storage *addr, socklen_t len)
{
	const struct config *rules = config();
	int kernel, flags;

	if ((!rules->bypass.count && rules->loopback != CONFIG_LOOPBACK_KERNEL) ||
		!config_bypasses(rules, (const struct sockaddr *)addr, len) ||
		!call_checked(fd, sk))
		return false;
	guard_enter();
	kernel = kernel_twin(sk);
	for (int n = 0; kernel >= 0 && n < fdtable_limit(); n++) {
		if (fdtable_sock(n) != sk)
			continue;
		flags = raw_fcntl(n, F_GETFD, 0);
		call_forget(n);
		raw_dup3(kernel, n, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	}
	if (kernel >= 0)
		raw_close(kernel);
	guard_leave(false);
	return kernel >= 0;
}

/* --- names --- */

s64 call_bind(int fd, ref sk, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_storage name;
	struct sockaddr_in *in = (struct sockaddr_in *)&name;
	struct endpoint local;
	in_port_t port;
	s64 ret = call_addr_in(&name, addr, len);

	if (ret < 0)
		return ret;
	if (len < sizeof(*in))
		return -EINVAL;
	/* Compatibility of Linux: AF_UNSPEC with the wildcard address is AF_INET. */
	if (in->sin_family == AF_UNSPEC && in->sin_addr.s_addr == INADDR_ANY)
		in->sin_family = AF_INET;
	/* Rules name destinations: the port of a local address is none. */
	port = in->sin_port;
	in->sin_port = 0;
	if (in->sin_addr.s_addr != INADDR_ANY && call_bypass(fd, sk, &name, len))
		return CALL_NOT_OURS;
	in->sin_port = port;
	ret = call_endpoint(&name, len, &local);
	if (ret < 0)
		return ret;
	if (!call_checked(fd, sk))
		return CALL_NOT_OURS;
	guard_enter();
	ret = sock_bind(host_enter(), sk, &local);
	host_leave();
	if (ret == -EADDRINUSE) { /* or it was, by somebody whose end the keeper is about to learn
				     of */
		host_settle();
		ret = sock_bind(host_enter(), sk, &local);
		host_leave();
	}
	guard_leave(false);
	return ret;
}

static s64 connect_once(struct call *c, const struct endpoint *remote)
{
	for (bool again = false;; again = true) {
		s64 ret = -EBADF, waited;

		host_enter();
		if (call_look(c, true))
			ret = sock_connect(c->stack, c->sk, remote);
		host_leave();
		if (ret != -EINPROGRESS && ret != -EALREADY)
			return ret;
		if (c->nonblocking && (ret == -EINPROGRESS || again))
			return ret;
		waited = call_block(c, EV_OUT, 0);
		if (waited == -EAGAIN) /* nothing to wait by, or SO_SNDTIMEO is over */
			return ret == -EALREADY && again && !c->nonblocking ? -EINPROGRESS : ret;
		if (waited < 0)
			return waited;
	}
}

s64 call_connect(int fd, ref sk, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_storage name;
	struct endpoint remote = {0};
	struct call c;
	s64 ret = call_addr_in(&name, addr, len);

	if (ret < 0)
		return ret;
	if (len < sizeof(name.ss_family))
		return -EINVAL;
	if (name.ss_family != AF_UNSPEC) {
		ret = call_endpoint(&name, len, &remote);
		if (ret < 0)
			return ret;
		if (call_bypass(fd, sk, &name, len))
			return CALL_NOT_OURS;
	}
	if (!call_checked(fd, sk))
		return CALL_NOT_OURS;
	pthread_testcancel();
	do {
		call_begin(&c, fd, sk);
		ret = connect_once(&c, &remote);
	} while (call_again(&c, &ret));
	return ret;
}

s64 call_listen(int fd, ref sk, int backlog)
{
	s64 ret;

	if (!call_checked(fd, sk))
		return CALL_NOT_OURS;
	guard_enter();
	ret = sock_listen(host_enter(), sk, backlog);
	host_leave();
	if (ret == -EADDRINUSE) {
		host_settle();
		ret = sock_listen(host_enter(), sk, backlog);
		host_leave();
	}
	guard_leave(false);
	return ret;
}

s64 call_shutdown(int fd, ref sk, int how)
{
	s64 ret;

	if (splice_is(sk) || !call_checked(fd, sk))
		return CALL_NOT_OURS;
	guard_enter();
	ret = sock_shutdown(host_enter(), sk, how);
	host_leave();
	guard_leave(false);
	return ret;
}

static s64 name(ref sk, struct sockaddr *addr, socklen_t *len, bool peer)
{
	struct endpoint end = {0};
	struct stack *s;
	s64 ret;

	guard_enter();
	s = host_enter();
	ret = peer ? sock_peer(s, sk, &end) : sock_name(s, sk, &end);
	host_leave();
	guard_leave(false);
	return ret < 0 ? ret : call_addr_out(&end, addr, len);
}

s64 call_getsockname(int fd, ref sk, struct sockaddr *addr, socklen_t *len)
{
	(void)fd;
	return name(sk, addr, len, false);
}

s64 call_getpeername(int fd, ref sk, struct sockaddr *addr, socklen_t *len)
{
	(void)fd;
	return name(sk, addr, len, true);
}

/* --- accept --- */

struct accepted {
	int fd; /* the placeholder, -1 while there is none */
	u64 inode;
	ref sk;
	struct endpoint peer;
};

/*
 * Under the lock: a connection, or when none is there or no placeholder has been made, -EAGAIN.
 * *ready: there is one to take.
 */
static s64 take_connection(struct call *c, struct accepted *a, int flags, bool *ready)
{
	struct sock *sock = call_look(c, false);
	int error = 0;

	*ready = sock && sock->state == SOCK_LISTENING && sock_poll(c->stack, c->sk) & EV_IN;
	if (!sock)
		return -EBADF;
	if (a->fd < 0 && sock->state == SOCK_LISTENING)
		return -EAGAIN;
	a->sk = sock_accept(c->stack, c->sk, &error);
	if (!a->sk)
		return error;
	a->peer = sock_get(c->stack, a->sk)->conn.remote;
	take_hold(c->stack, a->sk, flags, a->inode);
	return 0;
}

static s64 accept_once(struct call *c, struct accepted *a, int flags)
{
	for (;;) {
		bool ready;
		s64 ret;

		host_enter();
		ret = take_connection(c, a, flags, &ready);
		host_leave();
		if (ret != -EAGAIN)
			return ret;
		if (ready && a->fd < 0) {
			a->fd = placeholder(SOCK_STREAM, flags, &a->inode);
			ret = a->fd < 0 ? a->fd : 0;
		} else {
			ret = call_block(c, EV_IN, 0);
		}
		if (ret < 0)
			return ret;
	}
}

s64 call_accept(int fd, ref sk, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct accepted a = {.fd = -1};
	struct call c;
	s64 ret;

	if (flags & ~TYPE_FLAGS)
		return -EINVAL;
	pthread_testcancel();
	do {
		call_begin(&c, fd, sk);
		ret = accept_once(&c, &a, flags);
		if (ret == 0)
			fdtable_set(a.fd, FD_SOCKET, a.sk, a.inode);
	} while (call_again(&c, &ret));
	if (ret < 0) {
		if (a.fd >= 0)
			raw_close(a.fd);
		return ret;
	}
	call_changed(a.fd);
	ret = addr ? call_addr_out(&a.peer, addr, len) : 0;
	if (ret < 0) {
		call_close(a.fd);
		return ret;
	}
	return a.fd;
}
