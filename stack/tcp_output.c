/*
 * Sending: what goes out now, in which segments, and the segments themselves.
 *
 * tcp_output sends, while congestion window, peer's window and the device's queue allow: first what
 * recovery says is lost, then new data, then what may be lost. A segment is one MSS, or up to 64
 * KiB in whole MSS when the device segments (super-frame), cut from the send queue without a copy.
 * A short segment waits by Nagle's rule in Minshall's form (only one short segment unacknowledged),
 * while corked, or while the window is what keeps it short (sender's silly window avoidance, RFC
 * 9293 3.8.6.2.1). When the device's queue is full, sending goes on after TCP_TX_RETRY_NS.
 */
#include <string.h>

#include "stack/tcp_queue.h"

#define SACK_MIN      12u /* an option with one block, aligned */
#define HEADERS_MAX   (40u + TCP_HEADER_LEN + TCP_OPTIONS_MAX)
#define SEGMENT_MIN   48u /* of payload, however small a peer's window is */
#define TX_RING_SPARE 64u /* frames that are kept free for ACKs and others */

void tcp_ack_later(struct stack *s, struct tcp *t)
{
	if (!(t->flags & TCPF_ACK_DELAYED) || t->delack_at == NEVER)
		t->delack_at = s->now_ns + tcp_delack_ns(t);
	t->flags |= TCPF_ACK_DELAYED;
}

static bool tcp_path(
	struct stack *s, const struct sock *sk, const struct addr *remote, struct path *path)
{
	return ip_route(s, remote, sk->conn.ifindex, path) == 0;
}

u16 tcp_adv_mss(
	struct stack *s, const struct sock *sk, const struct tcp *t, const struct addr *remote)
{
	struct path path;
	u32 mss = tcp_default_mss(remote);

	/* The interface's MTU, not the path's: what we can receive (MUST-67). */
	if (tcp_path(s, sk, remote, &path)) {
		const struct netif *n = netif_get(s, path.ifindex);

		mss = (n ? n->mtu : path.mtu) - tcp_headers_len(remote);
	}
	if (t && t->user_mss)
		mss = MIN(mss, t->user_mss);
	return (u16)MIN(mss, 65495u);
}

/* Largest packet that the way to the peer takes as one frame and cuts itself; 0: none. */
static u16 tcp_path_gso(struct stack *s, const struct sock *sk, const struct path *path)
{
	const struct netif *n = netif_get(s, path->ifindex);

	u32 feature = sk->conn.remote.addr.family == FAMILY_INET6 ? DEVICE_TSO6 : DEVICE_TSO4;

	if (path->local || !n || !(n->features & feature) || sk->ip_options_len)
		return 0;
	return (u16)MIN(n->gso_max, 65535u);
}

/* As many segments as before, now that they are smaller; larger ones make no larger window (RFC
 * 5681 3.1, RFC 4821 4). */
static void tcp_mss_rescale(struct tcp *t, u32 mss)
{
	if (mss >= t->mss || !tcp_synchronized(t))
		return;
	t->cwnd = MAX((u32)((u64)t->cwnd * mss / t->mss), mss);
	if (t->ssthresh != UINT32_MAX)
		t->ssthresh = MAX((u32)((u64)t->ssthresh * mss / t->mss), 2 * mss);
}

/* MUST-16: the least of what the peer takes, the path carries and the program wants, without the
 * options of every segment. */
void tcp_mss_update(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct path path;
	const struct addr *remote = &sk->conn.remote.addr;
	u32 mss = t->peer_mss ? t->peer_mss : tcp_default_mss(remote);
	u32 headers = tcp_headers_len(remote) + sk->ip_options_len;

	if (tcp_path(s, sk, &sk->conn.remote.addr, &path)) {
		u32 mtu = tcp_mtup_limit(t, path.mtu);

		mss = MIN(mss, mtu > headers ? mtu - headers : TCP_MSS_MIN);
		t->gso_max = tcp_path_gso(s, sk, &path);
	}
	if (t->user_mss && !tcp_synchronized(t)) /* later peer_mss holds it, as Linux's mss_clamp */
		mss = MIN(mss, t->user_mss);
	mss = MAX(mss, TCP_MSS_MIN);
	if (t->flags & TCPF_TIMESTAMP)
		mss -= TCP_TIMESTAMP_LEN;
	tcp_mss_rescale(t, mss);
	t->mss = (u16)mss;
}

