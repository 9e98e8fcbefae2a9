/*
 * Listening: handshakes are small objects (struct tcp_request) in the listener's SYN queue until
 * their last ACK comes; only then is there a socket, which waits in the accept queue.
 *
 * Both queues are bounded: the SYN queue by tcp_max_syn_backlog and the backlog, the accept queue
 * by the backlog as Linux counts it (one more than asked). A full SYN queue answers with cookies
 * (tcp_cookie.c) or drops the SYN. With a full accept queue SYNs are dropped, and so is the
 * last ACK of a handshake, so that the peer tries again; tcp_abort_on_overflow answers it with a
 * RST. TCP_DEFER_ACCEPT lets a bare ACK go by until data comes, for as long as SYN-ACKs would be
 * repeated within the time set.
 */
#include <string.h>

#include "stack/tcp_conn.h"

#define SAVE_LINK	2 /* a value of TCP_SAVE_SYN */
#define LINK_HEADER_LEN 14u

int tcp_listen(struct stack *s, struct sock *sk, u32 backlog)
{
	struct tcp *t = tcp_of(s, sk);

	if (t->state != TCP_LISTEN) {
		tcp_block_reset(t);
		tcp_set_state(s, sk, t, TCP_LISTEN);
	}
	t->backlog = backlog;
	(void)s;
	return 0;
}

bool tcp_accept_full(const struct tcp *t)
{
	return t->accept_count > t->backlog;
}

/* --- the SYN queue --- */

static void tcp_request_link(struct stack *s, struct tcp *t, struct tcp_request *req)
{
	struct tcp_request *head = slab_get(s, SLAB_TCP_REQUEST, t->request_head);

	req->next = t->request_head;
	req->prev = 0;
	if (head)
		head->prev = req->conn.slab.self;
	t->request_head = req->conn.slab.self;
	t->request_count++;
}

void tcp_request_free(struct stack *s, struct tcp_request *req)
{
	struct sock *listener = sock_get(s, req->listener);
	struct tcp *t = listener ? tcp_of(s, listener) : NULL;
	struct tcp_request *next = slab_get(s, SLAB_TCP_REQUEST, req->next);
	struct tcp_request *prev = slab_get(s, SLAB_TCP_REQUEST, req->prev);

	if (next)
		next->prev = req->prev;
	if (prev)
		prev->next = req->next;
	else if (t)
		t->request_head = req->next;
	if (t && t->request_count)
		t->request_count--;
	wheel_cancel(s, req->conn.slab.self);
	conn_remove(s, &req->conn);
	if (req->saved_syn)
		pkt_release(s, req->saved_syn);
	slab_free(s, req->conn.slab.self);
}

/* A segment of the handshake: SYN-ACK, or a bare ACK. */
void tcp_request_send(struct stack *s, struct tcp_request *req, u8 flags)
{
	struct tcp_header h = {
		.local = &req->conn.local,
		.remote = &req->conn.remote,
		.seq = flags & TH_SYN ? req->iss : req->iss + 1,
		.ack = req->irs + 1,
		.window = (u16)MIN(req->rcv_wnd >> (flags & TH_SYN ? 0 : req->rcv_wscale), 65535u),
		.flags = flags,
		.opt = {.flags = flags & TH_SYN ? (u8)(req->flags | TCP_OPT_MSS)
						: req->flags & TCP_OPT_TIMESTAMP},
	};

	if (flags & TH_SYN)
		tcp_ecn_send_syn_ack(req, &h);
	h.opt.mss = req->adv_mss;
	h.opt.wscale = req->rcv_wscale;
	h.opt.tsval = req->cookie ? tcp_cookie_clock(s, req) : tcp_clock(s, req->ts_offset);
	h.opt.tsecr = req->ts_recent;
	if (flags & TH_SYN && req->tfo_len && !req->retries) { /* RFC 7413 4.2.2: not again */
		h.opt.flags |= TCP_OPT_TFO;
		h.opt.tfo_len = req->tfo_len;
		h.opt.tfo_exp = req->tfo_exp;
		memcpy(h.opt.tfo, req->tfo, sizeof(req->tfo));
	}
	tcp_send_bare(s, &h, req->tos, req->conn.ifindex);
}

