/*
 * A segment arrives at a connection: RFC 9293 3.10.7.3 (SYN-SENT) and 3.10.7.4 (all other states)
 * as an ordered list of checks, with the defences of RFC 5961 and the timestamps of RFC 7323. Each
 * step returns false when the segment has found its end; the socket may be gone then.
 */
#include "stack/tcp_conn.h"

void tcp_challenge(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (tcp_challenge_allowed(s, &t->challenge_ns))
		tcp_send_ack(s, sk, t);
}

static void tcp_reset_answer(struct stack *s, const struct tcp_segment *seg)
{
	struct tcp_header h = {
		.local = &seg->p->to, .remote = &seg->p->from, .seq = seg->ack, .flags = TH_RST};

	if (!(seg->flags & TH_RST))
		tcp_send_bare(s, &h, 0, 0);
}

/* --- SYN-SENT --- */

/* What the peer's SYN says: its sequence number, options and window. */
static void tcp_take_syn(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	const struct tcp_options *o = &seg->opt;
	u32 kept = TCPF_TIMESTAMP | TCPF_SACK | TCPF_WSCALE;

	/* Both sides must have offered it (RFC 7323 2.2, 3.2; RFC 2018 2). */
	if (!(o->flags & TCP_OPT_TIMESTAMP))
		kept &= ~(u32)TCPF_TIMESTAMP;
	if (!(o->flags & TCP_OPT_SACK_OK))
		kept &= ~(u32)TCPF_SACK;
	if (!(o->flags & TCP_OPT_WSCALE)) {
		kept &= ~(u32)TCPF_WSCALE;
		t->rcv_wscale = 0;
	}
	t->flags &= kept | ~(u32)(TCPF_TIMESTAMP | TCPF_SACK | TCPF_WSCALE);
	t->snd_wscale = t->flags & TCPF_WSCALE ? o->wscale : 0;
	if (t->flags & TCPF_TIMESTAMP) {
		t->ts_recent = o->tsval;
		t->ts_recent_ns = s->now_ns;
	}
	t->peer_mss = o->flags & TCP_OPT_MSS ? MAX(o->mss, (u16)TCP_MSS_MIN)
					     : tcp_default_mss(&sk->conn.remote.addr);
	if (t->user_mss)
		t->peer_mss = MIN(t->peer_mss, t->user_mss);
	t->irs = seg->seq;
	t->rcv_nxt = seg->seq + 1;
	t->rcv_acked = t->rcv_nxt;
	t->copied_seq = t->rcv_nxt;
	t->urg_seq = t->rcv_nxt;
	t->drs_seq = t->rcv_nxt;
	t->rcv_wnd_end += t->rcv_nxt; /* held the size alone */
	t->snd_wnd = seg->window;     /* not scaled on a SYN (RFC 7323 2.2) */
	t->snd_max_wnd = t->snd_wnd;
	t->snd_wl1 = seg->seq;
	t->snd_wl2 = seg->ack;
	tcp_ecn_take_syn(s, t, seg);
	tcp_mss_update(s, sk, t);
	t->cwnd = tcp_cc_initial_window(t->mss);
}