/* A peer whose whole window is small gets segments of at most half of it: it can have two. */
static u32 tcp_full_segment(const struct tcp *t)
{
	u32 cut = t->snd_max_wnd > 536 ? t->snd_max_wnd / 2 : t->snd_max_wnd;
	u32 mss = t->mss;

	if (cut && cut < mss)
		mss = cut;
	return mss < SEGMENT_MIN ? SEGMENT_MIN : mss;
}

static void tcp_fill_header(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_header *h)
{
	*h = (struct tcp_header){
		.local = &sk->conn.local,
		.remote = &sk->conn.remote,
		.ack = t->rcv_nxt,
		.window = (u16)(tcp_window_select(s, sk, t) >> t->rcv_wscale),
		.flags = TH_ACK,
	};
	if (t->flags & TCPF_TIMESTAMP) { /* RFC 7323 3.2 */
		h->opt.flags |= TCP_OPT_TIMESTAMP;
		h->opt.tsval = tcp_clock(s, t->ts_offset);
		h->opt.tsecr = t->ts_recent;
	}
	tcp_ecn_header(t, h);
}

/* Every segment carries the newest acknowledgement. */
static void tcp_acked_now(struct tcp *t)
{
	if (t->quick)
		t->quick--;
	t->rcv_acked = t->rcv_nxt;
	t->flags &= ~(u32)(TCPF_ACK_NOW | TCPF_ACK_DELAYED | TCPF_ACK_SOON);
	t->delack_at = NEVER;
}

/* Payload of a segment on the wire, for the device that cuts it; 0: a probe of the path's MTU is
 * not cut. */
static u32 tcp_wire_size(const struct tcp *t, u32 seq)
{
	return tcp_mtup_is_probe(t, seq) ? 0 : tcp_full_segment(t);
}

static int tcp_send_frame(
	struct stack *s, struct sock *sk, struct tcp *t, ref frame, const struct tcp_header *h)
{
	struct ip_out ip = {
		.src = sk->conn.local.addr,
		.dst = sk->conn.remote.addr,
		.proto = PROTO_TCP,
		.ttl = sk->ttl,
		.tos = (u8)((sk->tos & ~ECN_BITS) | h->ecn),
		.dont_fragment = sk->mtu_discover != LX_IP_PMTUDISC_DONT,
		.ifindex = (u16)sk->conn.ifindex,
		.options_len = sk->ip_options_len,
	};

	memcpy(ip.options, sk->ip_options, sk->ip_options_len);
	sk->tos = ip.tos; /* as IP_TOS shows it on Linux */
	t->totals.segs_out += tcp_segment_count(frame_get(s, frame)->len, tcp_wire_size(t, h->seq));
	return tcp_send_header(s, frame, h, &ip, (u16)tcp_wire_size(t, h->seq));
}

/*
 * The number of a segment without text: SND.NXT, but not beyond a window that the peer has taken
 * back by more than its scale rounds: it would throw the segment away with the acknowledgement that
 * it carries, and if both sides did, neither would hear of the other again.
 */
static u32 tcp_bare_seq(const struct tcp *t)
{
	u32 edge = t->snd_una + t->snd_wnd;

	if (!tcp_synchronized(t) || seq_lt(t->snd_nxt, edge + (1u << t->snd_wscale)))
		return t->snd_nxt;
	return edge;
}

void tcp_send_ack(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_header h;
	ref frame = frame_alloc(s);

	if (!frame) { /* try again later */
		t->flags &= ~(u32)TCPF_ACK_NOW;
		tcp_ack_later(s, t);
		tcp_timer_update(s, sk, t);
		return;
	}
	tcp_fill_header(s, sk, t, &h);
	h.seq = tcp_bare_seq(t);
	if (t->flags & TCPF_SACK && (t->ooo || t->flags & TCPF_DSACK))
		tcp_sack_blocks(s, t, &h.opt, TCP_OPTIONS_MAX);
	tcp_accecn_ack(t, &h);
	tcp_acked_now(t);
	tcp_send_frame(s, sk, t, frame, &h);
}

