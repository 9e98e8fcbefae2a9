/*
 * Text of a segment: into the receive queue in order, or into the out-of-order queue, and what kind
 * of ACK is due.
 *
 * The first copy of a byte that is accepted stays; nothing beyond the window advertised is stored.
 * The out-of-order queue is a set of ranges (tcp_ranges.h) in a packet buffer of its own; each
 * range holds the chain of its packets, so that a segment finds its place by binary search however
 * a peer orders its segments. When the set is full, what lies furthest ahead goes first; when the
 * receive buffer is, tcp_prune.c finds room. Memory is charged by what a packet occupies: small
 * payloads are moved to small packets, or into the room left behind the packet before them.
 */
#include <string.h>

#include "stack/tcp_conn.h"

#define COALESCE_MAX 2048u /* larger payloads are queued by reference */

u32 tcp_rcv_window(const struct tcp *t)
{
	return seq_gt(t->rcv_wnd_end, t->rcv_nxt) ? t->rcv_wnd_end - t->rcv_nxt : 0;
}

struct tcp_ranges *tcp_ooo(struct stack *s, const struct tcp *t)
{
	return tcp_set_get(s, t->ooo);
}

static void tcp_uncharge(struct stack *s, struct sock *sk, const struct pkt *p)
{
	sock_memory_give(s, &sk->rx_charged, pkt_truesize(p));
}

/* Releases the packets of a range and takes it out. */
static void tcp_ooo_drop(
	struct stack *s, struct sock *sk, struct tcp *t, struct tcp_ranges *r, u32 i)
{
	ref at = r->range[i].first;

	t->ooo_bytes -= r->range[i].end - r->range[i].start;
	for (struct pkt *p = pkt_get(s, at); p; p = pkt_get(s, at)) {
		ref next = p->next;

		tcp_uncharge(s, sk, p);
		p->next = 0;
		pkt_release(s, at);
		at = next;
	}
	tcp_ranges_close(r, i);
}

void tcp_ooo_purge(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_ranges *r = tcp_ooo(s, t);

	if (!r)
		return;
	while (r->count)
		tcp_ooo_drop(s, sk, t, r, r->count - 1);
	pkt_release(s, t->ooo);
	t->ooo = 0;
	t->ooo_bytes = 0;
}

void tcp_ooo_drop_last(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_ranges *r = tcp_ooo(s, t);

	counter_inc(s, counter_tcp_ooo_drop);
	tcp_ooo_drop(s, sk, t, r, r->count - 1);
	if (r->count == 0)
		tcp_ooo_purge(s, sk, t);
}

/* Moves a packet's bytes behind those of another that has room for them. */
static bool tcp_coalesce(struct stack *s, ref into, ref pkt)
{
	struct pkt *tail = pkt_get(s, into), *p = pkt_get(s, pkt);
	u32 len = pkt_len(p);

	if (!tail || len > COALESCE_MAX || len > tail->room - tail->end)
		return false;
	memcpy(pkt_put(tail, len), p->data + p->start, len);
	tail->time_ns = p->time_ns;
	pkt_release(s, pkt);
	return true;
}

/* Bytes of a packet from `at` on as a packet of their own, cut off from it; 0 without room: they
 * are lost, and sent again. */
static ref tcp_split(struct stack *s, struct pkt *p, u32 at)
{
	u32 len = pkt_len(p) - at;
	ref rest = pkt_alloc(s, len);
	struct pkt *q = pkt_get(s, rest);

	if (q) {
		memcpy(pkt_put(q, len), p->data + p->start + at, len);
		q->seq = p->seq + at;
		q->time_ns = p->time_ns;
	}
	pkt_trim(p, at);
	return rest;
}

