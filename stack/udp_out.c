/*
 * UDP and UDP-Lite, sending: where to, in one datagram or (UDP_SEGMENT) many, at once or gathered
 * (UDP_CORK, MSG_MORE).
 *
 * Reserving decides everything that can fail for reasons of the socket, in the kernel's order of
 * checks (net/ipv4/udp.c udp_sendmsg), and takes a packet for the payload; committing puts headers
 * in front of it by a frame that refers to the packet. A gathered datagram is copied together, as
 * its parts come at different times.
 */
#include "stack/bytes.h"
#include "stack/checksum.h"
#include "stack/linux.h"
#include "stack/udp.h"

enum { IP_HEADER = 20, IP_MAX = 65535 };

static bool corking(const struct sock *sk, u32 flags)
{
	return sk->options & OPT_UDP_CORK || flags & LX_MSG_MORE;
}

/* The destination: given by the call, or the peer. */
static int choose_destination(const struct sock *sk, const struct plan *plan, struct endpoint *to)
{
	if (plan->to.addr.family == FAMILY_NONE) {
		if (sk->state != SOCK_CONNECTED)
			return -EDESTADDRREQ;
		*to = sk->conn.remote;
		return 0;
	}
	if (plan->to.addr.family != sk->family)
		return -EAFNOSUPPORT;
	if (!plan->to.port)
		return -EINVAL;
	*to = plan->to;
	return 0;
}

/* The source address, and whether it may be used. */
static int choose_source(struct stack *s, const struct sock *sk, const struct plan *plan,
	struct udp_route *r, const struct path *path)
{
	r->src = sock_source(s, sk);
	if (plan->meta.spec.family == sk->family && !addr_is_any(&plan->meta.spec))
		r->src = plan->meta.spec;
	if (r->src.family == FAMILY_NONE && addr_is_multicast(&r->to.addr) &&
		sk->multicast_src.family != FAMILY_NONE && !addr_is_any(&sk->multicast_src))
		r->src = sk->multicast_src;
	if (r->src.family == FAMILY_NONE)
		r->src = path->source;
	else if (!netif_is_local(s, &r->src) && !(sk->options & OPT_TRANSPARENT))
		return addr_is_multicast(&r->src) ? -EINVAL
						  : -ENETUNREACH; /* ip_route_output_key_hash_rcu */
	return 0;
}

static u32 choose_interface(const struct sock *sk, const struct plan *plan, const struct addr *to)
{
	if (plan->meta.ifindex)
		return plan->meta.ifindex;
	if (sk->conn.ifindex)
		return sk->conn.ifindex;
	return addr_is_multicast(to) && sk->multicast_if ? sk->multicast_if : sk->unicast_if;
}

/* The program looks for the path's MTU itself, or does without it: only the interface's counts
 * (Linux's ip_sk_use_pmtu). */
static bool beyond_path(const struct sock *sk)
{
	return sk->mtu_discover >= LX_IP_PMTUDISC_PROBE;
}

static int choose_route(
	struct stack *s, const struct sock *sk, const struct plan *plan, struct udp_route *r)
{
	struct path path;
	int ret;

	sock_fix_remote(sk, &r->to);
	r->ifindex = choose_interface(sk, plan, &r->to.addr);
	ret = ip_route(s, &r->to.addr, r->ifindex, &path);
	if (ret < 0)
		return ret;
	if ((sk->options & OPT_DONTROUTE || plan->flags & LX_MSG_DONTROUTE) && !path.local &&
		!path.broadcast && !addr_equal(&path.next_hop, &r->to.addr))
		return -ENETUNREACH;
	ret = choose_source(s, sk, plan, r, &path);
	if (ret < 0)
		return ret;
	if (netif_is_broadcast(s, &r->to.addr) && !(sk->options & OPT_BROADCAST))
		return -EACCES;
	if (plan->flags & LX_MSG_CONFIRM && !path.local && !path.broadcast)
		neigh_confirm(s, &path.next_hop);
	r->ifindex = path.ifindex;
	r->mtu = beyond_path(sk) && !path.local ? netif_get(s, path.ifindex)->mtu : path.mtu;
	r->local = path.local;
	r->group = path.broadcast;
	return 0;
}

static void choose_header(
	struct stack *s, const struct sock *sk, const struct plan *plan, struct udp_route *r)
{
	bool group = addr_is_multicast(&r->to.addr);