void tcp_established(struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	t->rtx_at = NEVER;
	t->rtx_mode = TCP_RTX_NONE;
	if ((t->retries || t->backoff) && t->rtt.srtt_ns == 0) /* RFC 6298 5.7: a SYN was lost */
		t->rtt.rto_ns = TCP_RTO_SYN_LOST_NS;
	if (t->retries > 1) /* RFC 5681 3.1; a single one was early, or no sign of congestion (RFC
			       6928 2, as Linux) */
		t->cwnd = t->mss;
	tcp_timer_progress(s, t);
	t->backoff = 0;
	t->stalled_ns = 0;
	t->established_ns = MAX(s->now_ns, 1);
	t->totals.delivered = 1; /* the SYN */
	t->quick = TCP_QUICK_ACKS;
	t->heard_ns = s->now_ns;
	t->drs_ns = s->now_ns;
	t->drs_space = MIN(tcp_rcv_window(t), 10u * t->adv_mss); /* a peer's first window */
	t->rcv_rtt_ns = t->rtt.srtt_ns;
	t->snd_wl1 = seg->seq;
	t->snd_wl2 = seg->ack;
	t->usage_end = t->pipe_start = t->pipe_end = t->snd_nxt;
	/* A number that means "none yet" must be one that is behind, wherever the numbers begin. */
	t->recover = t->lost_hint = t->dsack_round = t->undo_una = t->snd_una;
	t->pipe_ns = s->now_ns;
	tcp_metrics_load(s, sk, t);
	tcp_cc_of(t)->init(t, s->now_ns);
	tcp_pace_update(s, sk, t);
	tcp_mtup_begin(s, sk, t);
	tcp_sndbuf_grow(s, sk, t);
	/* A repair begins the handshake's last step again until the state says that it is done. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	tcp_set_state(s, sk, t, TCP_ESTABLISHED);
	tcp_timer_keepalive(s, sk, t);
	counter_inc(s, t->flags & TCPF_PASSIVE ? counter_tcp_passive : counter_tcp_active);
	sk->state = SOCK_CONNECTED;
	sk->flags |= SOCK_WAS_CONNECTED;
	if (t->tfo == TFO_CHILD) { /* accepted, or in the queue for it */
		tcp_fastopen_over(s, t, false);
		sock_raise(s, sk, EV_STATE);
	} else if (t->listener)
		tcp_accept_enqueue(s, sk, t);
	else
		sock_raise(s, sk, EV_OUT | EV_STATE);
}

static void tcp_syn_sent_sample(struct stack *s, struct tcp *t)
{
	if (t->flags & TCPF_RTT_TIMING && !t->retries)
		tcp_rtt_sample(&t->rtt, MAX(s->now_ns - t->rtt_sent_ns, 1), s->now_ns);
	t->flags &= ~(u32)TCPF_RTT_TIMING;
}

/* RFC 9293 3.10.7.3. True: connected, and the segment's text goes on. */
static bool tcp_in_syn_sent(
	struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg)
{
	bool acked = false;

	if (seg->flags & TH_ACK) { /* first */
		if (seg->ack != t->snd_nxt && !tcp_fastopen_acks(t, seg->ack)) {
			tcp_reset_answer(s, seg);
			return false;
		}
		acked = true;
	}
	if (seg->flags & TH_RST) { /* second; without an ACK it may be anybody's (RFC 5961 3.2) */
		if (acked)
			tcp_done(s, sk, t, ECONNREFUSED);
		else
			counter_inc(s, counter_tcp_discarded);
		return false;
	}
	if (!(seg->flags & TH_SYN) || seg->flags & TH_FIN) { /* fourth and fifth */
		counter_inc(s, counter_tcp_discarded);
		return false;
	}
	tcp_take_syn(s, sk, t, seg);
	if (!acked) { /* simultaneous open (MUST-10) */
		t->tfo = TFO_NONE;
		tcp_set_state(s, sk, t, TCP_SYN_RECEIVED);
		t->snd_una = t->snd_nxt - 1;
		t->retries = 0;
		tcp_send_syn(s, sk, t);
		tcp_timer_update(s, sk, t);
		return false;
	}
	tcp_fastopen_syn_ack(s, sk, t, seg);
	t->snd_una = seg->ack;
	t->totals.bytes_acked = 1; /* Linux counts SYN and FIN */
	tcp_syn_sent_sample(s, t);
	tcp_established(s, sk, t, seg);
	t->flags |= TCPF_ACK_NOW;
	seg->seq++;
	seg->p->seq = seg->seq;
	seg->flags &= (u8)~TH_SYN;
	return true;
}

/* --- all other states: RFC 9293 3.10.7.4 --- */

/* An ACK for what is dropped, in which text that has been received before is reported (RFC 2883
 * 4.1). A retransmission whose ACK was lost, or a window probe: no ACK loop can come of it. */
