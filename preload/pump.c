/*
 * The pump: moves the bytes of spliced sockets between the kernel's side (the keeper's end of a
 * tether, a connected AF_UNIX socket) and the engine's socket.
 *
 * A pump is one spliced socket. It has a turn when the kernel reports its end (edge-triggered),
 * when the engine reports its socket (splice_due), or when it had more to do than one turn allows;
 * turns go round a queue, so that many sockets share the keeper fairly, and the device is served in
 * between. Bytes go from packet memory straight into the kernel and back: the plan is taken under
 * the lock, the system call made without it.
 *
 * A side that takes no more stops the other one: what a program does not read stays in the engine
 * and closes the window; what the peer does not take stays in the program's own buffer. The ends
 * are carried over as they come: end of stream by shutdown, each direction by itself; the program's
 * last close by FIN behind what it has written, or by RST if it left something unread (AF_UNIX
 * reports that to its peer as ECONNRESET); a reset of the connection by closing the keeper's end
 * with a byte unread, by which AF_UNIX gives the program ECONNRESET once it has read what came
 * before. That byte is the last one that was read: it always stays in the queue, its copy having
 * gone on its way. The first one is sent by the member that begins the splice, with a descriptor
 * for a mark (splice_mark); where nobody did (a raw system call began it), a program that has not
 * written anything sees an end of stream in the place of a reset.
 *
 * A datagram socket has a placeholder of the type SOCK_SEQPACKET: messages keep their bounds, but
 * not their addresses.
 */
#include "preload/pump.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "preload/lend.h"
#include "preload/splice.h"
#include "preload/tether.h"
#include "preload/watch.h"

#define PUMPS	  65536u
#define TX_PIECE  65536u	    /* moved by one step to the engine */
#define RX_PIECE  131072u	    /* and from it: each is a window update */
#define TURN	  (4 * TX_PIECE)    /* by one turn in each direction */
#define TURNS	  32		    /* before the device is served again */
#define RETRY_NS  (NS_PER_MS)	    /* for a member between its two steps */
#define UNHELD_NS (500 * NS_PER_MS) /* for a program that is about to claim its sockets */

enum pump_flag {
	PUMP_USED = 1 << 0,
	PUMP_QUEUED = 1 << 1,
	PUMP_READABLE = 1 << 2, /* the kernel's side may have bytes */
	PUMP_WRITABLE = 1 << 3, /* it may have room */
	PUMP_RX_DONE = 1 << 4,	/* the program has been told that no more will come */
	PUMP_TX_DONE = 1 << 5,	/* the peer has; or the engine takes no more */
	PUMP_RDHUP = 1 << 6,	/* the program has shut its sending side */
	PUMP_HUP = 1 << 7,	/* both sides, or closed its last descriptor */
	PUMP_UNREAD = 1 << 8,	/* closed, and left bytes unread */
	PUMP_RETRY = 1 << 9,	/* a member is between its two steps */
	PUMP_UNHELD = 1 << 10,	/* no pump yet: tethered, and held by no member */
	PUMP_RESET = 1 << 11,	/* the connection is over by an error */
	PUMP_DGRAM = 1 << 12,
	PUMP_MARKED = 1 << 13, /* `rest` is the byte of splice_mark */
};

struct pump {
	ref sk;
	u32 tether;
	int fd;
	u32 flags; /* enum pump_flag */
	u32 rest;  /* bytes read that are still in the kernel's queue: 0 or 1 */
	u32 next;  /* in the queue of turns */
	u64 at_ns; /* PUMP_UNHELD: since when */
};

static struct pumps {
	struct pump *pump; /* PUMPS; NULL before the first */
	u32 *by_sock;	   /* pump + 1 by the index of the socket */
	u32 touched, free_hint;
	u32 head, tail; /* of the queue, + 1 */
	u32 ticking;	/* pumps with PUMP_RETRY or PUMP_UNHELD */
} pumps;

/* --- the table --- */

#define SOCKS 262144u