static void tcp_request_syn_ack(struct stack *s, struct tcp_request *req)
{
	tcp_request_send(s, req, TH_SYN | TH_ACK);
	req->sent_ns = s->now_ns;
	wheel_arm(s, req->conn.slab.self, s->now_ns + (TCP_RTO_INITIAL_NS << MIN(req->retries, 7)));
}

void tcp_request_timer(struct stack *s, struct tcp_request *req)
{
	struct sock *listener = sock_get(s, req->listener);
	const struct tcp *t = listener ? tcp_of(s, listener) : NULL;
	bool waits = req->acked && t && s->now_ns - req->began_ns < t->defer_accept_s * NS_PER_S;

	if (!t || (!req->acked && req->retries >= s->tunables.tcp_synack_retries)) {
		counter_inc(s, counter_tcp_handshake_timeout);
		tcp_request_free(s, req);
		return;
	}
	if (req->retries < 255)
		req->retries++;
	if (waits) { /* the peer has the SYN-ACK and just says nothing */
		wheel_arm(s, req->conn.slab.self,
			s->now_ns + (TCP_RTO_INITIAL_NS << MIN(req->retries, 7)));
		return;
	}
	req->acked = false; /* the time is over: the peer's next ACK completes it */
	counter_inc(s, counter_tcp_syn_ack_again);
	tcp_request_syn_ack(s, req);
}

/* What both sides can do (RFC 7323 2.2 and 3.2, RFC 2018 2). */
static u8 tcp_request_options(const struct stack *s, const struct tcp_options *o)
{
	u8 flags = 0;

	if (s->tunables.tcp_timestamps)
		flags |= o->flags & TCP_OPT_TIMESTAMP;
	if (s->tunables.tcp_sack)
		flags |= o->flags & TCP_OPT_SACK_OK;
	if (s->tunables.tcp_window_scaling)
		flags |= o->flags & TCP_OPT_WSCALE;
	return flags;
}

/* What does not depend on the SYN but for its options, which are known. */
void tcp_request_fill(struct stack *s, struct sock *listener, const struct tcp *t,
	const struct tcp_segment *seg, struct tcp_request *req)
{
	req->conn.local = seg->p->to;
	req->conn.remote = seg->p->from;
	req->conn.proto = PROTO_TCP;
	req->conn.ifindex = listener->conn.ifindex;
	req->timer.deadline_ns = NEVER;
	req->ts_offset = tcp_ts_offset(s, &req->conn.local, &req->conn.remote);
	req->adv_mss = tcp_adv_mss(s, listener, t, &req->conn.remote.addr);
	tcp_window_init(s, listener, req->adv_mss, &req->rcv_wnd, &req->rcv_wscale);
	if (!(req->flags & TCP_OPT_WSCALE))
		req->rcv_wscale = 0;
	req->tos = s->tunables.tcp_reflect_tos ? (u8)((listener->tos & 3) | (seg->p->tos & ~3))
					       : listener->tos;
	req->began_ns = s->now_ns;
}

static void tcp_request_of_syn(struct stack *s, struct sock *listener, const struct tcp *t,
	const struct tcp_segment *seg, struct tcp_request *req)
{
	const struct tcp_options *o = &seg->opt;

	req->flags = tcp_request_options(s, o);
	tcp_request_fill(s, listener, t, seg, req);
	tcp_ecn_request(s, req, seg);
	req->irs = seg->seq;
	req->iss = tcp_isn(s, &req->conn.local, &req->conn.remote);
	if (seg->isn_above && seq_leq(req->iss, seg->isn_above))
		req->iss = seg->isn_above + 1;
	req->ts_recent = o->tsval;
	req->snd_wnd = seg->window;
	req->peer_mss = o->flags & TCP_OPT_MSS ? MAX(o->mss, (u16)TCP_MSS_MIN)
					       : tcp_default_mss(&req->conn.remote.addr);
	req->snd_wscale = req->flags & TCP_OPT_WSCALE ? o->wscale : 0;
}

/* Into the SYN queue. */
void tcp_request_begin(
	struct stack *s, struct sock *listener, struct tcp *t, struct tcp_request *req)
{
	/* With a listener it counts in a repair. */
	__atomic_store_n(&req->listener, listener->conn.slab.self, __ATOMIC_RELEASE);
	conn_insert(s, &req->conn);
	tcp_request_link(s, t, req);
}

