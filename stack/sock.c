/*
 * Sockets: making, naming, connecting, closing, and readiness; what is the same for all protocols.
 *
 * Every call finds its socket, checks what Linux checks before the protocol is asked, and calls the
 * protocol's operation (sock_proto.h). The objects that an operation may leave half changed are
 * named in s->touched while it runs.
 */
#include "stack/linux.h"
#include "stack/sock_memory.h"

#define SOCKS_MAX 262144u

const struct sock_ops *sock_ops_of(u8 proto)
{
	return proto == PROTO_TCP ? &tcp_ops : &udp_ops;
}

static const struct sock_ops *ops_of(const struct sock *sk)
{
	return sock_ops_of(sk->conn.proto);
}

/* Finds the socket of a call, and names it as touched until leave(). */
static struct sock *enter(struct stack *s, ref r)
{
	struct sock *sk = slab_get(s, SLAB_SOCK, r);

	if (sk)
		s->touched[0] = r;
	return sk;
}

static int leave(struct stack *s, int ret)
{
	s->touched[0] = 0;
	return ret;
}

static s64 leave64(struct stack *s, s64 ret)
{
	s->touched[0] = 0;
	return ret;
}

void sock_init(struct stack *s)
{
	slab_init(s, SLAB_SOCK, sizeof(struct sock), SOCKS_MAX);
	slab_init(s, SLAB_PORT, sizeof(struct port), 2 * 65536);
	slab_init(s, SLAB_MEMBERSHIP, sizeof(struct membership), 65536);
	hash_init(s, &s->conns, (u32)offsetof(struct conn, by_tuple));
	hash_init(s, &s->ports, (u32)offsetof(struct port, by_number));
	s->next_cookie = 1;
}

struct sock *sock_get(struct stack *s, ref sk)
{
	return slab_get(s, SLAB_SOCK, sk);
}

/* What protocol a socket of a type speaks, as inet_create() finds it; or a negative errno. */
static int choose_protocol(int type, int protocol)
{
	if (type < 0 || type >= LX_SOCK_MAX || protocol < 0 || protocol >= LX_IPPROTO_MAX)
		return -EINVAL;
	switch (type) {
	case LX_SOCK_STREAM:
		return protocol == 0 || protocol == PROTO_TCP ? PROTO_TCP : -EPROTONOSUPPORT;
	case LX_SOCK_DGRAM:
		/* Ping sockets: the kernel's default ping_group_range admits nobody. */
		if (protocol == PROTO_ICMP)
			return -EACCES;
		if (protocol == PROTO_UDPLITE)
			return PROTO_UDPLITE;
		return protocol == 0 || protocol == PROTO_UDP ? PROTO_UDP : -EPROTONOSUPPORT;
	case LX_SOCK_RAW:
		return -EPROTONOSUPPORT;
	default:
		return -ESOCKTNOSUPPORT;
	}
}

static void set_defaults(struct stack *s, struct sock *sk)
{
	const struct stack_tunables *t = &s->tunables;
	bool tcp = sk->conn.proto == PROTO_TCP;

	sk->rcvbuf = tcp ? t->tcp_rmem[1] : t->rmem_default;
	sk->sndbuf = tcp ? t->tcp_wmem[1] : t->wmem_default;
	sk->rcvlowat = 1;
	sk->multicast_ttl = 1;
	sk->options = OPT_MULTICAST_LOOP | OPT_MULTICAST_ALL;
	sk->mtu_discover = LX_IP_PMTUDISC_WANT;
	sk->max_pacing_rate = ~0ull;
	sk->peek_off = -1;
}

/* An unconnected socket of its protocol with no options set; NULL without room. */
static struct sock *make(struct stack *s, u8 proto, u8 type)
{
	struct sock *sk = slab_get(s, SLAB_SOCK, slab_alloc(s, SLAB_SOCK));

	if (!sk)
		return NULL;
	sk->conn.proto = proto;
	sk->conn.local.addr = sk->conn.remote.addr = addr_v4(0);
	sk->family = FAMILY_INET;
	sk->type = type;
	sk->state = SOCK_CLOSED;
	sk->cookie = s->next_cookie++;
	sk->timer.deadline_ns = NEVER;
	set_defaults(s, sk);
	return sk;
}