/* Moves what has become contiguous to the receive queue. */
static void tcp_ooo_drain(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_ranges *r = tcp_ooo(s, t);

	while (r && r->count && r->range[0].start == t->rcv_nxt) {
		ref at = r->range[0].first;

		for (struct pkt *p = pkt_get(s, at); p; p = pkt_get(s, at)) {
			ref next = p->next;

			pktq_push(s, &sk->rxq, at);
			at = next;
		}
		t->ooo_bytes -= r->range[0].end - r->range[0].start;
		t->totals.bytes_received += r->range[0].end - r->range[0].start;
		t->rcv_nxt = r->range[0].end;
		tcp_ranges_close(r, 0);
	}
	if (r && r->count == 0)
		tcp_ooo_purge(s, sk, t);
}

static void tcp_queue_in_order(struct stack *s, struct sock *sk, struct tcp *t, ref pkt)
{
	u32 len = pkt_len(pkt_get(s, pkt));

	if (sk->rxq.tail && tcp_coalesce(s, sk->rxq.tail, pkt)) {
		sk->rxq.bytes += len;
	} else {
		pkt = pkt_compact(s, pkt);
		sock_memory_take(s, &sk->rx_charged, pkt_truesize(pkt_get(s, pkt)));
		pktq_push(s, &sk->rxq, pkt);
	}
	t->rcv_nxt += len;
	t->totals.bytes_received += len;
}

/* Room for one more range at index i of the set, at the price of the furthest; false: the new one
 * is the furthest. */
static bool tcp_ooo_room(
	struct stack *s, struct sock *sk, struct tcp *t, struct tcp_ranges *r, u32 i)
{
	if (r->count < r->max)
		return true;
	counter_inc(s, counter_tcp_ooo_full);
	if (i == r->count)
		return false;
	tcp_ooo_drop(s, sk, t, r, r->count - 1);
	return true;
}

/* Queues bytes that touch no other's; consumes the packet. */
static void tcp_ooo_insert(struct stack *s, struct sock *sk, struct tcp *t, ref pkt)
{
	struct tcp_ranges *r = tcp_set_make_room(s, &t->ooo);
	struct pkt *p = pkt_get(s, pkt);
	u32 seq = p->seq, len = pkt_len(p), end = seq + len, i = r ? tcp_ranges_find(r, seq) : 0;
	struct tcp_range *at = r ? &r->range[i] : NULL;
	bool after = r && i < r->count && at->end == seq,
	     before = r && i < r->count && at->start == end;

	if (!r || sk->rx_charged > (u32)sk->rcvbuf ||
		(!after && !before && !tcp_ooo_room(s, sk, t, r, i))) {
		counter_inc(s, counter_tcp_ooo_drop);
		pkt_release(s, pkt);
		return;
	}
	t->ooo_bytes += len;
	if (after && tcp_coalesce(s, at->last, pkt)) {
		pkt = 0;
	} else {
		pkt = pkt_compact(s, pkt);
		p = pkt_get(s, pkt);
		p->next = 0;
		sock_memory_take(s, &sk->rx_charged, pkt_truesize(p));
	}
	if (after) {
		at->end = end;
		if (pkt) {
			pkt_get(s, at->last)->next = pkt;
			at->last = pkt;
		}
		if (i + 1 < r->count &&
			at[1].start == end) { /* the hole between two ranges is filled */
			pkt_get(s, at->last)->next = at[1].first;
			at->last = at[1].last;
			at->end = at[1].end;
			tcp_ranges_close(r, i + 1);
		}
	} else if (before) {
		p->next = at->first;
		at->first = pkt;
		at->start = seq;
	} else {
		tcp_ranges_open(r, i);
		*at = (struct tcp_range){.start = seq, .end = end, .first = pkt, .last = pkt};
	}
}

/* Stores bytes that lie in the window, but for those that are there already; consumes the packet.
 */