/* TCP_SAVE_SYN: the headers from IP on, or from Ethernet on. */
ref tcp_save_syn(struct stack *s, u32 mode, const struct tcp_segment *seg)
{
	const struct pkt *p = seg->p;
	u32 from = mode == SAVE_LINK && !(p->flags & PKT_LOOPED) ? p->l3 - LINK_HEADER_LEN : p->l3;
	u32 size = p->start - from;
	struct pkt *copy;
	ref r;

	if (!mode || from > p->start)
		return 0;
	r = pkt_alloc(s, size);
	copy = pkt_get(s, r);
	if (!copy)
		return 0;
	memcpy(pkt_put(copy, size), p->data + from, size);
	return r;
}

static void tcp_request_new(struct stack *s, struct sock *listener, struct tcp *t,
	const struct tcp_segment *seg, struct tcp_request *from)
{
	struct tcp_request *req = slab_get(s, SLAB_TCP_REQUEST, slab_alloc(s, SLAB_TCP_REQUEST));

	if (!req) {
		counter_inc(s, counter_tcp_syn_drop);
		return;
	}
	from->conn.slab = req->conn.slab;
	*req = *from;
	req->saved_syn = tcp_save_syn(s, t->save_syn, seg);
	tcp_request_begin(s, listener, t, req);
	tcp_request_syn_ack(s, req);
}

/* As many handshakes as connections may wait for accept, as Linux, and tcp_max_syn_backlog. */
static bool tcp_syn_queue_full(const struct stack *s, const struct tcp *t)
{
	return t->request_count > t->backlog || t->request_count >= s->tunables.tcp_max_syn_backlog;
}

/* Without cookies the last quarter of the SYN queue is for peers that have answered before, as on
 * Linux. */
static bool tcp_syn_stranger(struct stack *s, const struct tcp *t, const struct tcp_segment *seg)
{
	u32 most = s->tunables.tcp_max_syn_backlog;

	return !s->tunables.tcp_syncookies && !seg->isn_above &&
	       most - MIN(t->request_count, most) < most / 4 &&
	       !tcp_metric_proven(s, &seg->p->from.addr);
}

static void tcp_listen_syn(
	struct stack *s, struct sock *listener, struct tcp *t, struct tcp_segment *seg)
{
	/* After a TIME-WAIT the number must be above the old ones: no cookie. */
	bool full = tcp_syn_queue_full(s, t), always = s->tunables.tcp_syncookies == 2;
	bool cookie = (full || always) && s->tunables.tcp_syncookies && !seg->isn_above;
	struct tcp_request req = {0};

	if ((full && !cookie) || tcp_syn_stranger(s, t, seg)) {
		counter_inc(s, counter_tcp_syn_drop);
		return;
	}
	if (tcp_accept_full(t)) {
		counter_inc(s, counter_tcp_accept_overflow);
		return;
	}
	tcp_request_of_syn(s, listener, t, seg, &req);
	if (cookie)
		tcp_cookie_send(s, t, &req);
	else if (!tcp_fastopen_syn(s, listener, t, seg, &req))
		tcp_request_new(s, listener, t, seg, &req);
}

/* RFC 9293 3.10.7.2 */
void tcp_listen_input(struct stack *s, struct sock *listener, struct tcp_segment *seg)
{
	struct tcp *t = tcp_of(s, listener);

	if (seg->flags & TH_RST) {
		counter_inc(s, counter_tcp_discarded);
		return;
	}
	if (seg->flags & TH_ACK) {
		if (!t || !tcp_cookie_input(s, listener, t, seg))
			tcp_refuse(s, seg);
		return;
	}
	if (!(seg->flags & TH_SYN) || seg->flags & TH_FIN || !t) {
		counter_inc(s, counter_tcp_discarded);
		return;
	}
	tcp_listen_syn(s, listener, t, seg);
}

/* --- from the handshake to a connection --- */

