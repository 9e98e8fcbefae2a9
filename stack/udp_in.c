/*
 * UDP (RFC 768, RFC 1122 4.1) and UDP-Lite (RFC 3828), receiving: datagrams to sockets, ICMP errors
 * to the sockets that they concern.
 *
 * A datagram goes to the connected socket of its four-tuple, else to the best bound one; to a group
 * or broadcast address, to every socket that wants it. It waits in the socket's queue with its own
 * packet, charged by what that occupies.
 *
 * UDP-Lite has the checksum's coverage where UDP has the length, and its checksum is never left
 * out; the ports are its own.
 */
#include "stack/bytes.h"
#include "stack/checksum.h"
#include "stack/linux.h"
#include "stack/udp.h"

enum { ICMP_UNREACH = 3, ICMP_QUENCH = 4, UNREACH_PORT = 3, UNREACH_FRAG_NEEDED = 4 };

static bool checksum_ok(struct pkt *p, const u8 *h)
{
	u32 len = pkt_len(p), sum;

	if (p->flags & PKT_CSUM_OK || get16(h + 6) == 0)
		return true;
	sum = checksum_pseudo(&p->from.addr, &p->to.addr, PROTO_UDP, len);
	return checksum_finish(checksum_add(sum, h, len)) == 0;
}

/* How much of a UDP-Lite datagram the checksum covers (RFC 3828 3.1: 0 is all), 0 for a wrong
 * value. */
static u32 lite_coverage(const struct pkt *p, const u8 *h)
{
	u32 coverage = get16(h + 4), len = pkt_len(p);

	if (coverage == 0)
		return len;
	return coverage < UDP_HEADER || coverage > len ? 0 : coverage;
}

static bool lite_checksum_ok(const struct pkt *p, const u8 *h, u32 coverage)
{
	u32 sum;

	if (p->flags & PKT_CSUM_OK)
		return true;
	sum = checksum_pseudo(&p->from.addr, &p->to.addr, PROTO_UDPLITE, pkt_len(p));
	return get16(h + 6) != 0 && checksum_finish(checksum_add(sum, h, coverage)) == 0;
}

/* Is as much covered as the socket wants (__udp_queue_rcv_one)? */
static bool coverage_suffices(struct sock *sk, struct pkt *p)
{
	u32 coverage = lite_coverage(p, pkt_peek(p, 0, UDP_HEADER));

	return sk->conn.proto != PROTO_UDPLITE || !sock_stored(sk, STORED_LITE_RECEIVE) ||
	       coverage == pkt_len(p) || (sk->lite_receive && coverage >= sk->lite_receive);
}

/* A packet of its own with the same content, for one more receiver, or with n bytes at an offset of
 * it. */
static ref copy(struct stack *s, struct pkt *p, u32 offset, u32 n)
{
	ref r = pkt_alloc(s, n);
	struct pkt *q = r ? pkt_get(s, r) : NULL;
	const u8 *from = pkt_peek(p, offset, n);

	if (!q || !from)
		return 0;
	if (n)
		memcpy(pkt_put(q, n), from, n);
	q->flags = p->flags;
	q->tos = p->tos;
	q->ttl = p->ttl;
	q->ifindex = p->ifindex;
	q->time_ns = p->time_ns;
	q->from = p->from;
	q->to = p->to;
	q->l3 = q->start;
	return r;
}

static void refuse(struct stack *s, struct sock *sk, ref pkt, enum counter why)
{
	sk->rx_dropped++;
	counter_inc(s, why);
	pkt_release(s, pkt);
}