void tcp_send_reset(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_header h;
	ref frame = frame_alloc(s);

	if (!frame)
		return;
	tcp_fill_header(s, sk, t, &h);
	h.seq = tcp_bare_seq(t);
	h.flags = TH_RST | TH_ACK;
	tcp_send_frame(s, sk, t, frame, &h);
}

void tcp_send_syn(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_header h = {
		.local = &sk->conn.local,
		.remote = &sk->conn.remote,
		.seq = t->snd_una,
		.flags = TH_SYN,
		.opt = {.flags = TCP_OPT_MSS, .mss = t->adv_mss, .wscale = t->rcv_wscale},
	};
	u32 window = t->state == TCP_SYN_SENT ? t->rcv_wnd_end : tcp_rcv_window(t);
	ref frame = frame_alloc(s);

	if (!frame) { /* as if it had been lost */
		t->rtx_mode = TCP_RTX_RTO;
		t->rtx_at =
			s->now_ns + (t->tfo == TFO_DEFERRED ? TCP_TX_RETRY_NS
							    : tcp_rtt_timeout(&t->rtt, t->backoff));
		return;
	}
	tcp_fastopen_fill(s, sk, t, frame_get(s, frame), &h.opt);
	h.window = (u16)MIN(window, 65535u);
	if (t->state == TCP_SYN_RECEIVED) {
		h.flags |= TH_ACK;
		h.ack = t->rcv_nxt;
	}
	tcp_ecn_send_syn(s, t, &h);
	if (t->flags & TCPF_SACK)
		h.opt.flags |= TCP_OPT_SACK_OK;
	if (t->flags & TCPF_WSCALE)
		h.opt.flags |= TCP_OPT_WSCALE;
	if (t->flags & TCPF_TIMESTAMP) {
		h.opt.flags |= TCP_OPT_TIMESTAMP;
		h.opt.tsval = tcp_clock(s, t->ts_offset);
		h.opt.tsecr = h.flags & TH_ACK ? t->ts_recent : 0;
	}
	tcp_send_frame(s, sk, t, frame, &h);
	t->rtx_mode = TCP_RTX_RTO;
	t->rtx_at = s->now_ns + tcp_rtt_timeout(&t->rtt, t->backoff);
}

/* A segment that only asks for an answer: one octet before what is expected, no data (SHLD-12, RFC
 * 9293 3.8.6.1). */
void tcp_send_probe(struct stack *s, struct sock *sk, struct tcp *t, bool keepalive)
{
	struct tcp_header h;
	ref frame = frame_alloc(s);

	if (!frame)
		return;
	counter_inc(s, keepalive ? counter_tcp_keepalive : counter_tcp_window_probe);
	tcp_fill_header(s, sk, t, &h);
	h.seq = t->snd_una - 1;
	tcp_send_frame(s, sk, t, frame, &h);
}

/* Flags and urgent pointer of a data segment that ends at `end`. */
static void tcp_data_flags(const struct tcp *t, struct tcp_header *h, u32 end, bool fin)
{
	u32 ahead = t->snd_up - h->seq;

	if (end == t->snd_end && end != h->seq)
		h->flags |= TH_PSH; /* MUST-61 */
	if (fin)
		h->flags |= TH_FIN;
	if (t->flags & TCPF_URG_OUT && seq_gt(t->snd_up, h->seq)) { /* MUST-30, MUST-62 */
		if (ahead <= 65535)
			h->urgent = (u16)ahead;
		else
			h->urgent = 65535;
		h->flags |= TH_URG;
	}
}

/* Sends the bytes seq .. seq + len (and a FIN behind them) as one segment; what it really sent in
 * *sent. False: no room now. */
static bool tcp_send_data(
	struct stack *s, struct sock *sk, struct tcp *t, u32 seq, u32 len, bool fin, u32 *sent)
{
	ref frame = frame_alloc(s);
	struct frame *f = frame_get(s, frame);
	struct tcp_header h;