static void tcp_store(struct stack *s, struct sock *sk, struct tcp *t, ref pkt)
{
	while (pkt) {
		struct tcp_ranges *r = tcp_ooo(s, t);
		struct pkt *p = pkt_get(s, pkt);
		u32 skip = seq_lt(p->seq, t->rcv_nxt) ? t->rcv_nxt - p->seq : 0, i;
		ref rest = 0;

		if (r && !skip)
			skip = tcp_ranges_skip(r, p->seq) - p->seq;
		if (skip >= pkt_len(p)) {
			pkt_release(s, pkt);
			return;
		}
		if (skip) {
			pkt_pull(p, skip);
			p->seq += skip;
			continue;
		}
		if (r) {
			i = tcp_ranges_find(r, p->seq);
			if (i < r->count && r->range[i].end == p->seq)
				i++;
			if (i < r->count && r->range[i].start - p->seq < pkt_len(p))
				rest = tcp_split(s, p, r->range[i].start - p->seq);
		}
		if (p->seq == t->rcv_nxt) {
			tcp_queue_in_order(s, sk, t, pkt);
			tcp_ooo_drain(s, sk, t);
		} else {
			tcp_ooo_insert(s, sk, t, pkt);
		}
		pkt = rest;
	}
}

/* SHLD-18, SHLD-19, MUST-58: what acknowledgement in-order text deserves. */
static void tcp_ack_policy(struct stack *s, struct tcp *t, u32 len)
{
	if (len < t->rcv_mss)
		t->flags |= TCPF_ACK_SOON;
	if (t->rcv_nxt - t->rcv_acked > t->rcv_mss || (t->quick && !(t->flags & TCPF_PINGPONG)))
		t->flags |= TCPF_ACK_NOW;
	else
		tcp_ack_later(s, t);
}

static void tcp_measure_mss(struct tcp *t, const struct tcp_segment *seg)
{
	u32 len = seg->p->offload.gso_type ? seg->p->offload.gso_size : seg->len;

	t->rcv_mss = (u16)MAX(t->rcv_mss, MIN(len, MAX(t->adv_mss, TCP_MSS_DEFAULT)));
}

void tcp_note_duplicate(const struct stack *s, struct tcp *t, u32 start, u32 end)
{
	t->flags |= TCPF_ACK_NOW;
	if (!(t->flags & TCPF_SACK) || !s->tunables.tcp_dsack)
		return;
	t->flags |= TCPF_DSACK; /* RFC 2883 4 */
	t->dsack_start = start;
	t->dsack_end = end;
}

/* The range with seq has become the newest one; what stood for it before, or else the oldest, goes.
 */
static void tcp_note_recent(struct stack *s, struct tcp *t, u32 seq)
{
	const struct tcp_ranges *r = tcp_ooo(s, t);
	u32 k = 0, i;

	if (!r)
		return;
	i = tcp_ranges_find(r, seq + 1);
	while (k + 1 < ARRAY_LEN(t->recent) && tcp_ranges_find(r, t->recent[k] + 1) != i)
		k++;
	memmove(t->recent + 1, t->recent, k * sizeof(t->recent[0]));
	t->recent[0] = seq;
}

void tcp_receive(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg)
{
	u32 seq = seg->seq, end = seq + seg->len, edge = t->rcv_wnd_end, before = t->rcv_nxt,
	    held = t->ooo_bytes;
	struct tcp_ranges *r = tcp_ooo(s, t);
	u32 charged = sk->rx_charged, i;
	ref pkt = seg->pkt;

	t->text_ns = s->now_ns;
	tcp_ecn_text(t, seg);
	tcp_measure_mss(t, seg);
	if (t->flags & TCPF_FIN_SEEN)
		edge = seq_min(edge, t->fin_seq);
	if (seq_lt(seq, t->rcv_nxt))
		tcp_note_duplicate(s, t, seq, seq_min(end, t->rcv_nxt));
	else if (r && (i = tcp_ranges_find(r, seq + 1)) < r->count &&
		 seq_lt(r->range[i].start, end))
		tcp_note_duplicate(
			s, t, seq_max(seq, r->range[i].start), seq_min(end, r->range[i].end));
	if (seq_gt(end, edge)) {
		counter_inc(s, counter_tcp_beyond_window);
		t->flags |= TCPF_ACK_NOW;
		if (seq_geq(seq, edge))
			return;
		pkt_trim(seg->p, edge - seq);
	}
	if (!tcp_prune(s, sk, t, seg)) {
		counter_inc(s, counter_tcp_rcvbuf);
		t->flags |= TCPF_ACK_NOW;
		return;
	}
	seg->pkt = 0;
	tcp_store(s, sk, t, pkt);
	if (sk->rx_charged > charged)
		tcp_window_measure(t, seg->len, sk->rx_charged - charged);
	if (t->rcv_nxt == before) { /* out of order: a duplicate ACK at once (RFC 5681 4.2) */
		t->flags |= TCPF_ACK_NOW;
		t->totals.rcv_ooo++;
		counter_inc(s, counter_tcp_ooo);
		tcp_note_recent(s, t, seq);
		return;
	}
	if (held || t->ooo_bytes) /* fills a gap: at once too */
		t->flags |= TCPF_ACK_NOW;
	tcp_window_arrived(s, t);
	tcp_ack_policy(s, t, seg->len);
	if (tcp_readable(sk, t))
		sock_raise(s, sk, EV_IN);
}