ref sock_open(struct stack *s, int family, int type, int protocol, int *error)
{
	struct sock *sk;
	int proto;

	*error = 0;
	if (family != FAMILY_INET) {
		*error = -EAFNOSUPPORT;
		return 0;
	}
	proto = choose_protocol(type, protocol);
	if (proto < 0) {
		*error = proto;
		return 0;
	}
	sk = make(s, (u8)proto, (u8)type);
	if (!sk) {
		*error = -ENOBUFS;
		return 0;
	}
	*error = ops_of(sk)->open(s, sk);
	if (*error < 0) {
		slab_free(s, sk->conn.slab.self);
		return 0;
	}
	return sk->conn.slab.self;
}

/* Linux's inet_addr_valid_or_nonlocal. */
static bool may_bind(struct stack *s, const struct sock *sk, const struct addr *a)
{
	if (sk->options & (OPT_FREEBIND | OPT_TRANSPARENT) || s->tunables.ip_nonlocal_bind)
		return true;
	return addr_is_any(a) || addr_is_multicast(a) || netif_is_local(s, a) ||
	       netif_is_broadcast(s, a);
}

int sock_bind(struct stack *s, ref r, const struct endpoint *local)
{
	struct sock *sk = enter(s, r);
	struct addr addr = local->addr;
	int ret = 0;

	if (!sk)
		return -EBADF;
	/* For compatibility with old programs: AF_UNSPEC is taken for AF_INET if the address is the
	 * wildcard. */
	if (addr.family == FAMILY_NONE && addr_is_any(&addr))
		addr = addr_v4(0);
	if (addr.family != sk->family)
		return leave(s, -EAFNOSUPPORT);
	if (!may_bind(s, sk, &addr))
		return leave(s, -EADDRNOTAVAIL);
	if ((sk->state != SOCK_CLOSED && sk->state != SOCK_DEAD) || sk->conn.port)
		return leave(s, -EINVAL);
	sk->conn.local.addr = addr;
	if (local->port || !(sk->options & OPT_BIND_NO_PORT))
		ret = port_bind(s, sk, local->port);
	if (ret < 0) {
		sk->conn.local.addr = addr_v4(0);
		return leave(s, ret);
	}
	if (!addr_is_any(&addr))
		sk->flags |= SOCK_BOUND_ADDR;
	if (local->port)
		sk->flags |= SOCK_BOUND_PORT;
	return leave(s, 0);
}

void sock_fix_remote(const struct sock *sk, struct endpoint *remote)
{
	if (!addr_is_any(&remote->addr))
		return;
	if (!addr_is_any(&sk->conn.local.addr) && !addr_is_multicast(&sk->conn.local.addr))
		remote->addr = sk->conn.local.addr;
	else
		remote->addr = addr_v4(0x7f000001);
}

struct addr sock_source(struct stack *s, const struct sock *sk)
{
	const struct addr *a = &sk->conn.local.addr;

	if (addr_is_any(a) || addr_is_multicast(a) || netif_is_broadcast(s, a))
		return (struct addr){0};
	return *a;
}

void sock_unbind(struct stack *s, struct sock *sk)
{
	if (!(sk->flags & SOCK_BOUND_ADDR))
		sk->conn.local.addr = addr_v4(0);
	if (!(sk->flags & SOCK_BOUND_PORT)) {
		port_detach(s, &sk->conn);
		/* Linux goes on showing the port of a TCP socket, though it holds it no more. */
		if (sk->conn.proto != PROTO_TCP)
			sk->conn.local.port = 0;
	}
}

/* connect(AF_UNSPEC): what the program did not choose itself is given up. */
int sock_dissolve(struct stack *s, struct sock *sk)
{
	/* A connection's end has given the port up; one bound since then is kept (tcp_disconnect). */
	bool keeps_port = sk->type == LX_SOCK_STREAM &&
			  (sk->state == SOCK_CLOSED || sk->state == SOCK_DEAD);
	int ret = ops_of(sk)->disconnect(s, sk);

	if (ret < 0)
		return ret;
	if (sk->flags & SOCK_HASHED)
		conn_remove(s, &sk->conn);
	sk->conn.remote = (struct endpoint){.addr = addr_v4(0)};
	sk->state = SOCK_CLOSED;
	sk->flags &= ~(u32)(SOCK_CONNECT_PENDING | SOCK_WAS_CONNECTED);
	if (sk->type == LX_SOCK_STREAM) {
		sk->flags &= ~(u32)(SOCK_RCV_SHUT | SOCK_SND_SHUT);
		sk->dissolved++;
	}
	if (!keeps_port)
		sock_unbind(s, sk);
	else if (!(sk->flags & SOCK_BOUND_ADDR))
		sk->conn.local.addr = addr_v4(0);
	return 0;
}