	*sent = 0;
	if (!f)
		return false;
	if (len) {
		*sent = tcp_queue_gather(s, t, f, seq, len);
		if (*sent < len)
			fin = false;
		if (*sent == 0) {
			counter_inc(s, counter_invariant);
			frame_free(s, frame);
			return false;
		}
	}
	tcp_fill_header(s, sk, t, &h);
	h.seq = seq;
	tcp_data_flags(t, &h, seq + *sent, fin);
	if (*sent && seq == t->snd_nxt)
		tcp_ecn_new_data(t, &h);
	if (t->text_ns && s->now_ns - t->text_ns < TCP_DELACK_NS)
		t->flags |=
			TCPF_PINGPONG; /* it is an answer, and the next one will carry an ACK too */
	/* What is out of order is reported at once, in a segment of its own; beside data there is
	 * room to say it again in a segment that is not full (RFC 2018 4). */
	if (!t->ooo && !(t->flags & TCPF_DSACK))
		tcp_acked_now(t);
	else if ((t->flags & (TCPF_SACK | TCPF_DSACK)) == TCPF_SACK &&
		 *sent + SACK_MIN <= tcp_full_segment(t))
		tcp_sack_blocks(s, t, &h.opt, tcp_full_segment(t) - *sent);
	t->sent_ns = s->now_ns;
	if (*sent) {
		t->data_sent_ns = s->now_ns;
		t->totals.data_segs_out += tcp_segment_count(*sent, tcp_wire_size(t, seq));
	}
	t->totals.bytes_sent += *sent;
	tcp_pace_sent(s, sk, t, *sent);
	if (!t->stalled_ns)
		t->stalled_ns = MAX(s->now_ns, 1);
	if (tcp_send_frame(s, sk, t, frame, &h) == -EMSGSIZE)
		t->flags |= TCPF_PATH_SHRUNK;
	if (t->stamps)
		tcp_stamp_sent(s, sk, t, seq, seq + *sent);
	*sent += fin ? 1 : 0;
	return true;
}

/* Largest payload of one segment now: a super-frame when the device segments. */
static u32 tcp_segment_limit(const struct stack *s, const struct tcp *t)
{
	u32 mss = tcp_full_segment(t), headers = HEADERS_MAX;
	u32 most = t->gso_max > headers ? t->gso_max - headers : 0;

	if (tcp_accecn_one_by_one(t))
		return mss;
	return most > mss ? tcp_pace_quantum(s, t, mss, most) : mss;
}

static bool tcp_tx_full(struct stack *s, struct tcp *t)
{
	if (s->tx_head - s->tx_freed < STACK_TX_RING - TX_RING_SPARE)
		return false;
	stack_tx_reclaim(s);
	if (s->tx_head - s->tx_freed < STACK_TX_RING - TX_RING_SPARE)
		return false;
	counter_inc(s, counter_tcp_tx_wait);
	t->resume_at = s->now_ns + TCP_TX_RETRY_NS;
	return true;
}

bool tcp_retransmit(
	struct stack *s, struct sock *sk, struct tcp *t, u32 seq, u32 end, u32 *sent_end)
{
	u32 edge = t->snd_una + t->snd_wnd, len, sent;
	bool fin;

	t->mtup.probe = 0; /* its outcome would not tell anything any more */
	/* A window that shrank does not hold back what lies in it (SHLD-16); of what lies beyond
	 * only the first segment goes, as a probe of a window of zero. */
	if (seq_geq(seq, edge) && seq != t->snd_una)
		return false;
	if (seq_lt(seq, edge) && seq_gt(end, edge))
		end = edge;
	fin = t->flags & TCPF_FIN_SENT && seq_gt(end, t->snd_end);
	len = seq_lt(seq, t->snd_end) ? seq_min(end, t->snd_end) - seq : 0;
	if (len > tcp_queue_reach(s, t, seq, len))
		len = tcp_queue_reach(s, t, seq, len);
	if (!tcp_send_data(s, sk, t, seq, len, fin && seq + len == t->snd_end, &sent))
		return false;
	*sent_end = seq + sent;
	t->flags |= TCPF_RETRANSMITTED;
	t->flags &= ~(u32)TCPF_RTT_TIMING; /* Karn */
	t->totals.retransmits++;
	t->totals.bytes_retrans += sent;
	counter_inc(s, counter_tcp_retransmit);
	return true;
}

/* One segment of what recovery wants sent again, within `room` bytes of the congestion window. */
static bool tcp_output_lost(
	struct stack *s, struct sock *sk, struct tcp *t, u32 room, u32 limit, bool last)
{
	u32 seq, end, sent_end, mss = tcp_full_segment(t);

