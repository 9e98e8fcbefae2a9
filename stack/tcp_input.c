/*
 * A TCP segment comes in: parse it, find whose it is, hand it over.
 *
 * Only what is well-formed goes on: header within the segment, checksum right. (That both ends are
 * unicast addresses, MUST-57 and MUST-63, IP has seen to: ip4_deliver, ip4_source_valid.) A
 * connection, a handshake or TIME-WAIT is found by its four-tuple; otherwise a listener by its
 * port; otherwise a RST answers.
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/checksum.h"
#include "stack/tcp_conn.h"

/* MUST-3; a sum of 0 is no exception. */
static bool tcp_checksum_good(const struct pkt *p)
{
	u32 len = pkt_len(p);

	if (p->flags & PKT_CSUM_OK)
		return true;
	return checksum_finish(
		       checksum_add(checksum_pseudo(&p->from.addr, &p->to.addr, PROTO_TCP, len),
			       p->data + p->start, len)) == 0;
}

/* Fills in seg and leaves the payload in the view; false (counted) for what must be dropped. */
static bool tcp_parse(struct stack *s, struct pkt *p, struct tcp_segment *seg)
{
	const u8 *h = pkt_peek(p, 0, TCP_HEADER_LEN);
	u32 header_len;

	if (!h) {
		counter_inc(s, counter_tcp_malformed);
		return false;
	}
	header_len = (u32)(h[12] >> 4) * 4;
	if (header_len < TCP_HEADER_LEN || header_len > pkt_len(p)) {
		counter_inc(s, counter_tcp_malformed);
		return false;
	}
	if (!tcp_checksum_good(p)) {
		counter_inc(s, counter_tcp_csum);
		return false;
	}
	p->from.port = get16(h);
	p->to.port = get16(h + 2);
	seg->p = p;
	seg->seq = get32(h + 4);
	seg->ack = get32(h + 8);
	seg->flags = h[13];
	seg->ae = h[12] & 1;
	seg->window = get16(h + 14);
	seg->urgent = get16(h + 18);
	if (!tcp_options_parse(&seg->opt, h + TCP_HEADER_LEN, header_len - TCP_HEADER_LEN,
		    seg->flags & TH_SYN))
		counter_inc(s, counter_tcp_options);
	pkt_pull(p, header_len);
	seg->header_len = (u8)header_len;
	seg->len = pkt_len(p);
	p->seq = seg->seq;
	seg->count = tcp_segment_count(seg->len, p->offload.gso_type ? p->offload.gso_size : 0);
	counter_add(s, counter_tcp_in, seg->count);
	return true;
}

/* IP_MINTTL (RFC 5082): segments that come from too far away are ignored; SO_ATTACH_FILTER: those
 * that its program refuses. */
static bool tcp_unwanted(struct stack *s, const struct sock *sk, const struct tcp_segment *seg)
{
	u32 keep;

	if (seg->p->ttl < sk->min_ttl) {
		counter_inc(s, counter_tcp_min_ttl);
		return true;
	}
	if (!sk->filter)
		return false;
	pkt_push(seg->p, seg->header_len);
	keep = filter_run(s, sk, seg->p);
	pkt_pull(seg->p, seg->header_len);
	if (!keep)
		counter_inc(s, counter_tcp_filtered);
	return !keep;
}

/* No connection has the tuple: a listener, or nobody. */
static void tcp_input_unconnected(struct stack *s, struct tcp_segment *seg)
{
	ref r = sock_lookup(s, PROTO_TCP, &seg->p->to, &seg->p->from, seg->p->ifindex);
	struct sock *sk = sock_get(s, r);

	if (sk && tcp_unwanted(s, sk, seg))
		return;
	s->touched[2] = r;
	if (sk && sk->state == SOCK_LISTENING) {
		tcp_listen_input(s, sk, seg);
		return;
	}
	counter_inc(s, counter_tcp_no_port);
	tcp_refuse(s, seg);
}

static void tcp_dispatch(struct stack *s, struct tcp_segment *seg)
{
	ref r = conn_lookup(s, PROTO_TCP, &seg->p->to, &seg->p->from);
	struct tcp_timewait *tw;
	struct sock *sk;
	struct tcp *t;

	s->touched[1] = r;
	switch (ref_kind(r)) {
	case SLAB_SOCK:
		sk = sock_get(s, r);
		t = sk ? tcp_of(s, sk) : NULL;
		if (sk && tcp_unwanted(s, sk, seg))
			return;
		if (t && t->state != TCP_CLOSED) {
			tcp_segment_arrives(s, sk, t, seg);
			return;
		}
		break;
	case SLAB_TCP_REQUEST:
		tcp_request_input(s, slab_get(s, SLAB_TCP_REQUEST, r), seg);
		return;
	case SLAB_TCP_TIMEWAIT:
		tw = slab_get(s, SLAB_TCP_TIMEWAIT, r);
		if (!tcp_timewait_input(s, tw, seg))
			return;
		break;
	default:
		break;
	}
	tcp_input_unconnected(s, seg);
}

void tcp_input(struct stack *s, ref pkt)
{
	struct tcp_segment seg = {.pkt = pkt};
	struct pkt *p = pkt_get(s, pkt);

	if (p && tcp_parse(s, p, &seg)) {
		tcp_trace_in(s, &seg);
		tcp_dispatch(s, &seg);
	}
	s->touched[1] = s->touched[2] = 0;
	if (seg.pkt)
		pkt_release(s, seg.pkt);
}
