/*
 * Moving data: the loops behind every form of send and receive.
 *
 * Sending reserves packet memory under the lock, copies without it, and queues under it; a short
 * message is gathered on our own stack first and then goes in one step. A long one goes in pieces
 * of 64 KiB, so that the first is on its way while the next is copied. Receiving takes references,
 * copies, and takes off the queue what was copied: after a fault everything still is there. What a
 * stream has moved before an error, a timeout or a signal is the call's answer, and the error stays
 * for the next one (tcp_sendmsg_locked and tcp_recvmsg_locked of Linux).
 */
#include "preload/call.h"

#include <linux/sockios.h>
#include <pthread.h>

#include "preload/raw.h"

#define SHORT 1024u /* bytes gathered on our own stack */
#define PIECE 65536u

static void advance(struct cursor *c, u64 n)
{
	while (c->count && n >= c->iov->iov_len - c->offset) {
		n -= c->iov->iov_len - c->offset;
		c->offset = 0;
		c->iov++;
		c->count--;
	}
	c->offset += c->count ? n : 0;
}

static int gather(u8 *to, struct cursor from, u32 len)
{
	while (len) {
		u32 n = (u32)MIN((size_t)len, from.iov->iov_len - from.offset);

		if (guard_copy(to, (u8 *)from.iov->iov_base + from.offset, n) < 0)
			return -EFAULT;
		to += n;
		len -= n;
		from.iov++;
		from.offset = 0;
	}
	return 0;
}

/* Under the lock: room for len bytes; what of the socket decides how to go on. */
static s64 reserve(struct call *c, const struct call_data *d, u64 len, int flags, bool partial)
{
	static const struct plan_meta none = {.tos = -1, .ttl = -1};
	struct sock *sock = call_look_data(c, true);

	if (!sock)
		return c->gone;
	/* The error of a connection that ends in the middle of a call is the next call's. */
	if (partial && sock->error)
		return -sock->error;
	c->plan->flags = (u32)flags;
	c->plan->to = d->peer;
	if (!c->stream)
		c->plan->meta = d->meta ? *d->meta : none;
	return sock_send_reserve(c->stack, c->sk, c->plan, len);
}

static s64 send_short(struct call *c, const struct call_data *d, struct cursor *from, u32 len,
	int flags, bool partial)
{
	u8 bytes[SHORT];
	u32 done = 0;
	s64 n;

	if (gather(bytes, *from, len) < 0)
		return -EFAULT;
	host_enter();
	n = reserve(c, d, len, flags, partial);
	if (n >= 0 && c->plan->kind != PLAN_NONE) {
		for (u32 i = 0; i < c->plan->count; i++) {
			const struct span *span = &c->plan->span[i];

			memcpy(sock_span(c->stack, span), bytes + done, span->len);
			done += span->len;
		}
		n = sock_send_commit(c->stack, c->plan, done);
	}
	host_leave();
	if (n > 0)
		advance(from, (u64)n);
	return n;
}

static s64 send_long(struct call *c, const struct call_data *d, struct cursor *from, u64 len,
	int flags, bool partial)
{
	u32 copied;
	s64 n;

	host_enter();
	n = reserve(c, d, len, flags, partial);
	host_leave();
	if (n < 0 || c->plan->kind == PLAN_NONE)
		return n;
	copied = call_copy_in(c->stack, c->plan, from);
	host_enter();
	if (copied == c->plan->bytes || (c->stream && copied)) {
		n = sock_send_commit(c->stack, c->plan, copied);
	} else {
		sock_plan_drop(c->stack, c->plan);
		n = -EFAULT;
	}
	host_leave();
	return n;
}

/* Bytes are on their way with the SYN: a blocking call waits for the handshake, as connect does
 * (tcp_sendmsg_fastopen). 0, or why there is no connection. */
static s64 send_connected(struct call *c, const struct call_data *d)
{
	if (c->nonblocking || d->flags & MSG_DONTWAIT)
		return 0;
	for (;;) {
		s64 ret = 0;

		host_enter();
		if (call_look(c, true))
			ret = sock_connect_outcome(c->stack, c->sk);
		host_leave();
		if (ret != -EALREADY)
			return ret;
		if (call_block(c, EV_OUT, 0) < 0)
			return 0;
	}
}

static s64 send_once(struct call *c, const struct call_data *d)
{
	struct cursor from = {.iov = d->iov, .count = d->count};
	u64 done = 0;
	s64 n, failed;

	for (;;) {
		u64 left = d->len - done, memory = host_memory();
		int flags = d->flags | (left <= PIECE ? 0 : MSG_MORE);

		if (left <= SHORT)
			n = send_short(c, d, &from, (u32)left, flags, done > 0);
		else
			n = send_long(c, d, &from, MIN(left, PIECE), flags, done > 0);
		if (n == -ENOBUFS && host_grown(memory))
			continue;
		if (n > 0)
			done += (u64)n;
		if (n > 0 && c->stream && c->plan->flags & MSG_FASTOPEN &&
			(failed = send_connected(c, d)) < 0)
			return failed;
		if (n >= 0 && (n == 0 || done == d->len || !c->stream))
			break;
		if (n == -EAGAIN)
			n = call_block(c, EV_OUT, d->flags);
		if (n < 0)
			break;
	}
	return done ? (s64)done : n;
}