	if (last ? !tcp_recovery_rescue(s, t, &seq, &end) : !tcp_recovery_next(s, t, &seq, &end))
		return false;
	limit = last ? mss : MIN(limit, MAX(room - room % mss, mss));
	if (end - seq > limit)
		end = seq + limit;
	if (!tcp_retransmit(s, sk, t, seq, end, &sent_end))
		return false;
	tcp_recovery_sent(s, t, seq, sent_end);
	if (seq == t->snd_una)
		t->rtx_at = NEVER; /* started anew (RFC 6675 6) */
	return true;
}

/* May a segment shorter than a full one, the last that is queued, go now? */
static bool tcp_nagle_allows(const struct tcp *t)
{
	if (t->flags & (TCPF_FIN | TCPF_PUSH_ALL | TCPF_URG_OUT))
		return true;
	if (t->flags & (TCPF_CORK | TCPF_MORE))
		return false;
	if (t->flags & TCPF_NODELAY)
		return true;
	return seq_leq(t->snd_sml, t->snd_una); /* SHLD-7 */
}

/* How many new bytes may go in one segment now; 0 none. `room` is what the congestion window
 * leaves. */
static u32 tcp_new_len(struct stack *s, const struct tcp *t, u32 room, u32 limit)
{
	u32 mss = tcp_full_segment(t), unsent = t->snd_end - t->snd_nxt,
	    edge = t->snd_una + t->snd_wnd;
	u32 window = seq_gt(edge, t->snd_nxt) ? edge - t->snd_nxt : 0, reach;
	u32 len = MIN(unsent, MIN(window, limit));

	if (room < MIN(mss, unsent) && tcp_flight(t))
		return 0;
	if (len > room)
		len = MAX(room - room % mss, MIN(mss, len));
	reach = tcp_queue_reach(s, t, t->snd_nxt, len);
	if (reach < len && reach < mss)
		return reach; /* more pieces than a frame can have */
	len = reach;
	if (len < unsent && len >= mss)
		return len - len % mss;
	if (len == unsent) {
		if (len >= mss && len % mss && !tcp_nagle_allows(t))
			return len - len % mss;
		return len % mss == 0 || tcp_nagle_allows(t) ? len : 0;
	}
	/* The window keeps it short: only if it is half of the largest ever seen (MUST-38). */
	return len == window && len >= MAX(t->snd_max_wnd / 2, 1u) ? len : 0;
}

/* New data has gone out: it is timed if nothing is, and recorded. */
static void tcp_output_sent(struct stack *s, struct tcp *t, u32 sent)
{
	if (!(t->flags & TCPF_RTT_TIMING)) {
		t->flags |= TCPF_RTT_TIMING;
		t->rtt_seq = t->snd_nxt + sent;
		t->rtt_sent_ns = s->now_ns;
	}
	tcp_record_sent(s, t, t->snd_nxt, t->snd_nxt + sent);
	t->snd_nxt += sent;
}

/* A segment larger than the others, for the search of the path's MTU (RFC 4821). `wait`: nothing
 * new goes until there is room for it. */
static bool tcp_output_probe(struct stack *s, struct sock *sk, struct tcp *t, u32 room, bool *wait)
{
	u32 len = tcp_mtup_wanted(s, sk, t, room), sent;

	*wait = len == TCP_MTUP_WAIT;
	if (!len || *wait || !tcp_record_make(s, t) || tcp_queue_reach(s, t, t->snd_nxt, len) < len)
		return false;
	tcp_mtup_out(sk, t, t->snd_nxt, len);
	if (!tcp_send_data(s, sk, t, t->snd_nxt, len, false, &sent)) {
		t->mtup.probe = 0;
		return false;
	}
	counter_inc(s, counter_tcp_mtup_probe);
	tcp_output_sent(s, t, sent);
	return true;
}