/* The outcome of a connect that has been begun, told once (__inet_stream_connect). */
static int connect_outcome(struct stack *s, struct sock *sk)
{
	int error;

	if (sk->state == SOCK_CONNECTING)
		return -EALREADY;
	sk->flags &= ~(u32)SOCK_CONNECT_PENDING;
	if (sk->state == SOCK_CONNECTED)
		return 0;
	error = sk->error ? sk->error : ECONNABORTED;
	sk->error = 0;
	sock_dissolve(s, sk);
	return -error;
}

static int connect_stream(struct stack *s, struct sock *sk, const struct endpoint *remote)
{
	struct endpoint to = *remote;
	int ret;

	if (sk->flags & SOCK_CONNECT_PENDING)
		return connect_outcome(s, sk);
	if (sk->state == SOCK_DEAD && !(sk->flags & SOCK_WAS_CONNECTED))
		return -EINVAL; /* Linux's SS_DISCONNECTING */
	if (sk->state != SOCK_CLOSED)
		return -EISCONN;
	if (to.addr.family != sk->family)
		return -EAFNOSUPPORT;
	sock_fix_remote(sk, &to);
	ret = ops_of(sk)->connect(s, sk, &to);
	if (ret == -EINPROGRESS)
		sk->flags |= SOCK_CONNECT_PENDING;
	return ret;
}

int sock_connect(struct stack *s, ref r, const struct endpoint *remote)
{
	struct sock *sk = enter(s, r);
	struct endpoint to = *remote;
	int ret;

	if (!sk)
		return -EBADF;
	if (to.addr.family == FAMILY_NONE) {
		ret = sock_dissolve(s, sk);
	} else if (sk->type == LX_SOCK_STREAM) {
		ret = connect_stream(s, sk, &to);
	} else if (to.addr.family != sk->family) {
		ret = -EAFNOSUPPORT;
	} else {
		sock_fix_remote(sk, &to);
		ret = ops_of(sk)->connect(s, sk, &to);
	}
	stack_run_loopback(s);
	return leave(s, ret);
}

int sock_connect_outcome(struct stack *s, ref r)
{
	struct sock *sk = enter(s, r);

	if (!sk)
		return -EBADF;
	return leave(s, sk->flags & SOCK_CONNECT_PENDING ? connect_outcome(s, sk) : 0);
}

int sock_listen(struct stack *s, ref r, int backlog)
{
	struct sock *sk = enter(s, r);
	u32 most = backlog < 0 || (u32)backlog > s->tunables.somaxconn ? s->tunables.somaxconn
								       : (u32)backlog;
	int ret;

	if (!sk)
		return -EBADF;
	if (!ops_of(sk)->listen)
		return leave(s, -EOPNOTSUPP);
	if (sk->state != SOCK_CLOSED && sk->state != SOCK_LISTENING)
		return leave(s, -EINVAL);
	if (sk->flags & (SOCK_CONNECT_PENDING))
		return leave(s, -EINVAL);
	if (sk->state == SOCK_CLOSED) {
		ret = sk->conn.port ? port_listen_check(s, sk) : port_bind(s, sk, 0);
		if (ret < 0)
			return leave(s, ret);
	}
	ret = ops_of(sk)->listen(s, sk, most);
	if (ret == 0) {
		sk->state = SOCK_LISTENING;
		sk->conn.bind |= CONN_LISTENING;
	}
	return leave(s, ret);
}

ref sock_accept(struct stack *s, ref r, int *error)
{
	struct sock *sk = enter(s, r);
	ref child = 0;

	*error = 0;
	if (!sk)
		*error = -EBADF;
	else if (!ops_of(sk)->accept)
		*error = -EOPNOTSUPP;
	else if (sk->state != SOCK_LISTENING)
		*error = -EINVAL;
	else
		child = ops_of(sk)->accept(s, sk, error);
	leave(s, 0);
	return child;
}