static bool pumps_make(void)
{
	size_t table = PUMPS * sizeof(struct pump), map = SOCKS * sizeof(u32);
	long at;

	if (pumps.pump)
		return true;
	at = raw_mmap(NULL, table + map, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (raw_failed(at))
		return false;
	pumps.pump = (struct pump *)at;
	pumps.by_sock = (u32 *)(void *)((char *)at + table);
	return true;
}

static struct pump *pump_find(ref sk)
{
	u32 n = pumps.pump && ref_index(sk) < SOCKS ? pumps.by_sock[ref_index(sk)] : 0;

	return n && pumps.pump[n - 1].sk == sk ? &pumps.pump[n - 1] : NULL;
}

static struct pump *pump_new(ref sk)
{
	u32 i = pumps.free_hint, looked = 0;

	if (!pumps_make() || ref_index(sk) >= SOCKS)
		return NULL;
	for (; looked < PUMPS && pumps.pump[i % PUMPS].flags; looked++)
		i++;
	if (looked == PUMPS)
		return NULL;
	i %= PUMPS;
	pumps.free_hint = i + 1;
	pumps.touched = MAX(pumps.touched, i + 1);
	pumps.by_sock[ref_index(sk)] = i + 1;
	pumps.pump[i] =
		(struct pump){.sk = sk, .fd = -1, .flags = PUMP_USED, .next = pumps.pump[i].next};
	return &pumps.pump[i];
}

static void pump_mark(struct pump *p, u32 flag)
{
	if (p->flags & flag)
		return;
	p->flags |= flag;
	pumps.ticking++;
	watch_timer(host_now() + (flag == PUMP_RETRY ? RETRY_NS : UNHELD_NS));
}

static void pump_unmark(struct pump *p, u32 flag)
{
	if (!(p->flags & flag))
		return;
	p->flags &= ~flag;
	pumps.ticking--;
}

static u32 pump_index(const struct pump *p)
{
	return (u32)(p - pumps.pump);
}

static void pump_queue(struct pump *p)
{
	u32 n = pump_index(p) + 1;

	if (p->flags & PUMP_QUEUED || !(p->flags & PUMP_USED))
		return;
	p->flags |= PUMP_QUEUED;
	p->next = 0;
	if (pumps.tail)
		pumps.pump[pumps.tail - 1].next = n;
	else
		pumps.head = n;
	pumps.tail = n;
}

static struct pump *pump_next(void)
{
	struct pump *p = pumps.head ? &pumps.pump[pumps.head - 1] : NULL;

	if (!p)
		return NULL;
	pumps.head = p->next;
	if (!pumps.head)
		pumps.tail = 0;
	p->flags &= ~(u32)PUMP_QUEUED;
	return p;
}

/* The entry stays while it stands in the queue. */
static void pump_free(struct pump *p)
{
	pump_unmark(p, PUMP_RETRY);
	pump_unmark(p, PUMP_UNHELD);
	if (pumps.by_sock[ref_index(p->sk)] == pump_index(p) + 1)
		pumps.by_sock[ref_index(p->sk)] = 0;
	p->flags &= PUMP_QUEUED;
	p->sk = 0;
	pumps.free_hint = MIN(pumps.free_hint, pump_index(p));
}

/* --- the end of one --- */

/* Reads the byte that was left, so that closing is no reset. */
static void pump_read_rest(struct pump *p)
{
	u8 byte;

	if (p->rest)
		raw_recvfrom(p->fd, &byte, 1, MSG_DONTWAIT, NULL, NULL);
	p->rest = 0;
	p->flags &= ~(u32)PUMP_MARKED;
}

/* No descriptor is left anywhere, or the connection is over. */
static void pump_end(struct pump *p)
{
	u32 tether = p->tether;
	bool lost = !(p->flags & PUMP_RESET);

	if (lost)
		pump_read_rest(p);
	pump_free(p);
	tether_ended(tether, lost);
}

/* --- engine to program --- */

static u32 pump_vector(struct stack *s, const struct plan *plan, struct iovec *iov)
{
	for (u32 i = 0; i < plan->count; i++)
		iov[i] = (struct iovec){sock_span(s, &plan->span[i]), plan->span[i].len};
	return plan->count;
}

/* A stream's error stays in the socket, for who asks by SO_ERROR. */
static s64 pump_take(struct pump *p, struct plan *plan)
{
	struct stack *s = host_enter();
	struct sock *sk = sock_get(s, p->sk);
	int error = sk ? sk->error : 0;
	s64 n = -EBADF;

	if (sk) {
		plan->flags = 0;
		n = sock_recv_take(s, p->sk, plan, RX_PIECE, slot_index(slot_self()) + 1);
		if (!(p->flags & PUMP_DGRAM))
			sk->error = error;
	}
	host_leave();
	return n;
}

static void pump_taken(struct plan *plan, s64 written)
{
	struct stack *s = host_enter();

	if (written >= 0)
		sock_recv_commit(s, plan, (u32)written);
	else
		sock_plan_drop(s, plan);
	host_leave();
}

static void pump_shutdown(struct pump *p, int how)
{
	sock_shutdown(host_enter(), p->sk, how);
	host_leave();
}

/* The engine has nothing: why? */
static void pump_nothing(struct pump *p, s64 n)
{
	if (p->flags & PUMP_DGRAM) {
		if (n == -EBUSY)
			pump_mark(p, PUMP_RETRY);
	} else if (n == 0) {
		raw_syscall2(SYS_shutdown, p->fd, SHUT_WR);
		p->flags |= PUMP_RX_DONE;
	} else if (n == -EBUSY) {
		pump_mark(p, PUMP_RETRY);
	} else if (n != -EAGAIN && n != -ENOTCONN) {
		p->flags |= PUMP_RESET;
	}
}

/* One piece; bytes moved. */
static u32 pump_receive(struct pump *p)
{
	struct plan *plan = &slot_self()->plan;
	struct iovec iov[PLAN_SPANS];
	struct msghdr msg = {.msg_iov = iov};
	s64 n = pump_take(p, plan), written;

	if (n < 0 || plan->kind == PLAN_NONE) {
		pump_nothing(p, n);
		return 0;
	}
	msg.msg_iovlen = pump_vector(host_stack(), plan, iov);
	written = raw_sendmsg(p->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	pump_taken(plan, written);
	if (written < n)
		p->flags &= ~(u32)PUMP_WRITABLE;
	if (written < 0 && written != -EAGAIN && written != -EMSGSIZE) {
		/* shutdown(SHUT_RD), or closed */
		p->flags |= PUMP_RX_DONE;
		pump_shutdown(p, SHUT_RD);
	}
	return written > 0 ? (u32)written : 0;
}

/* --- program to engine --- */

/* Bytes in the kernel's queue that have not gone on yet. */
static u32 pump_waiting(struct pump *p)
{
	int bytes = 0;

	raw_ioctl(p->fd, FIONREAD, &bytes);
	return (u32)bytes > p->rest ? (u32)bytes - p->rest : 0;
}

static s64 pump_reserve(struct pump *p, struct plan *plan, u32 len)
{
	struct stack *s = host_enter();
	struct sock *sk = sock_get(s, p->sk);
	int error = sk ? sk->error : 0;
	s64 n = -EBADF;

	if (sk) {
		plan->flags = 0;
		plan->to.addr.family = FAMILY_NONE;
		plan->meta = (struct plan_meta){.tos = -1, .ttl = -1};
		n = sock_send_reserve(s, p->sk, plan, len);
		if (!(p->flags & PUMP_DGRAM))
			sk->error = error;
	}
	host_leave();
	return n;
}

/* Where byte number `at` of a plan goes. */
static u8 *pump_place(const struct plan *plan, u32 at)
{
	for (u32 i = 0; i < plan->count; i++) {
		if (at < plan->span[i].len)
			return (u8 *)sock_span(host_stack(), &plan->span[i]) + at;
		at -= plan->span[i].len;
	}
	return NULL;
}

/*
 * Reads at most `len` bytes, which are there, into the spans. The last of them stays in the queue,
 * too; the one that stayed before goes. Bytes read; the kernel stops at messages with descriptors
 * in them.
 */
static u32 pump_fill(struct pump *p, const struct plan *plan, u32 len)
{
	struct iovec iov[PLAN_SPANS + 1];
	struct msghdr msg = {.msg_iov = iov};
	u32 left = len - 1, count = 0, done = 0;
	ssize_t n = 0;
	u8 old;

	/* The kernel does not read beyond it in one step. */
	if (p->flags & PUMP_MARKED)
		pump_read_rest(p);
	if (p->rest)
		iov[count++] = (struct iovec){&old, 1};
	for (u32 i = 0; i < plan->count && left; i++) {
		u32 part = MIN(left, plan->span[i].len);

		iov[count++] = (struct iovec){sock_span(host_stack(), &plan->span[i]), part};
		left -= part;
	}
	msg.msg_iovlen = count;
	if (count)
		n = raw_recvmsg(p->fd, &msg, MSG_DONTWAIT);
	if (n > 0) {
		done = (u32)n - p->rest;
		p->rest = 0;
	}
	if (p->rest)
		return 0;
	n = raw_recvfrom(p->fd, pump_place(plan, done), 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
	p->rest = n == 1;
	return done + p->rest;
}

static void pump_filled(struct plan *plan, bool good, u32 n)
{
	struct stack *s = host_enter();

	if (good)
		sock_send_commit(s, plan, n);
	else
		sock_plan_drop(s, plan);
	host_leave();
}

/* The engine takes no more: writers learn EPIPE. */
static void pump_refuse(struct pump *p)
{
	raw_syscall2(SYS_shutdown, p->fd, SHUT_RD);
	p->flags |= PUMP_TX_DONE;
}

/* One message; its bytes, 0 when there is none or it has to wait. */
static u32 pump_send_message(struct pump *p)
{
	struct plan *plan = &slot_self()->plan;
	struct iovec iov[PLAN_SPANS];
	struct msghdr msg = {.msg_iov = iov};
	u8 byte;
	s64 n = raw_recvfrom(p->fd, &byte, 1, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT, NULL, NULL);

	if (n < 0 || (n == 0 && p->flags & PUMP_RDHUP)) {
		p->flags &= ~(u32)PUMP_READABLE;
		p->flags |= p->flags & PUMP_RDHUP ? PUMP_TX_DONE : 0;
		return 0;
	}
	n = pump_reserve(p, plan, (u32)n);
	if (n == -EAGAIN)
		return 0;
	/* What cannot be sent is lost, as a datagram may be. */
	if (n >= 0)
		msg.msg_iovlen = pump_vector(host_stack(), plan, iov);
	n = raw_recvmsg(p->fd, &msg, MSG_DONTWAIT);
	if (plan->kind != PLAN_NONE)
		pump_filled(plan, n >= 0, (u32)MAX(n, 0));
	return (u32)MAX(n, 1);
}

/* One piece; bytes moved. */
static u32 pump_send(struct pump *p)
{
	struct plan *plan = &slot_self()->plan;
	u32 waiting = pump_waiting(p);
	s64 n;

	if (!waiting) {
		p->flags &= ~(u32)PUMP_READABLE;
		if (p->flags & PUMP_RDHUP) {
			pump_shutdown(p, SHUT_WR);
			p->flags |= PUMP_TX_DONE;
		}
		return 0;
	}
	n = pump_reserve(p, plan, MIN(waiting, TX_PIECE));
	if (n == -ENOBUFS)
		pump_mark(p, PUMP_RETRY);
	else if (n < 0 && n != -EAGAIN)
		pump_refuse(p);
	if (n <= 0)
		return 0;
	waiting = pump_fill(p, plan, (u32)n);
	pump_filled(plan, waiting > 0, waiting);
	return waiting;
}

/* --- turns --- */

/* The program has closed with bytes unread: the peer gets RST, as from Linux (RFC 2525 2.17). */
static void pump_abort(struct pump *p)
{
	struct sock *sk = sock_get(host_enter(), p->sk);

	if (sk) {
		sk->options |= OPT_LINGER;
		sk->linger_s = 0;
	}
	host_leave();
	pump_end(p);
}

/* Both directions have been looked at: is it over? */
static bool pump_over(struct pump *p)
{
	const struct sock *sk = sock_get(host_stack(), p->sk);

	if (!sk) {
		pump_end(p);
	} else if (p->flags & PUMP_RESET) {
		pump_end(p);
	} else if (p->flags & PUMP_HUP && p->flags & PUMP_TX_DONE) {
		/* After shutdown(SHUT_RDWR) another hang-up comes with the close. */
		p->flags &= ~(u32)PUMP_HUP;
		if (tether_exists(p->tether))
			return false;
		pump_end(p);
	} else {
		return false;
	}
	return true;
}

static void pump_turn(struct pump *p)
{
	u32 in = 0, out = 0, moved;

	if (!(p->flags & PUMP_USED) || p->flags & PUMP_UNHELD)
		return;
	pump_unmark(p, PUMP_RETRY);
	if (p->flags & PUMP_UNREAD) {
		pump_abort(p);
		return;
	}
	do {
		moved = 0;
		if (p->flags & PUMP_WRITABLE && !(p->flags & (PUMP_RX_DONE | PUMP_RESET))) {
			u32 n = pump_receive(p);

			in += n;
			moved += n;
		}
		if (p->flags & PUMP_RESET && !(p->flags & PUMP_TX_DONE))
			pump_refuse(p);
		if (p->flags & PUMP_READABLE && !(p->flags & PUMP_TX_DONE)) {
			u32 n = p->flags & PUMP_DGRAM ? pump_send_message(p) : pump_send(p);

			out += n;
			moved += n;
		}
	} while (moved && in < TURN && out < TURN);
	if (!pump_over(p) && moved)
		pump_queue(p);
}

/* --- beginning --- */

/* What kind of connection it is, and whether it begins with the byte of splice_mark. */
static void pump_first(struct pump *p)
{
	const struct sock *sk = sock_get(host_stack(), p->sk);
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	u8 byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	const struct cmsghdr *cmsg = (const struct cmsghdr *)(const void *)control;
	int fd;

	if (sk && sk->type == SOCK_DGRAM) {
		p->flags |= PUMP_DGRAM;
		return;
	}
	if (raw_recvmsg(p->fd, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1 ||
		msg.msg_controllen < CMSG_LEN(sizeof(int)) || cmsg->cmsg_type != SCM_RIGHTS)
		return;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	raw_close(fd);
	p->rest = 1;
	p->flags |= PUMP_MARKED;
}

bool pump_start(u32 tether, int fd, ref r)
{
	struct pump *p = pump_find(r);
	struct sock *sk = sock_get(host_stack(), r);
	int one = 1;

	if (!sk || sk->state == SOCK_LISTENING || (p && !(p->flags & PUMP_UNHELD)))
		return false;
	if (p)
		pump_free(p);
	p = pump_new(r);
	if (!p)
		return false;
	raw_setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
	p->fd = fd;
	p->tether = tether;
	p->flags |= PUMP_READABLE | PUMP_WRITABLE;
	pump_first(p);
	sk = sock_get(host_enter(), r);
	if (sk)
		splice_set(host_stack(), sk);
	host_leave();
	pump_queue(p);
	return true;
}

/* There are bytes to move: not for one that has no peer, who may yet be claimed to get one, or to
 * receive from many. */
static bool pump_has_peer(const struct sock *sk)
{
	return sk->state == SOCK_CONNECTED ||
	       (sk->type == SOCK_STREAM &&
		       (sk->state == SOCK_CONNECTING || sk->state == SOCK_DEAD));
}

/* A tethered socket that no member holds: a program that loads the library claims it soon. */
static void pump_unheld(ref sk)
{
	const struct sock *sock = sock_get(host_stack(), sk);
	struct pump *p = sock && pump_has_peer(sock) ? pump_new(sk) : NULL;

	if (!p)
		return;
	p->at_ns = host_now();
	pump_mark(p, PUMP_UNHELD);
}

/* The engine, or a member, has something to say about a socket. */
static void pump_notice(ref r)
{
	const struct sock *sk = sock_get(host_stack(), r);
	struct pump *p = pump_find(r);

	if (p && !(p->flags & PUMP_UNHELD))
		pump_queue(p);
	else if (sk && sk->flags & SOCK_SPLICED)
		tether_splice(r);
	else if (sk && sk->flags & SOCK_LENT)
		lend_notice(r);
	else if (sk && !p && sk->flags & SOCK_TETHERED && !sk->holders)
		pump_unheld(r);
}

/* --- the loop --- */

u64 pump_look(u64 now)
{
	u64 next = NEVER;

	for (u32 i = 0; i < pumps.touched && pumps.ticking; i++) {
		struct pump *p = &pumps.pump[i];
		const struct sock *sk = sock_get(host_stack(), p->sk);

		if (p->flags & PUMP_RETRY) {
			pump_queue(p);
			next = MIN(next, now + RETRY_NS);
		}
		if (!(p->flags & PUMP_UNHELD))
			continue;
		if (!sk || sk->holders)
			pump_free(p);
		else if (now - p->at_ns < UNHELD_NS)
			next = MIN(next, p->at_ns + UNHELD_NS);
		else
			tether_splice(p->sk);
	}
	if (pumps.head)
		bell_ring_keeper(host_local.host);
	return next;
}

static void pump_take_due(void)
{
	struct host *host = host_local.host;
	ref due[ARRAY_LEN(host->due)];
	u32 count, all;
	struct stack *s;

	if (!__atomic_load_n(&host->due_count, __ATOMIC_RELAXED) &&
		!__atomic_load_n(&host->due_all, __ATOMIC_RELAXED))
		return;
	s = host_enter();
	count = MIN(host->due_count, (u32)ARRAY_LEN(due));
	all = host->due_all;
	memcpy(due, host->due, count * sizeof(due[0]));
	for (u32 i = 0; i < (all ? slab_touched(s, SLAB_SOCK) : count); i++) {
		struct sock *sk = all ? slab_at(s, SLAB_SOCK, i) : sock_get(s, due[i]);

		if (sk)
			sk->flags &= ~(u32)SOCK_PUMP_DUE;
	}
	host->due_count = host->due_all = 0;
	host_leave();
	for (u32 i = 0; !all && i < count; i++)
		pump_notice(due[i]);
	for (u32 i = 0; all && i < slab_touched(s, SLAB_SOCK); i++) {
		const struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk && sk->flags & (SOCK_SPLICED | SOCK_TETHERED))
			pump_notice(sk->conn.slab.self);
	}
}

void pump_event(ref sk, u32 events)
{
	struct pump *p = pump_find(sk);

	if (!p)
		return;
	if (events & EPOLLIN)
		p->flags |= PUMP_READABLE;
	if (events & EPOLLOUT)
		p->flags |= PUMP_WRITABLE;
	if (events & (EPOLLRDHUP | EPOLLHUP))
		p->flags |= PUMP_RDHUP | PUMP_READABLE;
	if (events & EPOLLHUP)
		p->flags |= PUMP_HUP;
	if (events & EPOLLERR)
		p->flags |= PUMP_UNREAD;
	pump_queue(p);
}

void pump_serve(void)
{
	struct pump *p;
	u32 turns = 0;

	pump_take_due();
	while (turns++ < TURNS && (p = pump_next()))
		pump_turn(p);
	if (pumps.head)
		bell_ring_keeper(host_local.host);
}