static bool tcp_output_new(struct stack *s, struct sock *sk, struct tcp *t, u32 room, u32 limit)
{
	u32 unsent, len = 0, sent, mss = tcp_full_segment(t);
	bool fin;

	if (tcp_all_sent(t))
		return false;
	unsent = t->snd_end - t->snd_nxt;
	if (!tcp_record_make(s, t)) {
		t->resume_at = s->now_ns + TCP_TX_RETRY_NS;
		return false;
	}
	if (unsent) {
		len = tcp_new_len(s, t, room, limit);
		if (!len)
			return false;
	}
	/* The FIN needs a number within the window. */
	fin = t->flags & TCPF_FIN && len == unsent &&
	      seq_lt(t->snd_nxt + len, t->snd_una + t->snd_wnd);
	if (!len && !fin)
		return false;
	if (!tcp_send_data(s, sk, t, t->snd_nxt, len, fin, &sent)) {
		t->resume_at = s->now_ns + TCP_TX_RETRY_NS;
		return false;
	}
	tcp_output_sent(s, t, sent);
	if (sent > len)
		t->flags |= TCPF_FIN_SENT;
	if (sent % mss)
		t->snd_sml = t->snd_nxt;
	return true;
}

/* One segment of new data whatever Nagle and silly window avoidance say: the window has been small
 * for long. */
void tcp_output_forced(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 edge = t->snd_una + t->snd_wnd,
	    window = seq_gt(edge, t->snd_nxt) ? edge - t->snd_nxt : 0, sent;
	u32 len = MIN(MIN(t->snd_end - t->snd_nxt, window), tcp_full_segment(t));

	if (!len || !tcp_record_make(s, t) || !tcp_send_data(s, sk, t, t->snd_nxt, len, false, &sent))
		return;
	tcp_record_sent(s, t, t->snd_nxt, t->snd_nxt + sent);
	t->snd_nxt += sent;
	t->snd_sml = t->snd_nxt;
}

static bool tcp_can_send(const struct tcp *t)
{
	return t->state == TCP_ESTABLISHED || t->state == TCP_CLOSE_WAIT ||
	       (t->state == TCP_SYN_RECEIVED && t->tfo == TFO_CHILD) ||
	       t->state == TCP_FIN_WAIT_1 || t->state == TCP_CLOSING || t->state == TCP_LAST_ACK;
}

/* Whatever the windows allow; true when it was the congestion window that ended it. */
static bool tcp_output_data(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 limit = tcp_segment_limit(s, t), mss = tcp_full_segment(t);
	bool limited = false, wait;

	for (;;) {
		u32 pipe, room;

		if (tcp_pace_wait(s, sk, t) || tcp_tx_full(s, t))
			return limited;
		pipe = tcp_pipe(s, t);
		room = t->cwnd > pipe ? t->cwnd - pipe : 0;
		if (room < mss && pipe) {
			limited = true;
			if (t->recovery != TCP_OPEN || room < t->snd_end - t->snd_nxt)
				return true;
		}
		if (tcp_output_lost(s, sk, t, room, limit, false) ||
			tcp_output_probe(s, sk, t, room, &wait))
			continue;
		if (wait)
			return true;
		if (!tcp_output_new(s, sk, t, room, limit) &&
			!tcp_output_lost(s, sk, t, room, limit, true))
			return limited;
	}
}

static void tcp_output_windows(struct stack *s, struct sock *sk, struct tcp *t)
{
	tcp_cwnd_idle(s, t);
	if (tcp_cc_of(t)->sending && !tcp_flight(t))
		tcp_cc_of(t)->sending(t, s->now_ns);
	tcp_cwnd_used(t, tcp_output_data(s, sk, t));
}

void tcp_output(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (tcp_can_send(t) && (!tcp_all_sent(t) || t->recovery != TCP_OPEN))
		tcp_output_windows(s, sk, t);
	if (t->flags &
		TCPF_PATH_SHRUNK) { /* another connection learnt of a smaller path: again, once */
		tcp_mss_update(s, sk, t);
		tcp_recovery_resend(s, t);
		tcp_output_data(s, sk, t);
		t->flags &= ~(u32)TCPF_PATH_SHRUNK;
	}
	if (t->flags & TCPF_ACK_NOW)
		tcp_send_ack(s, sk, t);
	t->frto_new = false;
	tcp_rates_sent(s, t);
	tcp_timer_rto(s, sk, t);
	tcp_tlp_arm(s, t);
	tcp_timer_update(s, sk, t);
}

void tcp_output_all(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (!tcp_synchronized(t))
		return;
	t->flags |= TCPF_PUSH_ALL;
	tcp_output(s, sk, t);
	t->flags &= ~(u32)TCPF_PUSH_ALL;
}
