/*
 * What all interposed calls have in common: how they begin, wait, are interrupted and restarted,
 * and how they reach the program's memory.
 *
 * A call brackets itself with guard_enter and guard_leave. One that must wait checks first that the
 * number still is the socket's (its inode), pins the socket so that a close in another thread takes
 * effect when the call returns, as the kernel's file reference has it, and then sleeps in wait_one.
 * -EINTR means that handlers were put off: they run in guard_leave, and the call is made anew when
 * all of them have SA_RESTART and no timeout is set on the socket (signal(7)).
 */
#include "preload/call.h"

#include <netinet/in.h>

#include "preload/raw.h"

void call_begin(struct call *c, int fd, ref sk)
{
	struct slot *slot;

	guard_enter();
	slot = slot_self();
	c->fd = fd;
	c->sk = sk;
	c->stack = host_stack();
	c->pin = -1;
	c->waited = false;
	c->timed = false;
	c->polled = false;
	c->stream = c->nonblocking = false;
	c->lowat = 1;
	c->deadline_ns = NEVER;
	/* A handler that cannot be put off may make a call while the thread's plan is in use. */
	if (slot && slot->plan.kind == PLAN_NONE) {
		c->plan = &slot->plan;
		c->reader = slot_index(slot) + 1;
	} else {
		c->plan = &c->spare;
		c->spare.kind = PLAN_NONE;
		c->reader = (ref)raw_gettid() | 1u << 31;
	}
}

bool call_again(struct call *c, s64 *ret)
{
	bool restart = *ret == -EINTR && !c->timed && guard_restart();

	if (fdtable_unpin(c->pin)) {
		struct stack *s = host_enter();

		call_release(s, c->sk);
		host_leave();
	}
	guard_leave(*ret < 0);
	if (!restart)
		return false;
	if (fdtable_sock(c->fd) == c->sk)
		return true;
	*ret = CALL_NOT_OURS;
	return false;
}

struct sock *call_look(struct call *c, bool sending)
{
	struct sock *sock = sock_get(c->stack, c->sk);

	if (!sock)
		return NULL;
	c->stream = sock->type == SOCK_STREAM;
	c->lowat = sock->rcvlowat;
	c->timeout_ns = sending ? sock->sndtimeo_ns : sock->rcvtimeo_ns;
	if (!c->waited) { /* a call that waits goes on as it began */
		c->nonblocking = sock->fd_flags & O_NONBLOCK;
		c->listening = sock->state == SOCK_LISTENING;
		c->dissolved = sock->dissolved;
	}
	return sock;
}

struct sock *call_look_data(struct call *c, bool sending)
{
	struct sock *sock = call_look(c, sending);

	c->gone = sock ? CALL_NOT_OURS : -EBADF;
	return sock && sock->flags & SOCK_SPLICED ? NULL : sock;
}

/* Another call has dissolved the connection that this one waits for. */
static bool dissolved(const struct call *c)
{
	const struct sock *sock = sock_get(host_enter(), c->sk);
	bool gone = sock && c->stream && !c->listening && sock->dissolved != c->dissolved;

	host_leave();
	return gone;
}

s64 call_wait(struct call *c, u32 events)
{
	int ret;

	if (!c->waited) {
		if (!call_checked(c->fd, c->sk))
			return CALL_NOT_OURS;
		c->waited = true;
		c->timed = c->timeout_ns != 0;
		c->deadline_ns = c->timed ? host_now() + c->timeout_ns : NEVER;
		c->pin = fdtable_pin(c->sk);
	}
	ret = wait_one(c->sk, events, c->deadline_ns);
	if (ret > 0 && dissolved(c))
		return -EPIPE;
	return ret == 0 ? -EAGAIN : ret;
}

s64 call_block(struct call *c, u32 events, int flags)
{
	if (!c->nonblocking && !(flags & MSG_DONTWAIT))
		return call_wait(c, events);
	if (c->polled)
		return -EAGAIN;
	c->polled = true;
	if (!call_checked(c->fd, c->sk))
		return CALL_NOT_OURS;
	return host_poll_device() ? 1 : -EAGAIN;
}

void call_sigpipe(void)
{
	raw_syscall3(SYS_tgkill, raw_getpid(), raw_gettid(), SIGPIPE);
}

u64 call_release(struct stack *s, ref sk)
{
	if (fdtable_count(FD_SOCKET, sk) || fdtable_defer(sk))
		return 0;
	return wait_sock_closed(s, sk) ? 0 : host_unhold(s, sk);
}