	r->tos = plan->meta.tos >= 0 ? (u8)plan->meta.tos : sk->tos;
	r->ttl = group ? sk->multicast_ttl : sk->ttl ? sk->ttl : s->tunables.ip_default_ttl;
	if (plan->meta.ttl > 0)
		r->ttl = (u8)plan->meta.ttl;
	r->gso_size = plan->meta.gso_size ? plan->meta.gso_size : sk->udp_segment;
	r->flags = plan->flags;
}

/* A datagram larger than the path carries, which may not be fragmented (IP_MTU_DISCOVER). */
static bool may_not_fragment(const struct sock *sk)
{
	return sk->mtu_discover == LX_IP_PMTUDISC_DO || sk->mtu_discover == LX_IP_PMTUDISC_PROBE ||
	       sk->mtu_discover == LX_IP_PMTUDISC_INTERFACE;
}

static int check_size(struct stack *s, struct sock *sk, const struct udp_route *r, u64 len)
{
	u32 headers = IP_HEADER + sk->ip_options_len + UDP_HEADER;
	struct icmp_error_report report = {
		.error = EMSGSIZE, .origin = LX_EE_ORIGIN_LOCAL, .info = r->mtu};
	struct endpoint to = {.addr = r->to.addr, .port = sk->conn.remote.port};

	if (len > IP_MAX - headers)
		return -EMSGSIZE;
	if (r->gso_size) {
		if (sk->conn.proto == PROTO_UDPLITE)
			return -EIO;
		if (headers + r->gso_size > r->mtu)
			return -EMSGSIZE;
		if (len > (u64)r->gso_size * UDP_SEGMENTS_MAX || sk->options & OPT_NO_CHECK)
			return -EINVAL;
		return 0;
	}
	if (len + headers > r->mtu && may_not_fragment(sk)) {
		sock_queue_error(s, sk, NULL, &report, &to);
		return -EMSGSIZE;
	}
	return 0;
}

/* All that can be said against sending. Fills in the route, unless a datagram in the making has one
 * already. */
static int prepare(
	struct stack *s, struct sock *sk, const struct plan *plan, u64 len, struct udp_route *r)
{
	int ret;

	if (!sk->conn.port) {
		ret = sock_autobind(s, sk, NULL);
		if (ret < 0)
			return ret;
	}
	if (len > 0xffff)
		return -EMSGSIZE;
	if (plan->flags & LX_MSG_OOB)
		return -EOPNOTSUPP;
	if (sk->cork) {
		*r = sk->cork_route;
	} else {
		ret = choose_destination(sk, plan, &r->to);
		if (ret < 0)
			return ret;
		ret = choose_route(s, sk, plan, r);
		if (ret < 0)
			return ret;
		choose_header(s, sk, plan, r);
	}
	if (sk->error) {
		ret = -sk->error;
		sk->error = 0;
		return ret;
	}
	if (sk->flags & SOCK_SND_SHUT)
		return -EPIPE;
	return corking(sk, plan->flags) || sk->cork ? 0 : check_size(s, sk, r, len);
}

s64 udp_send_reserve(struct stack *s, struct sock *sk, struct plan *plan, u64 len)
{
	struct udp_route r = {0};
	int ret = prepare(s, sk, plan, len, &r);
	ref pkt;

	if (ret < 0)
		return ret;
	if (!r.local && sock_tx_full(s)) {
		sock_tx_wait(s, sk);
		return -EAGAIN;
	}
	pkt = pkt_alloc(s, (u32)len);
	if (!pkt) {
		counter_inc(s, counter_udp_sndbuf);
		return -ENOBUFS;
	}
	sock_plan_begin(s, sk, plan, PLAN_SEND);
	plan->full_len = (u32)len;
	sock_plan_add(s, plan, pkt, pkt_get(s, pkt)->start, (u32)len);
	pkt_release(s, pkt); /* the plan has a reference of its own */
	return (s64)len;
}

/* UDP-Lite's coverage in place of the length; true when that is partial and the checksum is done.
 */
static bool lite_header(
	const struct sock *sk, const struct udp_route *r, u8 *h, const u8 *payload, u32 len)
{
	u32 sum;

	if (!sock_stored(sk, STORED_LITE_SEND) || sk->lite_send >= len)
		return false;
	put16(h + 4, sk->lite_send);
	if (!sk->lite_send)
		return false;
	sum = checksum_add(
		checksum_pseudo(&r->src, &r->to.addr, PROTO_UDPLITE, len), h, UDP_HEADER);
	sum = checksum_finish(checksum_add(sum, payload, sk->lite_send - UDP_HEADER));
	put16(h + 6, sum ? sum : 0xffffu); /* RFC 3828 3.1: never 0 */
	return true;
}