void tcp_child_init(struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_request *req)
{
	t->listener = req->listener;
	tcp_set_state(s, sk, t, TCP_SYN_RECEIVED);
	t->flags |= TCPF_PASSIVE | (req->flags & TCP_OPT_TIMESTAMP ? TCPF_TIMESTAMP : 0) |
		    (req->flags & TCP_OPT_SACK_OK ? TCPF_SACK : 0) |
		    (req->flags & TCP_OPT_WSCALE ? TCPF_WSCALE : 0);
	t->iss = req->iss;
	t->irs = req->irs;
	t->snd_una = req->iss;
	t->snd_nxt = t->snd_end = t->snd_sml = t->snd_up = t->fack = req->iss + 1;
	t->snd_wnd = t->snd_max_wnd = req->snd_wnd;
	t->snd_wscale = req->snd_wscale;
	t->rcv_wscale = req->rcv_wscale;
	t->rcv_nxt = t->rcv_acked = t->copied_seq = t->urg_seq = t->drs_seq = req->irs + 1;
	t->rcv_wnd_end = t->rcv_nxt + req->rcv_wnd;
	t->ts_recent = req->ts_recent;
	t->ts_recent_ns = s->now_ns;
	t->ts_offset = req->ts_offset;
	if (s->tunables.tcp_reflect_tos)
		sk->tos = req->tos;
	tcp_ecn_child(s, t, req);
	t->peer_mss = t->user_mss ? MIN(req->peer_mss, t->user_mss) : req->peer_mss;
	t->adv_mss = req->adv_mss;
	t->retries = req->retries;
	if (!req->retries && !req->cookie) { /* when a cookie was sent is not known */
		t->flags |= TCPF_RTT_TIMING;
		t->rtt_sent_ns = req->sent_ns;
	}
	tcp_mss_update(s, sk, t);
	t->rcv_mss = (u16)MIN(TCP_MSS_DEFAULT, t->adv_mss);
	t->cwnd = tcp_cc_initial_window(t->mss);
}

/* Options that a connection takes over from its listener. */
void tcp_child_inherit(struct tcp *t, const struct tcp *from)
{
	t->flags |= from->flags & (TCPF_NODELAY | TCPF_CORK | TCPF_LINGER2_SET | TCPF_INQ);
	t->cc = from->cc;
	t->keep_idle_s = from->keep_idle_s;
	t->keep_intvl_s = from->keep_intvl_s;
	t->keep_cnt = from->keep_cnt;
	t->user_timeout_ms = from->user_timeout_ms;
	t->linger2_s = from->linger2_s;
	t->notsent_lowat = from->notsent_lowat;
	t->user_mss = from->user_mss;
	t->window_clamp = from->window_clamp;
	t->rtt.rto_min_ns = from->rtt.rto_min_ns;
	t->rtt.rto_max_ns = from->rtt.rto_max_ns;
	t->delack_max_us = from->delack_max_us;
	t->syn_retries = from->syn_retries;
	t->save_syn = from->save_syn;
	t->tfo_connect = from->tfo_connect;
	t->tfo_no_cookie = from->tfo_no_cookie;
}

void tcp_request_complete(
	struct stack *s, struct tcp_request *req, struct sock *listener, struct tcp_segment *seg)
{
	struct sock *sk;
	struct tcp *t;
	ref child;

	conn_remove(s, &req->conn); /* its place in the table is the connection's */
	child = sock_spawn(s, listener, &req->conn.local, &req->conn.remote);
	sk = sock_get(s, child);
	t = sk ? tcp_of(s, sk) : NULL;
	if (!t) { /* no memory: the peer's next segment tries again */
		counter_inc(s, counter_tcp_accept_overflow);
		conn_insert(s, &req->conn);
		if (req->cookie)
			tcp_request_free(s, req);
		return;
	}
	s->touched[3] = child;
	tcp_child_inherit(t, tcp_of(s, listener));
	tcp_child_init(s, sk, t, req);
	t->saved_syn = req->saved_syn;
	req->saved_syn = 0;
	tcp_request_free(s, req);
	tcp_segment_arrives(s, sk, t, seg);
	sk = sock_get(s, child);
	if (sk && t->state == TCP_SYN_RECEIVED) /* the segment did not complete it after all */
		tcp_done(s, sk, t, 0);
	s->touched[3] = 0;
}

/* The ACK field names our SYN: RFC 9293 3.10.7.4 fifth step, SYN-RECEIVED. */
static void tcp_request_ack(struct stack *s, struct tcp_request *req, struct tcp_segment *seg)
{
	struct sock *listener = sock_get(s, req->listener);
	struct tcp *t = listener ? tcp_of(s, listener) : NULL;
	bool bare = seg->len == 0 && !(seg->flags & TH_FIN);

	if (!t || t->state != TCP_LISTEN || seg->ack != req->iss + 1) {
		tcp_refuse(s, seg);
		return;
	}
	if (bare && t->defer_accept_s && s->now_ns - req->began_ns < t->defer_accept_s * NS_PER_S) {
		counter_inc(s, counter_tcp_defer_accept);
		req->acked = true;
		return;
	}
	if (tcp_accept_full(t)) {
		counter_inc(s, counter_tcp_accept_overflow);
		if (s->tunables.tcp_abort_on_overflow) {
			tcp_refuse(s, seg);
			tcp_request_free(s, req);
		}
		return;
	}
	tcp_request_complete(s, req, listener, seg);
}