/*
 * The same list on every path: at most UIO_MAXIOV entries, none longer than SSIZE_MAX, cut to
 * INT_MAX rounded down in all (read_write.c).
 */
s64 call_import(struct iovec *to, const struct iovec *from, u64 count)
{
	u64 total = 0;

	if (count > UIO_MAXIOV)
		return -EINVAL;
	if (guard_copy(to, from, count * sizeof(*to)) < 0)
		return -EFAULT;
	for (u64 i = 0; i < count; i++) {
		if ((ssize_t)to[i].iov_len < 0)
			return -EINVAL;
		if ((intptr_t)((uintptr_t)to[i].iov_base + to[i].iov_len) < 0)
			return -EFAULT; /* beyond what can be a program's memory */
		to[i].iov_len = MIN(to[i].iov_len, CALL_MOST - total);
		total += to[i].iov_len;
	}
	return (s64)total;
}

/* Long lists are rare, and the stacks of threads may be small. */
struct iovec *call_list(struct iovec *brief, u64 count)
{
	size_t size = UIO_MAXIOV * sizeof(*brief);
	long at;

	if (count <= CALL_BRIEF)
		return brief;
	at = raw_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return raw_failed(at) ? NULL : (struct iovec *)at;
}

void call_list_free(const struct iovec *list, const struct iovec *brief)
{
	if (list && list != brief)
		raw_munmap((void *)(uintptr_t)list, UIO_MAXIOV * sizeof(*list));
}

static u32 copy(struct stack *s, const struct plan *plan, struct cursor *user, bool in)
{
	u32 done = 0;

	for (u32 i = 0; i < plan->count; i++) {
		u8 *at = sock_span(s, &plan->span[i]);
		u32 left = plan->span[i].len;

		while (left && user->count) {
			u8 *base = (u8 *)user->iov->iov_base + user->offset;
			u32 n = (u32)MIN((size_t)left, user->iov->iov_len - user->offset);

			if (n && guard_copy(in ? at : base, in ? base : at, n) < 0)
				return done;
			at += n;
			left -= n;
			done += n;
			user->offset += n;
			if (user->offset == user->iov->iov_len) {
				user->iov++;
				user->count--;
				user->offset = 0;
			}
		}
		if (left)
			break;
	}
	return done;
}

u32 call_copy_in(struct stack *s, const struct plan *plan, struct cursor *from)
{
	return copy(s, plan, from, true);
}

u32 call_copy_out(struct stack *s, const struct plan *plan, struct cursor *to)
{
	return copy(s, plan, to, false);
}

int call_addr_in(struct sockaddr_storage *to, const struct sockaddr *from, socklen_t len)
{
	if (len > sizeof(*to))
		return -EINVAL;
	memset(to, 0, sizeof(*to));
	return len ? guard_copy(to, from, len) : 0;
}

u32 call_sockaddr(const struct endpoint *from, struct sockaddr_storage *to)
{
	struct sockaddr_in *in = (struct sockaddr_in *)to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	if (from->addr.family == FAMILY_INET6) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(from->port);
		memcpy(&in6->sin6_addr, from->addr.b, 16);
		return sizeof(*in6);
	}
	in->sin_family = AF_INET;
	in->sin_port = htons(from->port);
	memcpy(&in->sin_addr, from->addr.b + 12, 4);
	return sizeof(*in);
}

int call_addr_out(const struct endpoint *from, struct sockaddr *to, socklen_t *len)
{
	struct sockaddr_storage addr;
	socklen_t size = call_sockaddr(from, &addr), room;

	if (guard_copy(&room, len, sizeof(room)) < 0)
		return -EFAULT;
	if ((int)room < 0)
		return -EINVAL;
	if (guard_copy(to, &addr, MIN(room, size)) < 0)
		return -EFAULT;
	return guard_copy(len, &size, sizeof(size));
}

int call_endpoint(const struct sockaddr_storage *from, socklen_t len, struct endpoint *to)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)from;

	memset(to, 0, sizeof(*to));
	if (len < sizeof(*in))
		return -EINVAL;
	if (in->sin_family != AF_INET)
		return -EAFNOSUPPORT;
	to->addr = addr_v4(ntohl(in->sin_addr.s_addr));
	to->port = ntohs(in->sin_port);
	return 0;
}