static void fill_header(
	const struct sock *sk, struct frame *f, const struct udp_route *r, const u8 *payload)
{
	u32 len = f->len + UDP_HEADER;
	u8 *h = frame_push(f, UDP_HEADER);

	put16(h, sk->conn.local.port);
	put16(h + 2, r->to.port);
	put16(h + 4, len);
	put16(h + 6, 0);
	if (sk->conn.proto == PROTO_UDPLITE && lite_header(sk, r, h, payload, len))
		return;
	if (sk->conn.proto == PROTO_UDP && sk->options & OPT_NO_CHECK)
		return;
	put16(h + 6, checksum_fold(checksum_pseudo(&r->src, &r->to.addr, sk->conn.proto, len)));
	f->offload.flags = OFFLOAD_NEEDS_CSUM;
	f->offload.csum_start = 0;
	f->offload.csum_offset = 6;
}

/* Multicast with a TTL of 0 stays in the host (RFC 1112 6.1). */
static int send_inside(struct stack *s, const struct sock *sk, const struct udp_route *r,
	struct pkt *from, u32 offset, u32 len)
{
	ref pkt;
	struct pkt *p;
	u8 *h;

	if (!(sk->options & OPT_MULTICAST_LOOP) || !sock_is_member(s, &r->to.addr, r->ifindex))
		return 0;
	pkt = pkt_alloc(s, len + UDP_HEADER);
	p = pkt ? pkt_get(s, pkt) : NULL;
	if (!p)
		return -ENOBUFS;
	h = pkt_put(p, UDP_HEADER);
	memset(h, 0, UDP_HEADER);
	put16(h, sk->conn.local.port);
	put16(h + 2, r->to.port);
	put16(h + 4, len + UDP_HEADER);
	if (len)
		memcpy(pkt_put(p, len), pkt_peek(from, offset, len), len);
	p->flags = PKT_LOOPED | PKT_CSUM_OK;
	p->time_ns = s->now_ns + s->realtime_offset_ns;
	p->ifindex = (u16)r->ifindex;
	p->tos = r->tos;
	p->l3 = p->start;
	p->from.addr = r->src;
	p->to.addr = r->to.addr;
	udp_input(s, pkt, sk->conn.proto);
	return 0;
}

/* One datagram, or one super-frame for a device that segments (gso_size not 0), of part of a
 * packet's view. */
static int send_frame(struct stack *s, const struct sock *sk, const struct udp_route *r, ref pkt,
	u32 offset, u32 len, u32 gso_size)
{
	struct pkt *p = pkt_get(s, pkt);
	struct ip_out ip = {
		.src = r->src,
		.dst = r->to.addr,
		.proto = sk->conn.proto,
		.ttl = r->ttl,
		.tos = r->tos,
		.ifindex = (u16)(r->local ? 0 : r->ifindex),
		.multicast_loop = sk->options & OPT_MULTICAST_LOOP,
		.options_len = sk->ip_options_len,
	};
	u32 total = len + UDP_HEADER + IP_HEADER + sk->ip_options_len;
	struct frame *f;
	ref frame;

	if (addr_is_multicast(&r->to.addr) && !r->ttl)
		return send_inside(s, sk, r, p, offset, len);
	frame = frame_alloc(s);
	f = frame ? frame_get(s, frame) : NULL;
	if (!f)
		return -ENOBUFS;
	if (len && !frame_add(s, f, pkt, p->start + offset, len)) {
		frame_free(s, frame);
		return -ENOBUFS;
	}
	fill_header(sk, f, r, pkt_peek(p, offset, len));
	if (gso_size) {
		f->offload.gso_type = OFFLOAD_GSO_UDP_L4;
		f->offload.gso_size = (u16)gso_size;
		f->offload.header_len = UDP_HEADER;
	}
	memcpy(ip.options, sk->ip_options, sizeof(ip.options));
	ip.dont_fragment = sk->mtu_discover == LX_IP_PMTUDISC_DO ||
			   sk->mtu_discover == LX_IP_PMTUDISC_PROBE ||
			   (sk->mtu_discover == LX_IP_PMTUDISC_WANT &&
				   (total <= r->mtu || gso_size));
	ip.beyond_path = beyond_path(sk);
	counter_inc(s, counter_udp_out);
	return ip_send(s, frame, &ip);
}