/* Queues one datagram, the view at its payload; consumes the packet. */
static void enqueue(struct stack *s, struct sock *sk, ref pkt)
{
	struct pkt *p;

	if (sk->rx_charged > sk->rcvbuf || pkt_scarce(s)) {
		refuse(s, sk, pkt, counter_udp_rcvbuf);
		return;
	}
	pkt = pkt_compact(s, pkt);
	p = pkt_get(s, pkt);
	if (!sock_memory_udp_allows(s, sk, pkt_truesize(p))) {
		refuse(s, sk, pkt, counter_udp_memory);
		return;
	}
	p->mark = sk->rx_dropped; /* SO_RXQ_OVFL reports what had been lost by then */
	sock_memory_queued(s, sk, p, udp_charge(p));
	pktq_push(s, &sk->rxq, pkt);
	counter_inc(s, counter_udp_in);
	sock_raise(s, sk, EV_IN);
}

/* A super-frame of the device (USO) for a socket without UDP_GRO: one datagram each gso_size bytes.
 */
static void enqueue_segments(struct stack *s, struct sock *sk, ref pkt, u32 size)
{
	struct pkt *p = pkt_get(s, pkt);
	u32 len = pkt_len(p);

	for (u32 at = 0; at < len; at += size) {
		ref r = copy(s, p, at, MIN(size, len - at));

		if (!r) {
			sk->rx_dropped++;
			counter_inc(s, counter_udp_rcvbuf);
			break;
		}
		enqueue(s, sk, r);
	}
	pkt_release(s, pkt);
}

/* Gives a datagram, the view at its header, to a socket; consumes the packet. */
static void deliver(struct stack *s, struct sock *sk, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt);
	u32 keep = sk->filter ? filter_run(s, sk, p) : pkt_len(p), size;

	if (!coverage_suffices(sk, p)) {
		refuse(s, sk, pkt, counter_udp_csum);
		return;
	}
	if (!keep) {
		refuse(s, sk, pkt, counter_udp_filtered);
		return;
	}
	pkt_trim(p, MAX(keep, (u32)UDP_HEADER)); /* no effect when it keeps more than there is */
	if (!pkt_pull(p, UDP_HEADER)) {
		refuse(s, sk, pkt, counter_udp_malformed);
		return;
	}
	size = p->offload.gso_type == OFFLOAD_GSO_UDP_L4 ? p->offload.gso_size : 0;
	if (size && pkt_len(p) > size && !(sk->options & OPT_UDP_GRO))
		enqueue_segments(s, sk, pkt, size);
	else
		enqueue(s, sk, pkt);
}

static bool device_matches(const struct sock *sk, const struct pkt *p)
{
	return !sk->conn.ifindex || sk->conn.ifindex == p->ifindex;
}

/* Linux's __udp_is_mcast_sock. */
static bool group_wanted(struct stack *s, const struct sock *sk, const struct pkt *p)
{
	const struct conn *c = &sk->conn;

	if (sk->flags & SOCK_HASHED && !endpoint_equal(&c->remote, &p->from))
		return false;
	if (!addr_is_any(&c->local.addr) && !addr_equal(&c->local.addr, &p->to.addr))
		return false;
	if (!device_matches(sk, p))
		return false;
	return !addr_is_multicast(&p->to.addr) ||
	       mcast_wants(s, sk, &p->to.addr, &p->from.addr, p->ifindex);
}

static void drop(struct stack *s, ref pkt, enum counter why)
{
	counter_inc(s, why);
	pkt_release(s, pkt);
}

/* To all that want it: copies, and the packet itself to the last; consumes it. */
static void deliver_group(struct stack *s, ref pkt, u8 proto)
{
	struct pkt *p = pkt_get(s, pkt);
	struct sock *last = NULL;

	for (u32 connected = 0; connected < 2; connected++) {
		ref r = port_first(s, proto, p->to.port, connected);

		for (struct sock *sk; (sk = sock_get(s, r)) != NULL; r = sk->conn.port_next) {
			ref one;

			if (!group_wanted(s, sk, p))
				continue;
			if (last && (one = copy(s, p, 0, pkt_len(p))) != 0)
				deliver(s, last, one);
			last = sk;
		}
	}
	if (last)
		deliver(s, last, pkt);
	else
		drop(s, pkt, counter_udp_ignored_group);
}

