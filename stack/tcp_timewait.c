/*
 * TIME-WAIT (RFC 9293 3.3.2, MUST-13): a small object that keeps the four-tuple for 60 s after the
 * socket has gone.
 *
 * It answers what is not acceptable with an ACK, ignores RSTs (RFC 1337 fix 1, tcp_rfc1337), starts
 * anew at a FIN, and gives way to a SYN that is newer by timestamp or by sequence number (MAY-2,
 * RFC 6191). The oldest gives way when there are tcp_max_tw_buckets, and a connection that we open
 * ourselves may have the tuple a second after the last segment (tcp_tw_reuse), if timestamps tell
 * its segments from the old ones.
 */
#include "stack/tcp_conn.h"

void tcp_timewait_free(struct stack *s, struct tcp_timewait *tw)
{
	struct tcp_timewait *next = slab_get(s, SLAB_TCP_TIMEWAIT, tw->next);
	struct tcp_timewait *prev = slab_get(s, SLAB_TCP_TIMEWAIT, tw->prev);

	if (next)
		next->prev = tw->prev;
	else
		s->timewait_tail = tw->prev;
	if (prev)
		prev->next = tw->next;
	else
		s->timewait_head = tw->next;
	wheel_cancel(s, tw->conn.slab.self);
	conn_remove(s, &tw->conn);
	port_detach(s, &tw->conn);
	slab_free(s, tw->conn.slab.self);
}

static void tcp_timewait_link(struct stack *s, struct tcp_timewait *tw)
{
	struct tcp_timewait *tail = slab_get(s, SLAB_TCP_TIMEWAIT, s->timewait_tail);

	tw->next = 0;
	tw->prev = s->timewait_tail;
	if (tail)
		tail->next = tw->conn.slab.self;
	else
		s->timewait_head = tw->conn.slab.self;
	s->timewait_tail = tw->conn.slab.self;
}

static struct tcp_timewait *tcp_timewait_alloc(struct stack *s)
{
	struct tcp_timewait *oldest = slab_get(s, SLAB_TCP_TIMEWAIT, s->timewait_head);

	if (slab_in_use(s, SLAB_TCP_TIMEWAIT) >= s->tunables.tcp_max_tw_buckets) {
		counter_inc(s, counter_tcp_timewait_overflow);
		if (oldest)
			tcp_timewait_free(s, oldest);
		if (!s->tunables.tcp_max_tw_buckets)
			return NULL;
	}
	return slab_get(s, SLAB_TCP_TIMEWAIT, slab_alloc(s, SLAB_TCP_TIMEWAIT));
}

void tcp_timewait_enter(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_timewait *tw = tcp_timewait_alloc(s);
	ref port = sk->conn.port;

	counter_inc(s, counter_tcp_timewait);
	tcp_set_state(s, sk, t, TCP_TIME_WAIT);
	if (sk->flags & SOCK_HASHED)
		conn_remove(s, &sk->conn);
	if (tw) {
		tw->conn.local = sk->conn.local;
		tw->conn.remote = sk->conn.remote;
		tw->conn.proto = PROTO_TCP;
		tw->conn.ifindex = sk->conn.ifindex;
		tw->conn.bind =
			(u8)(CONN_TIMEWAIT | (sk->conn.bind & (CONN_REUSEADDR | CONN_REUSEPORT)));
		tw->snd_nxt = t->snd_nxt;
		tw->rcv_nxt = t->rcv_nxt;
		tw->rcv_wnd = tcp_rcv_window(t);
		tw->rcv_wscale = t->rcv_wscale;
		tw->timestamps = t->flags & TCPF_TIMESTAMP;
		tw->ts_recent = t->ts_recent;
		tw->ts_recent_ns = t->ts_recent_ns;
		tw->ts_offset = t->ts_offset;
		tw->tos = (u8)(sk->tos & ~ECN_BITS);
		tw->ttl = sk->ttl;
		tw->timer.deadline_ns = NEVER;
		if (port)
			port_attach(s, port, &tw->conn, true);
		conn_insert(s, &tw->conn);
		tcp_timewait_link(s, tw);
		wheel_arm(s, tw->conn.slab.self, s->now_ns + TCP_TIMEWAIT_NS);
	}
	tcp_done(s, sk, t, 0);
}

static void tcp_timewait_ack(struct stack *s, struct tcp_timewait *tw)
{
	struct tcp_header h = {
		.local = &tw->conn.local,
		.remote = &tw->conn.remote,
		.seq = tw->snd_nxt,
		.ack = tw->rcv_nxt,
		.window = (u16)MIN(tw->rcv_wnd >> tw->rcv_wscale, 65535u),
		.flags = TH_ACK,
	};

	/* Two old ends that ACK each other must not do so without end. */
	if (tw->acked_ns && s->now_ns - tw->acked_ns < 100 * NS_PER_MS)
		return;
	tw->acked_ns = MAX(s->now_ns, 1);
	if (tw->timestamps) {
		h.opt.flags = TCP_OPT_TIMESTAMP;
		h.opt.tsval = tcp_clock(s, tw->ts_offset);
		h.opt.tsecr = tw->ts_recent;
	}
	tcp_send_bare(s, &h, tw->tos, tw->conn.ifindex);
}