static int send_segments(
	struct stack *s, const struct sock *sk, const struct udp_route *r, ref pkt, u32 len)
{
	const struct netif *n = netif_get(s, r->ifindex);
	int ret = 0;

	if (!r->local && !r->group && n && n->features & DEVICE_USO && n->features & DEVICE_CSUM)
		return send_frame(s, sk, r, pkt, 0, len, r->gso_size);
	for (u32 at = 0; at < len && ret == 0; at += r->gso_size)
		ret = send_frame(s, sk, r, pkt, at, MIN(r->gso_size, len - at), 0);
	return ret;
}

/* Sends a packet's view. Congestion of the device is not the sender's error (udp_send_skb). */
static int send_datagram(struct stack *s, struct sock *sk, const struct udp_route *r, ref pkt)
{
	u32 len = pkt_len(pkt_get(s, pkt));
	int ret;

	LOG(s, LOG_UDP, LOG_TRACE, "out %E > %E len %u", &sk->conn.local, &r->to, len + UDP_HEADER);
	if (r->gso_size && len > r->gso_size)
		ret = send_segments(s, sk, r, pkt, len);
	else
		ret = send_frame(s, sk, r, pkt, 0, len, 0);
	if (sk->tstamp_flags & TSTAMP_TX) {
		u32 id = sk->tstamp_flags & TSTAMP_OPT_ID ? sk->tstamp_key++ : 0;

		sock_stamp(s, sk, TSTAMP_REPORT_SCHED, id);
		sock_stamp(s, sk, TSTAMP_REPORT_SND, id);
	}
	if (ret == -ENOBUFS) {
		counter_inc(s, counter_udp_sndbuf);
		if (!(sk->options & OPT_RECVERR))
			ret = 0;
	}
	return ret;
}

int udp_push(struct stack *s, struct sock *sk)
{
	ref pkt = sk->cork;
	struct pkt *p = pkt ? pkt_get(s, pkt) : NULL;
	int ret;

	if (!p)
		return 0;
	sk->cork = 0;
	ret = check_size(s, sk, &sk->cork_route, pkt_len(p));
	if (ret == 0)
		ret = send_datagram(s, sk, &sk->cork_route, pkt);
	pkt_release(s, pkt);
	return ret;
}

/* Adds to the datagram in the making; what is too much for one loses all of it, as on Linux. */
static int gather(struct stack *s, struct sock *sk, const struct udp_route *r, struct pkt *part)
{
	struct pkt *p = sk->cork ? pkt_get(s, sk->cork) : NULL;
	u32 len = pkt_len(part);

	if (!p) {
		sk->cork = pkt_alloc(s, UDP_PAYLOAD_MAX);
		p = sk->cork ? pkt_get(s, sk->cork) : NULL;
		sk->cork_route = *r;
	}
	if (!p)
		return -ENOBUFS;
	if (len > UDP_PAYLOAD_MAX - pkt_len(p)) {
		pkt_release(s, sk->cork);
		sk->cork = 0;
		return -EMSGSIZE;
	}
	if (len)
		memcpy(pkt_put(p, len), pkt_peek(part, 0, len), len);
	return 0;
}

s64 udp_send_commit(struct stack *s, struct sock *sk, struct plan *plan, u32 copied)
{
	struct udp_route r = {0};
	struct pkt *p = plan->count ? pkt_get(s, plan->span[0].pkt) : NULL;
	u32 flags = plan->flags;
	int ret;

	if (!p || copied > plan->bytes || !pkt_put(p, copied))
		return -EINVAL;
	/* The socket may have changed since the reservation: the checks are made again. */
	ret = prepare(s, sk, plan, copied, &r);
	if (ret < 0)
		return ret;
	if (corking(sk, flags) || sk->cork) {
		ret = gather(s, sk, &r, p);
		if (ret == 0 && !corking(sk, flags))
			ret = udp_push(s, sk);
	} else {
		ret = send_datagram(s, sk, &r, plan->span[0].pkt);
	}
	/* Linux's sock_def_write_space, as the datagram leaves: an edge, though there was room. */
	sock_raise(s, sk, EV_OUT);
	return ret < 0 ? ret : (s64)copied;
}