static void tcp_answer_refused(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	if (seg->len && seq_lt(seg->seq, t->rcv_nxt))
		tcp_note_duplicate(s, t, seg->seq, seq_min(seg->seq + seg->len, t->rcv_nxt));
	if (tcp_segment_end(seg) != seg->seq || tcp_challenge_allowed(s, &t->challenge_ns))
		tcp_send_ack(s, sk, t);
}

/* RFC 7323 5.3 R1..R3; a RST is exempt. */
static bool tcp_check_timestamp(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	if (!(t->flags & TCPF_TIMESTAMP))
		return true;
	if (!(seg->opt.flags & TCP_OPT_TIMESTAMP)) {
		if (seg->flags & TH_RST)
			return true;
		counter_inc(s, counter_tcp_no_timestamp); /* RFC 7323 3.2 */
		return false;
	}
	if (!(seg->flags & TH_RST) &&
		tcp_paws_reject(s, t->ts_recent, t->ts_recent_ns, &seg->opt)) {
		counter_inc(s, counter_tcp_paws);
		tcp_answer_refused(s, sk, t, seg); /* RFC 2883 4.3 */
		return false;
	}
	return true;
}

/*
 * First: the sequence number. A pure ACK at the window's right edge is taken too: a peer that has
 * used the whole window sends it from there.
 */
static bool tcp_acceptable(const struct tcp *t, const struct tcp_segment *seg)
{
	u32 window = tcp_rcv_window(t), end = tcp_segment_end(seg);

	if (end == seg->seq)
		return seg->seq - t->rcv_nxt <= window;
	if (window == 0)
		return seg->seq == t->rcv_nxt; /* ACK, RST and URG are processed (MUST-66), the text
						  is trimmed away */
	return seq_in_window(seg->seq, t->rcv_nxt, window) ||
	       (seq_lt(seg->seq, t->rcv_nxt) && seq_gt(end, t->rcv_nxt));
}