int sock_shutdown(struct stack *s, ref r, int how)
{
	struct sock *sk = enter(s, r);
	int ret;

	if (!sk)
		return -EBADF;
	if (how < LX_SHUT_RD || how > LX_SHUT_RDWR)
		return leave(s, -EINVAL);
	ret = ops_of(sk)->shutdown(s, sk, how);
	stack_run_loopback(s);
	return leave(s, ret);
}

u64 sock_close(struct stack *s, ref r)
{
	struct sock *sk = enter(s, r);
	u64 linger_ns;

	if (!sk)
		return 0;
	sk->flags |= SOCK_ORPHAN;
	mcast_drop_all(s, sk);
	linger_ns = ops_of(sk)->close(s, sk);
	stack_run_loopback(s);
	leave(s, 0);
	return linger_ns;
}

int sock_name(struct stack *s, ref r, struct endpoint *local)
{
	const struct sock *sk = sock_get(s, r);

	if (!sk)
		return -EBADF;
	*local = sk->conn.local;
	return 0;
}

int sock_peer(struct stack *s, ref r, struct endpoint *remote)
{
	const struct sock *sk = sock_get(s, r);

	if (!sk)
		return -EBADF;
	if (sk->state != SOCK_CONNECTED || !sk->conn.remote.port)
		return -ENOTCONN;
	*remote = sk->conn.remote;
	return 0;
}

int sock_error(struct stack *s, ref r)
{
	struct sock *sk = sock_get(s, r);
	int error = sk ? sk->error : EBADF;

	if (sk)
		sk->error = 0;
	return error;
}

u32 sock_poll(struct stack *s, ref r)
{
	struct sock *sk = sock_get(s, r);

	return sk ? ops_of(sk)->poll(s, sk) : EV_ERR | EV_HUP;
}

int sock_ioctl(struct stack *s, ref r, unsigned request, int *value)
{
	struct sock *sk = sock_get(s, r);

	return sk ? ops_of(sk)->ioctl(s, sk, request, value) : -EBADF;
}

/* --- data --- */

s64 sock_send_reserve(struct stack *s, ref r, struct plan *plan, u64 len)
{
	struct sock *sk = enter(s, r);

	s64 ret;

	plan->kind = PLAN_NONE;
	ret = sk ? ops_of(sk)->send_reserve(s, sk, plan, len) : -EBADF;
	stack_run_loopback(s);
	return leave64(s, ret);
}

s64 sock_send_commit(struct stack *s, struct plan *plan, u32 copied)
{
	struct sock *sk = enter(s, plan->sock);
	s64 ret = -EBADF;

	if (sk && plan->kind == PLAN_SEND)
		ret = ops_of(sk)->send_commit(s, sk, plan, copied);
	sock_plan_end(s, plan);
	stack_run_loopback(s);
	return leave64(s, ret);
}

s64 sock_recv_take(struct stack *s, ref r, struct plan *plan, u64 len, ref reader)
{
	struct sock *sk = enter(s, r);
	s64 ret;

	plan->kind = PLAN_NONE;
	plan->count = 0;
	if (!sk)
		return leave64(s, -EBADF);
	if (plan->flags & LX_MSG_ERRQUEUE)
		return leave64(s, sock_errqueue_take(s, sk, plan, len));
	if (sk->reader && sk->reader != reader)
		return leave64(s, -EBUSY);
	ret = ops_of(sk)->recv_take(s, sk, plan, len);
	/* Bytes of a stream stay queued until they have been copied; a datagram has left the queue.
	 */
	if (plan->kind == PLAN_RECV && sk->type == LX_SOCK_STREAM && !(plan->flags & LX_MSG_PEEK))
		sk->reader = reader;
	return leave64(s, ret);
}

/*
 * The reader's turn is over. Nothing is raised: what is still queued is no news to an
 * edge-triggered epoll item, and others that found -EBUSY find EV_IN in the poll mask meanwhile.
 */
static void release_reader(struct sock *sk, const struct plan *plan)
{
	if (plan->kind == PLAN_RECV && !(plan->flags & LX_MSG_PEEK))
		sk->reader = 0;
}