static void tcp_timewait_restart(struct stack *s, struct tcp_timewait *tw)
{
	wheel_arm(s, tw->conn.slab.self, s->now_ns + TCP_TIMEWAIT_NS);
}

/* MAY-2 and RFC 6191 2: is the SYN surely of a later connection? */
static bool tcp_timewait_newer(
	const struct stack *s, const struct tcp_timewait *tw, const struct tcp_segment *seg)
{
	if (tw->timestamps && seg->opt.flags & TCP_OPT_TIMESTAMP) {
		if (seq_gt(seg->opt.tsval, tw->ts_recent))
			return true;
		if (tcp_paws_reject(s, tw->ts_recent, tw->ts_recent_ns, &seg->opt))
			return false;
	}
	return seq_gt(seg->seq, tw->rcv_nxt);
}

static bool tcp_timewait_acceptable(const struct tcp_timewait *tw, const struct tcp_segment *seg)
{
	return seq_in_window(seg->seq, tw->rcv_nxt, tw->rcv_wnd) ||
	       (seq_lt(seg->seq, tw->rcv_nxt) && seq_gt(tcp_segment_end(seg), tw->rcv_nxt));
}

bool tcp_timewait_input(struct stack *s, struct tcp_timewait *tw, struct tcp_segment *seg)
{
	bool old = tw->timestamps && tcp_paws_reject(s, tw->ts_recent, tw->ts_recent_ns, &seg->opt);

	if (seg->flags & TH_RST) { /* RFC 1337 fix 1 */
		counter_inc(s, counter_tcp_timewait_rst);
		if (!s->tunables.tcp_rfc1337 && !old && seg->seq == tw->rcv_nxt)
			tcp_timewait_free(s, tw);
		return false;
	}
	if ((seg->flags & (TH_SYN | TH_ACK | TH_FIN)) == TH_SYN && tcp_timewait_newer(s, tw, seg)) {
		counter_inc(s, counter_tcp_timewait_reused);
		seg->isn_above =
			tw->snd_nxt +
			65535; /* beyond what the old connection may still have under way */
		tcp_timewait_free(s, tw);
		return true;
	}
	counter_inc(s, counter_tcp_timewait_segment);
	if (seg->flags & TH_SYN) {
		tcp_timewait_ack(s, tw);
		return false;
	}
	if (!(seg->flags & TH_ACK)) {
		if (!tcp_timewait_acceptable(tw, seg)) /* RFC 9293 3.10.7.4, first */
			tcp_timewait_ack(s, tw);
		return false;
	}
	if (!old && seg->flags & TH_FIN &&
		tcp_segment_end(seg) == tw->rcv_nxt) { /* our last ACK was lost */
		if (seg->opt.flags & TCP_OPT_TIMESTAMP && tw->timestamps) {
			tw->ts_recent = seg->opt.tsval;
			tw->ts_recent_ns = s->now_ns;
		}
		tcp_timewait_restart(s, tw);
		tcp_timewait_ack(s, tw);
		return false;
	}
	if (old || tcp_segment_end(seg) != seg->seq || seg->seq != tw->rcv_nxt)
		tcp_timewait_ack(s, tw);
	return false;
}

static bool tcp_timewait_reusable(const struct stack *s, const struct tcp_timewait *tw)
{
	u32 reuse = s->tunables.tcp_tw_reuse;

	return reuse == 2 ? tw->conn.ifindex == NETIF_LOOPBACK ||
				    addr_is_loopback(&tw->conn.local.addr) ||
				    addr_is_loopback(&tw->conn.remote.addr)
			  : reuse != 0;
}

bool tcp_timewait_yield(struct stack *s, ref conn, bool chosen)
{
	struct tcp_timewait *tw = slab_get(s, SLAB_TCP_TIMEWAIT, conn);

	/* Linux's tcp_twsk_unique: timestamps, and some time later or at a port that was bound. */
	if (!tw || !tw->timestamps)
		return false;
	if (!chosen && (!tcp_timewait_reusable(s, tw) ||
			       s->now_ns - tw->ts_recent_ns <
				       s->tunables.tcp_tw_reuse_delay_ms * NS_PER_MS))
		return false;
	counter_inc(s, counter_tcp_timewait_reused);
	tcp_timewait_free(s, tw);
	return true;
}