static void tcp_request_challenge(struct stack *s, struct tcp_request *req)
{
	if (tcp_challenge_allowed(s, &req->challenge_ns))
		tcp_request_send(s, req, TH_ACK);
}

void tcp_request_input(struct stack *s, struct tcp_request *req, struct tcp_segment *seg)
{
	u32 expected = req->irs + 1, end = tcp_segment_end(seg);
	bool in_window = end == seg->seq ? seg->seq - expected <= req->rcv_wnd
					 : seq_in_window(seg->seq, expected, req->rcv_wnd) ||
						   (seq_lt(seg->seq, expected) && seq_gt(end, expected));

	if ((seg->flags & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN && seg->seq == req->irs) {
		if (s->now_ns - req->sent_ns >= NS_PER_MS ||
			!req->sent_ns) /* the SYN-ACK was lost */
			tcp_request_syn_ack(s, req);
		else
			counter_inc(s, counter_tcp_discarded);
		return;
	}
	if (seg->flags & TH_RST) {
		if (seg->seq ==
			expected) /* back to LISTEN: the listener hears nothing of it (H11) */
			tcp_request_free(s, req);
		else if (seq_in_window(seg->seq, expected, req->rcv_wnd))
			tcp_request_challenge(s, req);
		else
			counter_inc(s, counter_tcp_out_of_window);
		return;
	}
	if (req->flags & TCP_OPT_TIMESTAMP &&
		tcp_paws_reject(s, req->ts_recent, req->began_ns, &seg->opt))
		in_window = false;
	if (!in_window || seg->flags & TH_SYN) {
		tcp_request_challenge(s, req);
		return;
	}
	if (seg->flags & TH_ACK)
		tcp_request_ack(s, req, seg);
	else
		counter_inc(s, counter_tcp_no_ack);
}

/* --- the accept queue --- */

void tcp_accept_enqueue(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct sock *listener = sock_get(s, t->listener), *last;
	struct tcp *l = listener ? tcp_of(s, listener) : NULL;
	ref self = sk->conn.slab.self;

	if (!l)
		return;
	last = sock_get(s, l->accept_tail);
	t->accept_next = 0;
	if (last)
		tcp_of(s, last)->accept_next = self;
	else
		l->accept_next = self;
	l->accept_tail = self;
	l->accept_count++;
	sock_raise(s, listener, EV_IN);
}

/* The oldest connection of the queue, taken off it. */
static struct sock *tcp_accept_pop(struct stack *s, struct tcp *l)
{
	struct sock *sk = sock_get(s, l->accept_next);
	struct tcp *t = sk ? tcp_of(s, sk) : NULL;

	if (!t)
		return NULL;
	l->accept_next = t->accept_next;
	if (!l->accept_next)
		l->accept_tail = 0;
	l->accept_count--;
	t->accept_next = 0;
	t->listener = 0;
	return sk;
}

ref tcp_accept(struct stack *s, struct sock *sk, int *error)
{
	struct sock *child = tcp_accept_pop(s, tcp_of(s, sk));

	*error = child ? 0 : -EAGAIN;
	return child ? child->conn.slab.self : 0;
}

void tcp_listen_close(struct stack *s, struct sock *listener, struct tcp *t)
{
	struct tcp_request *req;
	struct sock *child;

	(void)listener;
	while ((req = slab_get(s, SLAB_TCP_REQUEST, t->request_head)))
		tcp_request_free(s, req);
	while ((child = tcp_accept_pop(s, t))) {
		struct tcp *c = tcp_of(s, child);

		child->flags |= SOCK_ORPHAN;
		s->tcp_orphans++;
		if (c->state != TCP_CLOSED) {
			tcp_abort(s, child, c);
			continue;
		}
		s->tcp_orphans--;
		sock_free(s, child);
	}
}
