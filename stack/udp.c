/*
 * UDP and UDP-Lite sockets: connecting, receiving, readiness, options. Datagrams come in by
 * udp_in.c and go out by udp_out.c.
 *
 * A socket is in its port's list of open ones while it has no peer, and in the connection table
 * while it has one.
 */
#include "stack/linux.h"
#include "stack/udp.h"

static int udp_open(struct stack *s, struct sock *sk)
{
	(void)s;
	(void)sk;
	return 0;
}

static void udp_destroy(struct stack *s, struct sock *sk)
{
	(void)s;
	(void)sk;
}

/* net/ipv4/datagram.c: the address once chosen for a peer stays for the next one, unless
 * connect(AF_UNSPEC) comes between. */
static int udp_connect(struct stack *s, struct sock *sk, const struct endpoint *remote)
{
	u32 ifindex = sk->conn.ifindex;
	struct path path;
	int ret;

	if (!sk->conn.port) {
		ret = sock_autobind(s, sk, NULL);
		if (ret < 0)
			return ret;
	}
	if (!ifindex && addr_is_multicast(&remote->addr))
		ifindex = sk->multicast_if;
	ret = ip_route(s, &remote->addr, ifindex, &path);
	if (ret < 0)
		return ret;
	if (netif_is_broadcast(s, &remote->addr) && !(sk->options & OPT_BROADCAST))
		return -EACCES;
	if (sk->flags & SOCK_HASHED)
		conn_remove(s, &sk->conn);
	if (addr_is_any(&sk->conn.local.addr)) {
		sk->conn.local.addr = path.source;
		if (addr_is_multicast(&remote->addr) && sk->multicast_src.family != FAMILY_NONE &&
			!addr_is_any(&sk->multicast_src))
			sk->conn.local.addr = sk->multicast_src;
	}
	sk->conn.remote = *remote;
	sk->state = SOCK_CONNECTED;
	conn_insert(s, &sk->conn);
	return 0;
}

static int udp_disconnect(struct stack *s, struct sock *sk)
{
	(void)s;
	(void)sk;
	return 0;
}

/* Without a peer the answer is an error, but waiting calls are ended all the same (inet_shutdown).
 */
static int udp_shutdown(struct stack *s, struct sock *sk, int how)
{
	if (how != LX_SHUT_WR)
		sk->flags |= SOCK_RCV_SHUT;
	if (how != LX_SHUT_RD)
		sk->flags |= SOCK_SND_SHUT;
	sock_raise(s, sk, EV_IN | EV_OUT | EV_RDHUP | EV_HUP);
	return sk->state == SOCK_CONNECTED ? 0 : -ENOTCONN;
}

static u64 udp_close(struct stack *s, struct sock *sk)
{
	sock_free(s, sk);
	return 0;
}

/* datagram_poll */
static u32 udp_poll(struct stack *s, struct sock *sk)
{
	u32 events = 0;

	if (sk->error || sk->errq.count)
		events |= EV_ERR | (sock_stored(sk, STORED_SELECT_ERR_QUEUE) ? EV_PRI : 0);
	if (sk->flags & SOCK_RCV_SHUT)
		events |= EV_IN | EV_RDHUP | (sk->flags & SOCK_SND_SHUT ? EV_HUP : 0);
	if (sk->rxq.count)
		events |= EV_IN;
	if (!sock_tx_full(s))
		events |= EV_OUT;
	else
		sock_tx_wait(s, sk);
	return events;
}

static void udp_send_drop(struct stack *s, struct sock *sk, struct plan *plan)
{
	(void)s;
	(void)sk;
	(void)plan;
}

/* The address of ours that an answer would come from (fib_compute_spec_dst). */
static struct addr spec_dst(struct stack *s, const struct pkt *p)
{
	struct path path;

	if (!addr_is_multicast(&p->to.addr) && !netif_is_broadcast(s, &p->to.addr))
		return p->to.addr;
	return ip_route(s, &p->from.addr, 0, &path) == 0 ? path.source : addr_v4(0);
}

/* Packets between our own addresses are reported as of the interface that has the address
 * (ipv4_pktinfo_prepare). */
static u32 pktinfo_ifindex(struct stack *s, const struct pkt *p)
{
	u32 owner = p->ifindex == NETIF_LOOPBACK ? mcast_ifindex_of(s, &p->to.addr) : 0;

	return owner ? owner : p->ifindex;
}

static void fill_meta(
	struct stack *s, const struct sock *sk, const struct pkt *p, struct plan *plan, u32 take)
{
	plan->from = p->from;
	plan->to = p->to;
	plan->full_len = pkt_len(p);
	plan->meta = (struct plan_meta){
		.local = p->to.addr,
		.spec = spec_dst(s, p),
		.ifindex = pktinfo_ifindex(s, p),
		.local_port = p->to.port,
		.tos = p->tos,
		.ttl = p->ttl,
		.gso_size = sk->options & OPT_UDP_GRO && p->offload.gso_type == OFFLOAD_GSO_UDP_L4
				    ? p->offload.gso_size
				    : 0,
		.time_ns = p->time_ns,
		.dropped = p->mark,
		.msg_flags = take < pkt_len(p) ? LX_MSG_TRUNC : 0,
	};
}

