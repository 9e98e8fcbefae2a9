/*
 * TCP headers on their way out, and what needs no connection: the RST for a segment to nobody,
 * initial sequence numbers and timestamps.
 *
 * The checksum field gets the pseudo-header's sum; ip_send completes it when the device does not.
 * Initial sequence numbers are a keyed hash of the four-tuple plus a clock of 4 us ticks (RFC 6528
 * 3), timestamps a millisecond clock plus a keyed offset of the four-tuple, so neither tells
 * anything about another connection or the time since start.
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/checksum.h"
#include "stack/tcp_conn.h"

int tcp_send_header(struct stack *s, ref frame, const struct tcp_header *h, const struct ip_out *ip,
	u16 gso_size)
{
	struct frame *f = frame_get(s, frame);
	u8 options[TCP_OPTIONS_MAX];
	u32 options_len = tcp_options_build(&h->opt, options);
	u32 header_len = TCP_HEADER_LEN + options_len;
	u8 *p = f ? frame_push(f, header_len) : NULL;
	u32 sum;

	if (!p) {
		counter_inc(s, counter_invariant);
		return -ENOBUFS;
	}
	put16(p, h->local->port);
	put16(p + 2, h->remote->port);
	put32(p + 4, h->seq);
	put32(p + 8, h->ack);
	p[12] = (u8)(header_len / 4 << 4 | h->ae);
	p[13] = h->flags;
	put16(p + 14, h->window);
	put16(p + 18, h->urgent);
	memcpy(p + TCP_HEADER_LEN, options, options_len);
	sum = checksum_pseudo(&ip->src, &ip->dst, PROTO_TCP, f->len);
	put16(p + 16, checksum_fold(sum));
	f->l4 = (u16)f->len;
	f->offload = (struct offload){.flags = OFFLOAD_NEEDS_CSUM, .csum_offset = 16};
	if (gso_size && f->len - header_len > gso_size) {
		f->offload.gso_type =
			ip->dst.family == FAMILY_INET6 ? OFFLOAD_GSO_TCP6 : OFFLOAD_GSO_TCP4;
		f->offload.gso_size = gso_size;
		f->offload.header_len = (u16)header_len;
	}
	tcp_trace_out(s, h, f->len - header_len);
	counter_add(s, counter_tcp_out, tcp_segment_count(f->len - header_len, gso_size));
	if (h->flags & TH_RST)
		counter_inc(s, counter_tcp_out_rst);
	return ip_send(s, frame, ip);
}

void tcp_send_bare(struct stack *s, const struct tcp_header *h, u8 tos, u32 ifindex)
{
	struct ip_out ip = {
		.src = h->local->addr,
		.dst = h->remote->addr,
		.proto = PROTO_TCP,
		.tos = tos,
		.dont_fragment = true,
		.ifindex = (u16)ifindex,
	};
	ref frame = frame_alloc(s);

	if (frame)
		tcp_send_header(s, frame, h, &ip, 0);
}

void tcp_refuse(struct stack *s, const struct tcp_segment *seg)
{
	struct tcp_header h = {.local = &seg->p->to, .remote = &seg->p->from};

	if (seg->flags & TH_RST)
		return;
	if (seg->flags & TH_ACK) {
		h.seq = seg->ack;
		h.flags = TH_RST;
	} else {
		h.ack = tcp_segment_end(seg);
		h.flags = TH_RST | TH_ACK;
	}
	tcp_send_bare(s, &h, 0, 0);
}

static u64 tcp_tuple_hash(
	const struct siphash_key *key, const struct endpoint *local, const struct endpoint *remote)
{
	u8 tuple[36];

	memcpy(tuple, local->addr.b, 16);
	memcpy(tuple + 16, remote->addr.b, 16);
	put16(tuple + 32, local->port);
	put16(tuple + 34, remote->port);
	return siphash(key, tuple, sizeof(tuple));
}

u32 tcp_isn(struct stack *s, const struct endpoint *local, const struct endpoint *remote)
{
	/* MUST-8, MUST-9, SHLD-1 */
	return (u32)tcp_tuple_hash(&s->isn_key, local, remote) + (u32)(s->now_ns / (4 * NS_PER_US));
}

u32 tcp_ts_offset(struct stack *s, const struct endpoint *local, const struct endpoint *remote)
{
	return (u32)tcp_tuple_hash(&s->ts_key, local, remote);
}

u32 tcp_clock(const struct stack *s, u32 offset)
{
	return (u32)(s->now_ns / NS_PER_MS) + offset;
}

bool tcp_paws_reject(
	const struct stack *s, u32 ts_recent, u64 ts_recent_ns, const struct tcp_options *opt)
{
	return opt->flags & TCP_OPT_TIMESTAMP && seq_lt(opt->tsval, ts_recent) &&
	       s->now_ns - ts_recent_ns < TCP_PAWS_NS;
}

/* Of the whole host, a number near the limit that nobody can foretell (CVE-2016-5696). */
static bool tcp_challenge_left(struct stack *s)
{
	u32 limit = s->tunables.tcp_challenge_ack_limit;

	if (limit == INT32_MAX)
		return true;
	if (s->challenge_second != s->now_ns / NS_PER_S) {
		s->challenge_second = s->now_ns / NS_PER_S;
		s->challenge_left = limit ? (limit + 1) / 2 + random_below(&s->random, limit) : 0;
	}
	if (!s->challenge_left)
		return false;
	s->challenge_left--;
	return true;
}

bool tcp_challenge_allowed(struct stack *s, u64 *last_ns)
{
	u64 apart = s->tunables.tcp_invalid_ratelimit_ms * NS_PER_MS;

	if ((*last_ns && s->now_ns - *last_ns < apart) || !tcp_challenge_left(s)) {
		counter_inc(s, counter_tcp_challenge_limited);
		return false;
	}
	*last_ns = MAX(s->now_ns, 1);
	counter_inc(s, counter_tcp_challenge);
	return true;
}
