/*
 * An acknowledgement: what it takes off the send queue, what it says of the round trip, the window
 * and losses, and what congestion control makes of it. (RFC 9293 3.10.7.4 fifth step, RFC 5681, RFC
 * 6298, RFC 7323 4)
 */
#include "stack/tcp_conn.h"

/*
 * RFC 9293 3.10.7.4: SND.WND, from the newest segment. True when it changed. A segment that
 * acknowledges more is the newest there is whatever its number, as a retransmission that fills a
 * hole: SND.UNA moving without it would move the window's edge beyond what the peer takes.
 */
static bool tcp_ack_window(struct tcp *t, const struct tcp_segment *seg)
{
	u32 window = (u32)seg->window << (seg->flags & TH_SYN ? 0 : t->snd_wscale),
	    before = t->snd_wnd;

	if (!(seq_gt(seg->ack, t->snd_una) || seq_lt(t->snd_wl1, seg->seq) ||
		    (t->snd_wl1 == seg->seq && seq_leq(t->snd_wl2, seg->ack))))
		return false;
	t->snd_wnd = window;
	t->snd_wl1 = seq_max(t->snd_wl1, seg->seq);
	t->snd_wl2 = seg->ack;
	t->snd_max_wnd = MAX(t->snd_max_wnd, window);
	return window != before;
}

/*
 * The duplicate that this ACK reports is the first segment outstanding, sent again: it has arrived
 * before, and the ACK of that was lost. The timestamp echoed is that of the first arrival, and would
 * give all the time since for a round trip; the answer is to the last transmission.
 */
static u64 tcp_ack_rtt_again(struct stack *s, const struct tcp *t, const struct tcp_segment *seg)
{
	struct tcp_sent *r = tcp_record(s, t);
	const struct tcp_sent_run *first = r && r->count ? tcp_sent_at(r, 0) : NULL;
	u64 rtt;

	if (!first || !(first->flags & SENT_TWICE) || !(seg->opt.flags & TCP_OPT_SACK) ||
		!seg->opt.sack_count || seq_gt(seg->opt.sack[0].start, first->start) ||
		seq_leq(seg->opt.sack[0].end, first->start) ||
		seq_gt(seg->opt.sack[0].end, seg->ack))
		return 0;
	rtt = (tcp_us_now(s) - first->sent_us) * NS_PER_US;
	/* Far less than ever: it answers an earlier one. */
	return t->rtt.min_ns == NEVER || rtt >= t->rtt.min_ns / 2 ? MAX(rtt, 1) : 0;
}

/* A sample of the round trip, 0 if this ACK gives none. */
static u64 tcp_ack_rtt(struct stack *s, struct tcp *t, const struct tcp_segment *seg)
{
	u64 rtt = tcp_ack_rtt_again(s, t, seg);
	u32 ms;

	if (rtt) {
		t->flags &= ~(u32)TCPF_RTT_TIMING;
	} else if (t->flags & TCPF_RTT_TIMING && seq_geq(seg->ack, t->rtt_seq)) {
		t->flags &= ~(u32)TCPF_RTT_TIMING;
		rtt = MAX(s->now_ns - t->rtt_sent_ns, 1);
	} else if (t->flags & TCPF_RETRANSMITTED && t->flags & TCPF_TIMESTAMP &&
		   seg->opt.tsecr) {
		/* The timestamp tells which transmission arrived (RFC 7323 4.1). */
		ms = tcp_clock(s, t->ts_offset) - seg->opt.tsecr;
		if (ms <= (s->now_ns - MIN(t->stalled_ns, s->now_ns)) / NS_PER_MS +
				  1) /* not older than what it answers */
			rtt = MAX(ms, 1) * NS_PER_MS;
	}
	if (rtt) {
		tcp_rtt_sample(&t->rtt, rtt, s->now_ns);
		t->backoff = 0;
	}
	return rtt;
}

/* The way to the peer works: its next hop need not be asked (RFC 1122 2.3.2.1), at most once a
 * second. */
static void tcp_ack_confirm(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct path path;

	t->confirmed_ns = s->now_ns;
	if (ip_route(s, &sk->conn.remote.addr, sk->conn.ifindex, &path) < 0)
		return;
	neigh_confirm(s, &path.next_hop);
	tcp_mss_update(s, sk, t); /* what was learnt of the path may have expired */
}

static void tcp_ack_advance(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	u32 ack = seg->ack;

	t->totals.bytes_acked += ack - t->snd_una;
	t->snd_una = ack;
	tcp_timer_progress(s, t);
	t->stalled_ns = tcp_flight(t) ? MAX(s->now_ns, 1) : 0;
	if (t->flags & TCPF_URG_OUT && seq_geq(ack, t->snd_up))
		t->flags &= ~(u32)TCPF_URG_OUT;
	if (seq_lt(t->snd_sml, ack))
		t->snd_sml = ack;
	tcp_queue_acked(s, sk, t);
	if (t->stamps)
		tcp_stamp_acked(s, sk, t, seg->p->ttl);
	if (s->now_ns - t->confirmed_ns >= NS_PER_S)
		tcp_ack_confirm(s, sk, t);
}