s64 call_send(int fd, ref sk, struct call_data *d)
{
	struct call c;
	s64 ret;

	pthread_testcancel();
	do {
		call_begin(&c, fd, sk);
		ret = send_once(&c, d);
	} while (call_again(&c, &ret));
	if (ret == -EPIPE && c.stream && !(d->flags & MSG_NOSIGNAL))
		call_sigpipe();
	return ret;
}

/* The other thread copies what it took: this is over soon. */
static void let_reader_finish(u32 tries)
{
	struct timespec pause = {.tv_nsec = tries < 8 ? 1 : 20000};

	raw_syscall2(SYS_nanosleep, (long)&pause, 0); /* sched_yield is forbidden in sandboxes */
}

static s64 take(struct call *c, struct call_data *d, u64 len, bool partial)
{
	for (u32 tries = 0;; tries++) {
		struct sock *sock;
		s64 n;

		host_enter();
		sock = call_look_data(c, false);
		if (!sock) {
			n = c->gone;
		} else if (partial && sock->error) {
			n = -sock->error;
		} else {
			d->options = sock->options;
			d->stamps = sock->tstamp_flags;
			d->ahead = d->flags & MSG_PEEK && sock->peek_off > 0;
			c->plan->flags = (u32)(d->flags | (c->nonblocking ? MSG_DONTWAIT : 0));
			c->plan->full_len = 0;
			c->plan->from.addr.family = FAMILY_NONE;
			if (d->meta)
				c->plan->meta = (struct plan_meta){.tos = -1, .ttl = -1};
			n = sock_recv_take(c->stack, c->sk, c->plan, len, c->reader);
		}
		host_leave();
		if (n != -EBUSY)
			return n;
		let_reader_finish(tries);
	}
}

/* One plan's worth. *more: the plan was full, so more may be there already. */
static s64 recv_step(
	struct call *c, struct call_data *d, struct cursor *to, u64 len, bool partial, bool *more)
{
	s64 n = take(c, d, len, partial);
	u32 copied;

	*more = false;
	d->stream_end = n == 0 && c->plan->kind == PLAN_NONE;
	if (n < 0 || c->plan->kind == PLAN_NONE)
		return n;
	*more = c->plan->count == PLAN_SPANS;
	/* TCP: the bytes are thrown away, not delivered (tcp(7)). */
	if (c->stream && d->flags & MSG_TRUNC)
		copied = c->plan->bytes;
	else
		copied = call_copy_out(c->stack, c->plan, to);
	d->full_len = c->plan->full_len;
	d->peer = c->plan->from;
	if (d->meta) {
		*d->meta = c->plan->meta;
		memcpy(d->stats, c->plan->stats, MIN(d->meta->stats_len, PLAN_STATS));
	}
	host_enter();
	if (copied == c->plan->bytes || (c->stream && copied)) {
		n = sock_recv_commit(c->stack, c->plan, copied);
	} else {
		sock_plan_drop(c->stack, c->plan);
		n = -EFAULT;
	}
	host_leave();
	return n;
}

/* What a stream's receive waits for before it returns (sock_rcvlowat). */
static u64 target_of(const struct call *c, const struct call_data *d)
{
	u64 low = d->flags & MSG_WAITALL ? d->len : MIN(c->lowat, d->len);

	return low ? low : 1;
}

/* Errors, and a stream's urgent byte, are there or are not. */
static bool waits_not(const struct call *c, const struct call_data *d)
{
	return d->flags & MSG_ERRQUEUE || (c->stream && d->flags & MSG_OOB);
}

/* Reading stops at the urgent mark, however much was asked for. */
static bool at_mark(struct call *c)
{
	int mark = 0;
	bool urgent;

	host_enter();
	urgent = sock_poll(c->stack, c->sk) & EV_PRI;
	sock_ioctl(c->stack, c->sk, SIOCATMARK, &mark);
	host_leave();
	return urgent || mark;
}

/*
 * MSG_PEEK with MSG_WAITALL: bytes that stay queued raise no event when more join them, so they are
 * looked at again every millisecond. Positive when that is to be done.
 */
static s64 wait_more(struct call *c, const struct call_data *d)
{
	u64 until = host_now() + NS_PER_MS;
	const struct sock *sock;
	bool more;

	if (!(d->flags & MSG_WAITALL) || d->flags & (MSG_DONTWAIT | MSG_OOB | MSG_TRUNC) ||
		c->nonblocking)
		return 0;
	sock = sock_get(host_enter(), c->sk);
	more = sock && !(sock->flags & SOCK_RCV_SHUT) && sock->state == SOCK_CONNECTED;
	host_leave();
	if (!more || at_mark(c))
		return 0;
	call_wait(c, EV_IN);
	if (c->deadline_ns <= until)
		return 0;
	return wait_one(c->sk, EV_RDHUP, until) == 0;
}