s64 sock_recv_commit(struct stack *s, struct plan *plan, u32 copied)
{
	struct sock *sk = enter(s, plan->sock);
	s64 ret = copied;

	if (sk && plan->kind == PLAN_RECV && !(plan->meta.msg_flags & LX_MSG_ERRQUEUE)) {
		ret = ops_of(sk)->recv_commit(s, sk, plan, copied);
		release_reader(sk, plan);
	}
	sock_plan_end(s, plan);
	stack_run_loopback(s);
	return leave64(s, ret);
}

void sock_plan_drop(struct stack *s, struct plan *plan)
{
	struct sock *sk = sock_get(s, plan->sock);

	if (sk && plan->kind == PLAN_SEND)
		ops_of(sk)->send_drop(s, sk, plan);
	else if (sk && plan->kind == PLAN_RECV)
		release_reader(sk, plan);
	sock_plan_end(s, plan);
}

void *sock_span(struct stack *s, const struct span *span)
{
	struct pkt *p = pkt_get(s, span->pkt);

	if (!p || span->offset > p->room || span->len > p->room - span->offset)
		return NULL;
	return p->data + span->offset;
}

void sock_plan_begin(struct stack *s, struct sock *sk, struct plan *plan, enum plan_kind kind)
{
	(void)s;
	plan->sock = sk->conn.slab.self;
	plan->count = 0;
	plan->bytes = 0;
	plan->full_len = 0;
	plan->kind = (u8)kind;
}

bool sock_plan_add(struct stack *s, struct plan *plan, ref pkt, u32 offset, u32 len)
{
	if (plan->count >= PLAN_SPANS)
		return false;
	pkt_hold(s, pkt);
	plan->span[plan->count] = (struct span){.pkt = pkt, .offset = offset, .len = len};
	plan->count++;
	plan->bytes += len;
	return true;
}

void sock_plan_end(struct stack *s, struct plan *plan)
{
	u32 count = MIN(plan->count, (u32)PLAN_SPANS);

	if (plan->kind == PLAN_NONE)
		return;
	plan->kind = PLAN_NONE;
	plan->count = 0;
	for (u32 i = 0; i < count; i++)
		pkt_release(s, plan->span[i].pkt);
	plan->sock = 0;
}

/* --- the device's queue --- */

/* Before the last quarter of the queue datagrams wait; that is left to segments, acknowledgements
 * and answers. */
bool sock_tx_full(const struct stack *s)
{
	return s->tx_head - s->tx_freed >= STACK_TX_RING / 4 * 3;
}

void sock_tx_wait(struct stack *s, struct sock *sk)
{
	if (sk->flags & SOCK_TX_WAIT)
		return;
	sk->flags |= SOCK_TX_WAIT;
	sk->tx_wait_next = s->tx_wait_head;
	s->tx_wait_head = sk->conn.slab.self;
}

void sock_tx_room(struct stack *s)
{
	if (!s->tx_wait_head || s->tx_head - s->tx_freed >= STACK_TX_RING / 2)
		return;
	for (struct sock *sk; (sk = sock_get(s, s->tx_wait_head)) != NULL;) {
		s->tx_wait_head = sk->tx_wait_next;
		sk->flags &= ~(u32)SOCK_TX_WAIT;
		sock_raise(s, sk, EV_OUT);
	}
}

static void forget_tx_wait(struct stack *s, struct sock *sk)
{
	ref *at = &s->tx_wait_head;

	if (!(sk->flags & SOCK_TX_WAIT))
		return;
	for (struct sock *w; (w = sock_get(s, *at)) != NULL; at = &w->tx_wait_next)
		if (w == sk) {
			*at = sk->tx_wait_next;
			return;
		}
}

/* --- for the protocols --- */

void sock_raise(struct stack *s, struct sock *sk, u32 events)
{
	ref self = sk->conn.slab.self;
	struct sock *tail;

	sk->events |= events;
	if (sk->flags & SOCK_CHANGED)
		return;
	sk->flags |= SOCK_CHANGED;
	sk->changed_next = 0;
	tail = sock_get(s, s->changed_tail);
	if (tail)
		tail->changed_next = self;
	else
		s->changed_head = self;
	s->changed_tail = self;
}

/* Takes a socket that is to be freed off the list of changes, which the caller empties after every
 * entry: it is short. */