static struct sock *lookup(struct stack *s, const struct pkt *p, u8 proto)
{
	struct sock *sk = sock_get(s, conn_lookup(s, proto, &p->to, &p->from));

	if (sk && device_matches(sk, p))
		return sk;
	return sock_get(s, sock_lookup(s, proto, &p->to, &p->from, p->ifindex));
}

/* Takes what is no part of the datagram off it; what is wrong with it, or counter_udp_in. */
static enum counter check(struct pkt *p, const u8 *h, u8 proto)
{
	u32 len = get16(h + 4), coverage;

	/* A source port of 0 means "none" (RFC 768); nobody can be at 0. */
	if (!p->to.port)
		return counter_udp_malformed;
	if (proto == PROTO_UDPLITE) {
		coverage = lite_coverage(p, h);
		if (!coverage)
			return counter_udp_malformed;
		return lite_checksum_ok(p, h, coverage) ? counter_udp_in : counter_udp_csum;
	}
	/* Bytes behind the length are never delivered. */
	if (len < UDP_HEADER || !pkt_trim(p, len))
		return counter_udp_malformed;
	return checksum_ok(p, h) ? counter_udp_in : counter_udp_csum;
}

void udp_input(struct stack *s, ref pkt, u8 proto)
{
	struct pkt *p = pkt_get(s, pkt);
	const u8 *h = pkt_peek(p, 0, UDP_HEADER);
	enum counter why;
	struct sock *sk;

	if (!h) {
		drop(s, pkt, counter_udp_malformed);
		return;
	}
	p->from.port = get16(h);
	p->to.port = get16(h + 2);
	why = check(p, h, proto);
	if (why != counter_udp_in) {
		drop(s, pkt, why);
		return;
	}
	LOG(s, LOG_UDP, LOG_TRACE, "in %E > %E len %u", &p->from, &p->to, pkt_len(p));
	if (addr_is_multicast(&p->to.addr) || netif_is_broadcast(s, &p->to.addr)) {
		deliver_group(s, pkt, proto);
		return;
	}
	sk = lookup(s, p, proto);
	if (sk) {
		deliver(s, sk, pkt);
		return;
	}
	/* RFC 1122 4.1.3.1 */
	icmp_send_error(s, p, ICMP_UNREACH, UNREACH_PORT, 0);
	drop(s, pkt, counter_udp_no_port);
}

void udp_icmp_error(struct stack *s, struct pkt *quoted, const struct icmp_error *e)
{
	struct sock *sk = lookup(s,
		&(struct pkt){.from = quoted->from, .to = quoted->to, .ifindex = quoted->ifindex},
		e->proto);
	bool too_big = e->type == ICMP_UNREACH && e->code == UNREACH_FRAG_NEEDED, hard = e->fatal;
	struct icmp_error_report report = {
		.error = (u32)e->error,
		.origin = LX_EE_ORIGIN_ICMP,
		.type = e->type,
		.code = e->code,
		.info = e->info,
		.offender = {.addr = e->offender},
	};

	if (!sk) {
		counter_inc(s, counter_icmp_quote);
		return;
	}
	if (too_big) {
		if (sk->mtu_discover != LX_IP_PMTUDISC_INTERFACE &&
			sk->mtu_discover != LX_IP_PMTUDISC_OMIT)
			ip_pmtu_learn(s, &quoted->from.addr, e->info);
		if (sk->mtu_discover == LX_IP_PMTUDISC_DONT)
			return;
		hard = true;
	}
	/* Without IP_RECVERR only hard errors count, and only where the peer is known (RFC
	 * 1122 4.1.3.3). */
	if (!(sk->options & OPT_RECVERR) && (!hard || sk->state != SOCK_CONNECTED))
		return;
	pkt_pull(quoted, UDP_HEADER);
	sock_queue_error(s, sk, quoted, &report, &quoted->from);
	sk->error = e->error;
	sock_raise(s, sk, EV_ERR | EV_IN | EV_OUT);
}