/* RFC 9293 3.10.7.4 sixth step; the pointer names the byte behind the urgent one (MUST-62, RFC
 * 6093). */
void tcp_urgent(struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	u32 at = seg->seq + seg->urgent - (seg->urgent && !s->tunables.tcp_stdurg ? 1 : 0);
	const u8 *byte;

	if (seg->flags & TH_URG && seq_geq(at, t->rcv_nxt) &&
		(t->urg_state == TCP_URG_NONE || seq_gt(at, t->urg_seq))) {
		/* An older urgent byte that is next in line is not read in line any more, nor again
		 * (Linux's tcp_check_urg). */
		if (t->urg_state != TCP_URG_NONE && t->urg_seq == t->copied_seq &&
			t->copied_seq != t->rcv_nxt && !(sk->options & OPT_OOBINLINE) &&
			!sk->reader)
			tcp_consume(s, sk, t, 1);
		t->urg_state = TCP_URG_NOT_YET;
		t->urg_seq = at;
	}
	if (t->urg_state != TCP_URG_NOT_YET)
		return;
	byte = pkt_peek(seg->p, t->urg_seq - seg->seq, 1);
	if (!byte)
		return;
	t->urg_byte = *byte;
	t->urg_state = TCP_URG_VALID;
	sock_raise(s, sk, EV_PRI | EV_IN);
}

static bool tcp_block_known(const struct tcp_options *opt, u32 from, u32 start)
{
	for (u32 i = from; i < opt->sack_count; i++) {
		if (opt->sack[i].start == start)
			return true;
	}
	return false;
}

/* RFC 2018 4: the range with the newest segment first, then those reported most recently; RFC 2883:
 * a duplicate before them. `room` bytes, 12 at least. */
void tcp_sack_blocks(struct stack *s, struct tcp *t, struct tcp_options *opt, u32 room)
{
	u32 max = MIN(t->flags & TCPF_TIMESTAMP ? 3u : 4u, (room - 4) / 8), first = 0,
	    recents = (u32)ARRAY_LEN(t->recent);
	struct tcp_ranges *r = tcp_ooo(s, t);

	if (t->flags & TCPF_DSACK) {
		opt->sack[opt->sack_count++] =
			(struct tcp_sack_block){t->dsack_start, t->dsack_end};
		t->flags &= ~(u32)TCPF_DSACK;
		counter_inc(s, counter_tcp_dsack_out);
		first = 1;
	}
	for (u32 k = 0; r && k < recents + r->count && opt->sack_count < max; k++) {
		u32 i = k < recents ? tcp_ranges_find(r, t->recent[k] + 1) : k - recents;

		if (i >= r->count || (k < recents && seq_gt(r->range[i].start, t->recent[k])))
			continue;
		if (!tcp_block_known(opt, first, r->range[i].start))
			opt->sack[opt->sack_count++] =
				(struct tcp_sack_block){r->range[i].start, r->range[i].end};
	}
	if (opt->sack_count)
		opt->flags |= TCP_OPT_SACK;
}