static void forget_change(struct stack *s, struct sock *sk)
{
	struct sock *prev = NULL;

	if (!(sk->flags & SOCK_CHANGED))
		return;
	for (struct sock *at = sock_get(s, s->changed_head); at;
		at = sock_get(s, at->changed_next)) {
		if (at == sk) {
			if (prev)
				prev->changed_next = sk->changed_next;
			else
				s->changed_head = sk->changed_next;
			if (s->changed_tail == sk->conn.slab.self)
				s->changed_tail = prev ? prev->conn.slab.self : 0;
			break;
		}
		prev = at;
	}
	sk->flags &= ~(u32)SOCK_CHANGED;
}

void sock_fail(struct stack *s, struct sock *sk, int error)
{
	sk->error = error;
	sock_raise(s, sk, EV_ERR | EV_IN | EV_OUT);
}

void sock_free(struct stack *s, struct sock *sk)
{
	ref self = sk->conn.slab.self;

	ops_of(sk)->destroy(s, sk);
	wheel_cancel(s, self);
	forget_change(s, sk);
	forget_tx_wait(s, sk);
	mcast_drop_all(s, sk);
	if (sk->flags & SOCK_HASHED)
		conn_remove(s, &sk->conn);
	port_detach(s, &sk->conn);
	sock_memory_purge(s, sk, &sk->rxq);
	sock_memory_purge(s, sk, &sk->errq);
	if (sk->conn.proto == PROTO_TCP) { /* what plans hold will not find it any more */
		sock_memory_give(s, &sk->rx_charged, sk->rx_charged);
		sock_memory_give(s, &sk->tx_charged, sk->tx_charged);
	}
	if (sk->filter)
		pkt_release(s, sk->filter);
	if (sk->cork)
		pkt_release(s, sk->cork);
	slab_free(s, self);
}

/* What sk_clone_lock leaves of the listener in its child. */
static void inherit(struct sock *sk, const struct sock *from)
{
	sk->options = from->options;
	sk->conn.bind = from->conn.bind & (CONN_REUSEADDR | CONN_REUSEPORT);
	sk->conn.ifindex = from->conn.ifindex;
	sk->flags = from->flags & (SOCK_BOUND_ADDR | SOCK_RCV_SHUT | SOCK_SND_SHUT);
	sk->rcvbuf = from->rcvbuf;
	sk->sndbuf = from->sndbuf;
	sk->rcvlowat = from->rcvlowat;
	sk->mark = from->mark;
	sk->rcvtimeo_ns = from->rcvtimeo_ns;
	sk->sndtimeo_ns = from->sndtimeo_ns;
	sk->linger_s = from->linger_s;
	sk->tstamp_flags = from->tstamp_flags;
	sk->peek_off = from->peek_off;
	sk->max_pacing_rate = from->max_pacing_rate;
	sk->tos = from->tos;
	sk->ttl = from->ttl;
	sk->multicast_ttl = from->multicast_ttl;
	sk->multicast_if = from->multicast_if;
	sk->multicast_src = from->multicast_src;
	sk->mtu_discover = from->mtu_discover;
	sk->min_ttl = from->min_ttl;
	sk->unicast_if = from->unicast_if;
	sk->port_low = from->port_low;
	sk->port_high = from->port_high;
	sk->stored = from->stored;
	sk->busy_poll_us = from->busy_poll_us;
	sk->reserve_mem = from->reserve_mem;
	sk->incoming_cpu = from->incoming_cpu;
}

ref sock_spawn(struct stack *s, const struct sock *listener, const struct endpoint *local,
	const struct endpoint *remote)
{
	struct sock *sk = make(s, listener->conn.proto, listener->type);

	if (!sk)
		return 0;
	inherit(sk, listener);
	sk->conn.local = *local;
	sk->conn.remote = *remote;
	sk->state = SOCK_CONNECTED;
	sk->flags |= SOCK_WAS_CONNECTED;
	if (listener->filter) {
		pkt_hold(s, listener->filter);
		sk->filter = listener->filter;
	}
	if (ops_of(sk)->open(s, sk) < 0) {
		if (sk->filter)
			pkt_release(s, sk->filter);
		slab_free(s, sk->conn.slab.self);
		return 0;
	}
	port_attach(s, listener->conn.port, &sk->conn, true);
	conn_insert(s, &sk->conn);
	return sk->conn.slab.self;
}