/* A reader that stands before an urgent byte reads past it, and goes on waiting. */
static u32 receive_events(struct call *c)
{
	u32 now;

	if (!c->stream)
		return EV_IN;
	now = sock_poll(host_enter(), c->sk);
	host_leave();
	return now & EV_PRI ? EV_IN : EV_IN | EV_PRI;
}

static s64 recv_once(struct call *c, struct call_data *d)
{
	struct cursor to = {.iov = d->iov, .count = d->count};
	u64 done = 0;
	bool more, last = false;
	s64 n, waited = 0;

	for (;;) {
		n = recv_step(c, d, &to, d->len - done, done > 0, &more);
		if (n > 0)
			done += (u64)n;
		if (n > 0 && d->flags & MSG_PEEK && c->stream && done < d->len && !more &&
			wait_more(c, d) > 0) {
			to = (struct cursor){.iov = d->iov, .count = d->count};
			done = 0;
			continue;
		}
		if (n >= 0 && (!c->stream || n == 0 || done == d->len || d->flags & MSG_PEEK))
			break;
		if (n > 0 && more)
			continue;
		if ((n < 0 && n != -EAGAIN) || last || done >= target_of(c, d) ||
			(done && at_mark(c)))
			break;
		waited =
			call_block(c, receive_events(c), waits_not(c, d) ? MSG_DONTWAIT : d->flags);
		/* What is there raises no event when more joins it. */
		if (waited > 0 && d->ahead)
			wait_one(c->sk, EV_RDHUP, MIN(c->deadline_ns, host_now() + NS_PER_MS));
		/* The kernel's loop ends with a wait for nothing, whatever ended that. */
		if (c->stream && c->waited && !d->len && waited != -EPIPE &&
			waited != CALL_NOT_OURS) {
			n = 0;
			break;
		}
		/* What came without reaching SO_RCVLOWAT is delivered when the wait is over. */
		last = waited < 0;
		if (last &&
			(!c->stream || waited == CALL_NOT_OURS || waited == -EPIPE || !c->waited))
			break;
	}
	if (last && n < 0)
		n = waited;
	return done ? (s64)done : n;
}

s64 call_recv(int fd, ref sk, struct call_data *d)
{
	struct call c;
	s64 ret;

	pthread_testcancel();
	do {
		call_begin(&c, fd, sk);
		ret = recv_once(&c, d);
	} while (call_again(&c, &ret));
	return ret;
}

s64 call_sendto(int fd, ref sk, const void *buf, size_t len, int flags, const struct sockaddr *addr,
	socklen_t addr_len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = MIN(len, CALL_MOST)};
	struct call_data d = {.iov = &iov, .count = 1, .len = iov.iov_len, .flags = flags};
	struct sockaddr_storage name;
	s64 ret;

	if (!addr && !(flags & MSG_FASTOPEN))
		return call_send(fd, sk, &d);
	if (!addr)
		addr_len = 0;
	ret = call_addr_in(&name, addr, addr_len);
	return ret < 0 ? ret : call_send_to(fd, sk, &d, &name, addr_len);
}

s64 call_recvfrom(int fd, ref sk, void *buf, size_t len, int flags, struct sockaddr *addr,
	socklen_t *addr_len)
{
	struct iovec iov = {.iov_base = buf, .iov_len = MIN(len, CALL_MOST)};
	struct call_data d = {.iov = &iov, .count = 1, .len = iov.iov_len, .flags = flags};
	s64 ret = call_recv(fd, sk, &d);
	socklen_t none = 0;
	int fault;

	if (ret < 0)
		return ret;
	if (flags & MSG_TRUNC && d.full_len > ret && d.peer.addr.family != FAMILY_NONE)
		ret = d.full_len;
	if (!addr)
		return ret;
	/* A stream tells no source: only the length is written (tcp_recvmsg leaves msg_namelen 0).
	 */
	if (d.peer.addr.family == FAMILY_NONE)
		fault = guard_copy(addr_len, &none, sizeof(none));
	else
		fault = call_addr_out(&d.peer, addr, addr_len);
	return fault < 0 ? fault : ret;
}

static s64 any_list(int fd, ref sk, const struct iovec *iov, int count, int flags, bool sending)
{
	struct call_data d = {.count = (u32)count, .flags = flags};
	struct iovec brief[CALL_BRIEF], *list;
	s64 ret;

	if (count < 0 || count > UIO_MAXIOV)
		return -EINVAL;
	list = call_list(brief, (u64)count);
	if (!list)
		return -ENOMEM;
	ret = call_import(list, iov, (u64)count);
	if (ret > 0) { /* the kernel asks no socket about nothing */
		d.iov = list;
		d.len = (u64)ret;
		ret = sending ? call_send(fd, sk, &d) : call_recv(fd, sk, &d);
	}
	call_list_free(list, brief);
	return ret;
}

s64 call_readv(int fd, ref sk, const struct iovec *iov, int count, int flags)
{
	return any_list(fd, sk, iov, count, flags, false);
}

s64 call_writev(int fd, ref sk, const struct iovec *iov, int count, int flags)
{
	return any_list(fd, sk, iov, count, flags, true);
}