static bool tcp_check_sequence(
	struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg)
{
	/* Simultaneous open: the peer's SYN-ACK repeats the SYN that we have. */
	if (t->state == TCP_SYN_RECEIVED &&
		(seg->flags & (TH_SYN | TH_ACK | TH_RST)) == (TH_SYN | TH_ACK) &&
		seg->seq + 1 == t->rcv_nxt && seg->ack == t->snd_nxt) {
		seg->flags &= (u8)~TH_SYN;
		seg->seq++;
		seg->p->seq = seg->seq;
		return true;
	}
	/* The SYN that made the connection, again: the SYN-ACK was lost (RFC 7413 4.2.2). */
	if (t->state == TCP_SYN_RECEIVED && t->tfo == TFO_CHILD && seg->seq == t->irs &&
		(seg->flags & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN) {
		tcp_send_syn(s, sk, t);
		tcp_timer_update(s, sk, t);
		return false;
	}
	if (tcp_acceptable(t, seg))
		return true;
	counter_inc(s, counter_tcp_out_of_window);
	if (seg->flags & TH_RST)
		return false;
	if (seg->flags & TH_SYN) {
		tcp_challenge(s, sk, t);
		return false;
	}
	tcp_answer_refused(s, sk, t, seg);
	return false;
}

/* Second: RST, in the three ways of RFC 5961 3.2. */
static bool tcp_check_rst(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	int error = ECONNRESET;

	if (!(seg->flags & TH_RST))
		return true;
	if (seg->seq != t->rcv_nxt) {
		if (seq_in_window(seg->seq, t->rcv_nxt, tcp_rcv_window(t))) {
			tcp_blackhole_reset(s, t);
			tcp_challenge(s, sk, t);
		}
		return false;
	}
	counter_inc(s, counter_tcp_reset_in);
	if (t->state == TCP_SYN_RECEIVED && t->tfo != TFO_CHILD)
		error = ECONNREFUSED;
	else if (t->state == TCP_CLOSE_WAIT)
		error = EPIPE; /* as Linux */
	tcp_done(s, sk, t, error);
	return false;
}

/* RFC 7323 4.3: the timestamp to echo is that of the segment that moves the left edge. One that is
 * older than TS.Recent has been refused already, or TS.Recent is outdated (5.5). */
static void tcp_take_timestamp(struct stack *s, struct tcp *t, const struct tcp_segment *seg)
{
	if (t->flags & TCPF_TIMESTAMP && seg->opt.flags & TCP_OPT_TIMESTAMP &&
		seq_leq(seg->seq, t->rcv_acked)) {
		t->ts_recent = seg->opt.tsval;
		t->ts_recent_ns = s->now_ns;
	}
}

/* Everything that we have sent, FIN included, has been acknowledged. */
static bool tcp_fin_acked(const struct tcp *t)
{
	return t->flags & TCPF_FIN_SENT && t->snd_una == t->snd_end + 1;
}

static bool tcp_ack_syn_received(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	bool early = t->tfo == TFO_CHILD; /* text may be in flight already */

	if (!(seq_gt(seg->ack, t->snd_una) && seq_leq(seg->ack, t->snd_nxt))) {
		tcp_reset_answer(s, seg);
		return false;
	}
	if (!t->retries && t->flags & TCPF_RTT_TIMING)
		tcp_rtt_sample(&t->rtt, MAX(s->now_ns - t->rtt_sent_ns, 1), s->now_ns);
	t->flags &= ~(u32)TCPF_RTT_TIMING;
	t->snd_una = early ? t->iss + 1 : seg->ack;
	t->snd_wnd = (u32)seg->window << t->snd_wscale;
	t->snd_max_wnd = MAX(t->snd_max_wnd, t->snd_wnd);
	tcp_established(s, sk, t, seg);
	if (sk->flags & SOCK_SND_SHUT)
		t->flags |= TCPF_FIN;
	if (t->flags & TCPF_FIN) /* closed or shut down before the handshake was complete */
		tcp_set_state(s, sk, t, TCP_FIN_WAIT_1);
	if (early)
		tcp_ack(s, sk, t, seg);
	return true;
}

/* After our FIN has been acknowledged. False when the connection has ended here. */
bool tcp_advance_close(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (!tcp_fin_acked(t))
		return true;
	switch (t->state) {
	case TCP_FIN_WAIT_1:
		tcp_set_state(s, sk, t, TCP_FIN_WAIT_2);
		sock_raise(s, sk, EV_STATE);
		return !(sk->flags & SOCK_ORPHAN) || tcp_fin_wait_2(s, sk, t);
	case TCP_CLOSING:
		tcp_timewait_enter(s, sk, t);
		return false;
	case TCP_LAST_ACK:
		tcp_done(s, sk, t, 0);
		return false;
	default:
		return true;
	}
}

/* Fifth: the ACK field. */
static bool tcp_check_ack(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	if (!(seg->flags & TH_ACK)) {
		counter_inc(s, counter_tcp_no_ack);
		return false;
	}
	if (t->state == TCP_SYN_RECEIVED)
		return tcp_ack_syn_received(s, sk, t, seg) && tcp_advance_close(s, sk, t);
	if (seq_gt(seg->ack, t->snd_nxt)) {
		counter_inc(s, counter_tcp_ack_invalid);
		tcp_challenge(s, sk, t);
		return false;
	}
	if (seq_lt(seg->ack, t->snd_una)) {
		if (t->snd_una - seg->ack > t->snd_max_wnd) { /* RFC 5961 5.2 */
			counter_inc(s, counter_tcp_ack_invalid);
			tcp_challenge(s, sk, t);
			return false;
		}
		return true; /* an old duplicate: its text may still be of use */
	}
	tcp_ack(s, sk, t, seg);
	return tcp_advance_close(s, sk, t);
}

/* New bytes for a program that will never read them: Linux resets (RFC 9293 3.6.1, MAY-1, SHLD-3).
 */
static bool tcp_nobody_reads(
	const struct sock *sk, const struct tcp *t, const struct tcp_segment *seg)
{
	return (t->state == TCP_FIN_WAIT_1 || t->state == TCP_FIN_WAIT_2) &&
	       sk->flags & SOCK_RCV_SHUT && seg->len && seq_gt(seg->seq + seg->len, t->rcv_nxt);
}

/* Eighth: the FIN, once everything before it is there. */
bool tcp_take_fin(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (!(t->flags & TCPF_FIN_SEEN) || t->flags & TCPF_RCV_FIN || t->rcv_nxt != t->fin_seq)
		return true;
	t->flags |= TCPF_RCV_FIN | TCPF_ACK_NOW;
	t->rcv_nxt++;
	t->totals.bytes_received++;
	if (seq_lt(t->rcv_wnd_end, t->rcv_nxt))
		t->rcv_wnd_end = t->rcv_nxt;
	tcp_ooo_purge(s, sk, t);
	sk->flags |= SOCK_RCV_SHUT;
	sock_raise(s, sk, EV_IN | EV_RDHUP | EV_STATE);
	switch (t->state) {
	case TCP_ESTABLISHED:
		tcp_set_state(s, sk, t, TCP_CLOSE_WAIT);
		return true;
	case TCP_FIN_WAIT_1:
		tcp_set_state(s, sk, t, TCP_CLOSING);
		return true;
	case TCP_FIN_WAIT_2:
		tcp_send_ack(s, sk, t);
		tcp_timewait_enter(s, sk, t);
		return false;
	default:
		return true;
	}
}

/* The steps in order; true while the connection lives and may have something to send. */
static bool tcp_steps(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg)
{
	if (!tcp_check_timestamp(s, sk, t, seg) || !tcp_check_sequence(s, sk, t, seg) ||
		!tcp_check_rst(s, sk, t, seg))
		return false;
	if (seg->flags & TH_SYN) { /* fourth: RFC 5961 4.2 */
		tcp_challenge(s, sk, t);
		return false;
	}
	t->heard_ns = s->now_ns;
	tcp_accecn_segment(t, seg);
	if (!tcp_check_ack(s, sk, t, seg))
		return false;
	tcp_take_timestamp(s, t, seg);
	return true;
}

/* Sixth to eighth: urgent pointer, text, FIN. */
static bool tcp_text(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg)
{
	if (t->flags & TCPF_RCV_FIN) { /* nothing can follow; the peer repeats itself */
		if (tcp_segment_end(seg) != seg->seq)
			t->flags |= TCPF_ACK_NOW;
		return true;
	}
	if (seg->flags & TH_URG || t->urg_state == TCP_URG_NOT_YET)
		tcp_urgent(s, sk, t, seg);
	if (tcp_nobody_reads(sk, t, seg)) {
		counter_inc(s, counter_tcp_data_after_close);
		tcp_abort(s, sk, t);
		return false;
	}
	if (seg->flags & TH_FIN && !(t->flags & TCPF_FIN_SEEN) &&
		seq_leq(seg->seq + seg->len, seq_max(t->rcv_wnd_end, t->rcv_nxt))) {
		t->flags |= TCPF_FIN_SEEN;
		t->fin_seq = seg->seq + seg->len;
	}
	if (seg->len)
		tcp_receive(s, sk, t, seg);
	else if (seg->flags & TH_FIN)
		t->flags |= TCPF_ACK_NOW;
	return tcp_take_fin(s, sk, t);
}

void tcp_segment_arrives(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg)
{
	t->totals.segs_in += seg->count;
	if (seg->len)
		t->totals.data_segs_in += seg->count;
	if (t->state == TCP_SYN_SENT) {
		if (!tcp_in_syn_sent(s, sk, t, seg))
			return;
	} else if (!tcp_steps(s, sk, t, seg)) {
		return;
	}
	if (!tcp_text(s, sk, t, seg))
		return;
	/* What MSG_MORE holds back goes at the peer's FIN, as with Linux; TCP_CORK goes on. */
	if (seg->flags & TH_FIN)
		t->flags &= ~(u32)TCPF_MORE;
	tcp_output(s, sk, t);
}