static s64 udp_recv_take(struct stack *s, struct sock *sk, struct plan *plan, u64 len)
{
	ref r = sk->rxq.head;
	struct pkt *p = r ? pkt_get(s, r) : NULL;
	u32 take, ahead = sock_peek_from(sk, plan->flags), left;
	int error = sk->error;

	if (error) {
		sk->error = 0;
		return -error;
	}
	/* SO_PEEK_OFF goes from one datagram to the next. */
	for (; p && ahead && ahead >= pkt_len(p); p = pkt_get(s, r)) {
		ahead -= pkt_len(p);
		r = p->next;
	}
	if (!p) {
		/* A call that would wait is ended by shutdown; one that would not finds nothing, as
		 * on Linux. */
		return sk->flags & SOCK_RCV_SHUT && !(plan->flags & LX_MSG_DONTWAIT) ? 0 : -EAGAIN;
	}
	left = pkt_len(p) - ahead;
	take = (u32)MIN(len, (u64)left);
	sock_plan_begin(s, sk, plan, PLAN_RECV);
	fill_meta(s, sk, p, plan, len > left ? pkt_len(p) : take);
	if (take)
		sock_plan_add(s, plan, r, p->start + ahead, take);
	sk->stamp_ns = p->time_ns;
	if (plan->flags & LX_MSG_PEEK)
		return take;
	sock_memory_taken(s, sk, p, udp_charge(p));
	pktq_pop(s, &sk->rxq);
	pkt_release(s, r);
	return take;
}

static s64 udp_recv_commit(struct stack *s, struct sock *sk, struct plan *plan, u32 copied)
{
	(void)s;
	sock_peek_move(sk, plan->flags, copied);
	return copied;
}

/* RFC 3828 4: how much of a datagram is covered, or must be; what is shorter than a header means
 * the header. */
static int set_coverage(struct sock *sk, int name, int value)
{
	u16 *field = name == LX_UDPLITE_SEND_CSCOV ? &sk->lite_send : &sk->lite_receive;

	if (sk->conn.proto != PROTO_UDPLITE)
		return -ENOPROTOOPT;
	if (value && value < UDP_HEADER)
		value = UDP_HEADER;
	*field = (u16)MIN(value, 0xffff);
	sk->stored |=
		1ull << (name == LX_UDPLITE_SEND_CSCOV ? STORED_LITE_SEND : STORED_LITE_RECEIVE);
	return 0;
}

static int udp_setopt(struct stack *s, struct sock *sk, int name, const void *val, u32 len)
{
	static const u32 flags[] = {[0] = OPT_UDP_CORK, [1] = OPT_UDP_GRO};
	u64 bit;
	int value;

	if (sock_opt_read(val, len, &value) < 0)
		return -EINVAL;
	switch (name) {
	case LX_UDP_CORK:
	case LX_UDP_GRO:
		bit = flags[name == LX_UDP_GRO];
		sk->options = value ? sk->options | (u32)bit : sk->options & ~(u32)bit;
		if (name == LX_UDP_CORK && !value)
			udp_push(s, sk);
		return 0;
	case LX_UDP_SEGMENT:
		if (value < 0 || value > 0xffff)
			return -EINVAL;
		sk->udp_segment = (u16)value;
		return 0;
	case LX_UDP_NO_CHECK6_TX:
	case LX_UDP_NO_CHECK6_RX:
		bit = 1ull << (name == LX_UDP_NO_CHECK6_TX ? STORED_NO_CHECK6_TX
							   : STORED_NO_CHECK6_RX);
		sk->stored = value ? sk->stored | bit : sk->stored & ~bit;
		return 0;
	case LX_UDPLITE_SEND_CSCOV:
	case LX_UDPLITE_RECV_CSCOV:
		return set_coverage(sk, name, value);
	case LX_UDP_ENCAP:
		return value ? -ENOPROTOOPT : 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int udp_getopt(struct stack *s, struct sock *sk, int name, void *val, u32 *len)
{
	(void)s;
	switch (name) {
	case LX_UDP_CORK:
		return sock_opt_int(val, len, !!(sk->options & OPT_UDP_CORK));
	case LX_UDP_GRO:
		return sock_opt_int(val, len, !!(sk->options & OPT_UDP_GRO));
	case LX_UDP_SEGMENT:
		return sock_opt_int(val, len, sk->udp_segment);
	case LX_UDP_NO_CHECK6_TX:
		return sock_opt_int(val, len, sock_stored(sk, STORED_NO_CHECK6_TX));
	case LX_UDP_NO_CHECK6_RX:
		return sock_opt_int(val, len, sock_stored(sk, STORED_NO_CHECK6_RX));
	case LX_UDPLITE_SEND_CSCOV: /* answered on plain UDP too */
		return sock_opt_int(val, len, sk->lite_send);
	case LX_UDPLITE_RECV_CSCOV:
		return sock_opt_int(val, len, sk->lite_receive);
	case LX_UDP_ENCAP:
		return sock_opt_int(val, len, 0);
	default:
		return -ENOPROTOOPT;
	}
}

static int udp_ioctl(struct stack *s, struct sock *sk, unsigned request, int *value)
{
	const struct pkt *p = sk->rxq.head ? pkt_get(s, sk->rxq.head) : NULL;

	switch (request) {
	case LX_FIONREAD:
		*value = p ? (int)pkt_len(p) : 0; /* of the next datagram only (udp(7)) */
		return 0;
	case LX_SIOCOUTQ:
		*value = 0; /* what has been sent is with the device */
		return 0;
	default:
		return -ENOTTY;
	}
}

const struct sock_ops udp_ops = {
	.open = udp_open,
	.destroy = udp_destroy,
	.connect = udp_connect,
	.disconnect = udp_disconnect,
	.shutdown = udp_shutdown,
	.close = udp_close,
	.poll = udp_poll,
	.send_reserve = udp_send_reserve,
	.send_commit = udp_send_commit,
	.send_drop = udp_send_drop,
	.recv_take = udp_recv_take,
	.recv_commit = udp_recv_commit,
	.setopt = udp_setopt,
	.getopt = udp_getopt,
	.ioctl = udp_ioctl,
};