/* RFC 5681 2. With SACK it is what the ACK reports that counts (RFC 6675 2). */
static bool tcp_ack_duplicate(const struct tcp *t, const struct tcp_segment *seg, u32 acked,
	u32 flight, bool window_changed)
{
	return !(t->flags & TCPF_SACK) && !acked && flight && !(seg->flags & (TH_SYN | TH_FIN)) &&
	       seg->len == 0 && !window_changed;
}

/* It tells nothing that the one before has not told. */
static bool tcp_ack_repeated(const struct tcp_segment *seg, u32 acked, bool window_changed)
{
	return !acked && !seg->len && !window_changed && !(seg->opt.flags & TCP_OPT_SACK);
}

/* For the delivery rate: what has arrived, and when. */
static void tcp_ack_delivered(const struct stack *s, struct tcp *t, const struct tcp_news *news)
{
	if (!news->delivered)
		return;
	t->delivered += news->delivered;
	t->delivered_us = tcp_us_now(s);
}

/* The peer reports marks, and the algorithm answers them itself. Until the CWR is sent it only
 * repeats those that were answered. */
static void tcp_ack_marked(
	struct stack *s, struct tcp *t, const struct tcp_news *news, const struct tcp_cc_ack *ack)
{
	const struct tcp_cc_ops *cc = tcp_cc_of(t);

	if (!news->ece || !cc->marked || t->ecn.flags & TCP_ECN_SEND_CWR || !cc->marked(t, ack))
		return;
	counter_inc(s, counter_tcp_ecn_reduced);
	tcp_ecn_reduced(t);
}

void tcp_ack(struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	u32 acked = seg->ack - t->snd_una, pipe = tcp_pipe(s, t);
	const struct tcp_sent *record = tcp_record(s, t);
	struct tcp_news news = {
		.acked = acked, .flight = tcp_flight(t), .known = record ? record->sacked : 0};
	struct tcp_cc_ack ack = {.now_ns = s->now_ns, .acked = acked, .in_flight = pipe};
	bool window_changed = tcp_ack_window(t, seg);
	bool recovering = t->recovery == TCP_RECOVERY || t->cwr;

	ack.cwnd_limited = tcp_cwnd_limited(t);
	t->probes = 0;
	sk->soft_error = 0; /* the path works, whatever a router said */
	if (acked) {
		ack.rtt_ns = tcp_ack_rtt(s, t, seg);
		tcp_record_acked(s, t, seg, &news);
		tcp_ack_advance(s, sk, t, seg);
		tcp_mtup_acked(s, sk, t);
	}
	tcp_record_sacks(s, t, seg, &news);
	news.duplicate = tcp_ack_duplicate(t, seg, acked, news.flight, window_changed);
	tcp_ecn_news(t, seg, &news);
	if (tcp_tlp_ack(s, t, seg, news.dsack, tcp_ack_repeated(seg, acked, window_changed)))
		tcp_recovery_probe_mended(t);
	tcp_recovery_ack(s, t, seg, &news);
	tcp_ack_delivered(s, t, &news);
	tcp_delivery_sample(t, &news.sample);
	ack.sample = news.sample;
	ack.delivered = news.delivered;
	if (t->recovery ==
		TCP_LOSS) /* what arrived long ago does not clock out a burst (RFC 3465 2.3) */
		ack.acked = MIN(acked, news.delivered);
	ack.in_recovery = recovering || t->recovery == TCP_RECOVERY ||
			  t->cwr; /* the ACK that ends it does not grow the window */
	ack.pipe = tcp_pipe(s, t);
	tcp_ack_marked(s, t, &news, &ack);
	if (tcp_cc_of(t)->model)
		tcp_cc_of(t)->model(t, &ack);
	else if (acked && !ack.in_recovery)
		tcp_cc_of(t)->acked(t, &ack);
	if (acked)
		tcp_cwnd_validate(s, t);
	tcp_pace_update(s, sk, t);
	if (acked) {
		t->acked_ns = s->now_ns;
		t->rtx_at = NEVER; /* started anew (RFC 6298 5.3) */
		tcp_sndbuf_grow(s, sk, t);
		tcp_writable(s, sk, t);
	}
	if (t->rtx_mode == TCP_RTX_PERSIST && t->snd_wnd) {
		t->rtx_at = NEVER;
		t->backoff = 0;
	}
}
