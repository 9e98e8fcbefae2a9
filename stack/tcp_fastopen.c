/*
 * TCP Fast Open (RFC 7413), both sides.
 *
 * As a client: connect after TCP_FASTOPEN_CONNECT, or MSG_FASTOPEN, looks for the destination's
 * cookie (tcp_metrics.c). With one the connection waits for the first send, whose bytes go in the
 * SYN with the cookie; without one the SYN asks for it. The bytes of a SYN stay in the send queue
 * until they are acknowledged: what the SYN-ACK leaves out goes again after the handshake, and a
 * SYN that is not answered goes again bare. A destination that lets such SYNs vanish twice in a row
 * is left alone for a minute, and twice as long each time (4.1.3).
 *
 * As a server: a listener with TCP_FASTOPEN answers a request with a cookie, the keyed hash of both
 * addresses that Linux makes (so hosts behind one address may share a key). A SYN with a right one
 * makes the connection at once: in SYN-RECEIVED, with the SYN's text to read, in the accept queue,
 * and able to send. No more of these than the option's value are under way (4.2.2); one that a RST
 * ends counts for another minute (5.1).
 *
 * A cookie made with the key before is good, and the SYN-ACK brings a new one. tcp_fastopen's bits
 * are Linux's. The option's form of the experiment of 2012 (kind 254) is answered in kind, and
 * asked for once where the option itself was not answered. tcp_blackhole.c has what a path may do
 * to it.
 */
#include <string.h>

#include "stack/bytes.h"
#include "stack/tcp_queue.h"

#define COOKIE_BYTES	8u
#define RESET_HOLD_NS	(60 * NS_PER_S)
#define LOSS_PAUSE_NS	(60 * NS_PER_S)
#define LOSSES_BEARABLE 1u
#define LOSSES_MAX	10u

/* --- cookies --- */

static struct siphash_key key_of(const u8 *bytes)
{
	struct siphash_key key = {{0}};

	for (u32 i = 0; i < 16; i++)
		key.k[i / 8] |= (u64)bytes[i] << 8 * (i % 8);
	return key;
}

/* The key in use, or the one before it (index 1): the listener's, the tunable's, the host's own. */
static bool cookie_key(
	const struct stack *s, const struct tcp *t, u32 index, struct siphash_key *key)
{
	const struct stack_tunables *u = &s->tunables;

	if (t->tfo_keys) {
		*key = key_of(t->tfo_key + 16 * index);
		return index < t->tfo_keys;
	}
	if (u->tcp_fastopen_keys) {
		*key = key_of(u->tcp_fastopen_key + 16 * index);
		return index < u->tcp_fastopen_keys;
	}
	*key = s->tfo_key;
	return index == 0;
}

static void cookie_make(
	const struct siphash_key *key, const struct addr *from, const struct addr *to, u8 *cookie)
{
	u32 skip = from->family == FAMILY_INET ? 12 : 0, len = 16 - skip;
	u8 in[32];
	u64 hash;

	memcpy(in, from->b + skip, len);
	memcpy(in + len, to->b + skip, len);
	hash = siphash(key, in, 2 * len);
	for (u32 i = 0; i < COOKIE_BYTES; i++)
		cookie[i] = (u8)(hash >> 8 * i);
}

/* 1: made with the key in use; 2: with the one before; 0: not ours. */
static u32 cookie_good(const struct stack *s, const struct tcp *t, const struct tcp_segment *seg)
{
	struct siphash_key key;
	u8 cookie[COOKIE_BYTES], differ;

	for (u32 i = 0; i < 2 && seg->opt.tfo_len == COOKIE_BYTES; i++) {
		if (!cookie_key(s, t, i, &key))
			break;
		cookie_make(&key, &seg->p->from.addr, &seg->p->to.addr, cookie);
		differ = 0;
		for (u32 k = 0; k < COOKIE_BYTES; k++)
			differ |= cookie[k] ^ seg->opt.tfo[k];
		if (!differ)
			return i + 1;
	}
	return 0;
}

/* --- the server --- */

static bool fastopen_room(struct stack *s, const struct sock *listener, struct tcp *t)
{
	u32 most = listener->fastopen_qlen;

	if (!most && s->tunables.tcp_fastopen & TFO_SERVER_ALL)
		most = t->backlog;
	if (!most)
		return false;
	if (t->tfo_resets && s->now_ns - t->tfo_reset_ns >= RESET_HOLD_NS)
		t->tfo_resets = 0;
	if (t->tfo_count + t->tfo_resets < most)
		return true;
	counter_inc(s, counter_tcp_fastopen_overflow);
	return false;
}

/* The connection of a SYN whose cookie is right: its text is taken, then the SYN-ACK goes. */
static bool fastopen_child(struct stack *s, struct sock *listener, struct tcp *l,
	struct tcp_segment *seg, struct tcp_request *req, bool renew)
{
	ref child = sock_spawn(s, listener, &req->conn.local, &req->conn.remote);
	struct sock *sk = sock_get(s, child);
	struct tcp *t = sk ? tcp_of(s, sk) : NULL;

	if (!t)
		return false;
	s->touched[3] = child;
	req->listener = listener->conn.slab.self;
	req->sent_ns = s->now_ns;
	t->tfo = TFO_CHILD;
	t->tfo_listener = req->listener;
	l->tfo_count++;
	tcp_child_inherit(t, l);
	tcp_child_init(s, sk, t, req);
	t->saved_syn = tcp_save_syn(s, l->save_syn, seg);
	t->tfo_renew = renew;
	t->tfo_exp = seg->opt.tfo_exp;
	t->snd_sml = t->iss; /* no short segment of text is out */
	seg->seq++;
	seg->p->seq = seg->seq;
	seg->flags &= (u8)~TH_SYN;
	if (seg->len) {
		t->totals.segs_in += seg->count;
		t->totals.data_segs_in += seg->count;
		t->syn_data_acked = true;
		tcp_receive(s, sk, t, seg);
	}
	t->flags &= ~(u32)(TCPF_ACK_NOW | TCPF_ACK_DELAYED | TCPF_ACK_SOON);
	t->delack_at = NEVER;
	t->rcv_acked = t->rcv_nxt;
	tcp_send_syn(s, sk, t);
	tcp_timer_update(s, sk, t);
	tcp_accept_enqueue(s, sk, t);
	counter_inc(s, counter_tcp_fastopen_passive);
	s->touched[3] = 0;
	return true;
}

bool tcp_fastopen_syn(struct stack *s, struct sock *listener, struct tcp *t,
	struct tcp_segment *seg, struct tcp_request *req)
{
	u32 bits = s->tunables.tcp_fastopen, good = 0;
	bool asked = seg->opt.flags & TCP_OPT_TFO;
	bool bare = !(bits & TFO_SERVER_NO_COOKIE) && !t->tfo_no_cookie;
	struct siphash_key key;

	if (asked && !seg->opt.tfo_len)
		counter_inc(s, counter_tcp_fastopen_request);
	if (!(bits & TFO_SERVER) || (!asked && (bare || !seg->len)) ||
		!fastopen_room(s, listener, t))
		return false;
	if (seg->opt.tfo_len || !bare)
		good = bare ? cookie_good(s, t, seg) : 1;
	if (good && fastopen_child(s, listener, t, seg, req, good == 2)) {
		if (good == 2)
			counter_inc(s, counter_tcp_fastopen_old_key);
		return true;
	}
	if (seg->opt.tfo_len)
		counter_inc(s, counter_tcp_fastopen_passive_fail);
	if (asked && cookie_key(s, t, 0, &key)) { /* the SYN-ACK brings a good one */
		cookie_make(&key, &seg->p->from.addr, &seg->p->to.addr, req->tfo);
		req->tfo_len = COOKIE_BYTES;
		req->tfo_exp = seg->opt.tfo_exp;
	}
	return false;
}

/* A connection of this kind has finished its handshake, or ended before. */
void tcp_fastopen_over(struct stack *s, struct tcp *t, bool reset)
{
	struct sock *listener = sock_get(s, t->tfo_listener);
	struct tcp *l = listener ? tcp_of(s, listener) : NULL;

	if (t->tfo != TFO_CHILD)
		return;
	t->tfo = TFO_NONE;
	t->tfo_listener = 0;
	if (!l || l->state != TCP_LISTEN)
		return;
	l->tfo_count -= l->tfo_count != 0;
	if (reset) {
		l->tfo_resets++;
		l->tfo_reset_ns = s->now_ns;
	}
}

/* --- the client --- */

static bool fastopen_paused(const struct stack *s, const struct tcp_metric *m)
{
	return m && m->syn_losses > LOSSES_BEARABLE &&
	       s->now_ns - m->syn_lost_ns < LOSS_PAUSE_NS << MIN(m->syn_losses, LOSSES_MAX);
}

bool tcp_fastopen_connect(struct stack *s, struct sock *sk, struct tcp *t)
{
	const struct tcp_metric *m = tcp_metric_find(s, &sk->conn.remote.addr);
	bool wanted = t->tfo_connect || sk->flags & SOCK_FASTOPEN;

	sk->flags &= ~(u32)SOCK_FASTOPEN;
	if (!wanted || !(s->tunables.tcp_fastopen & TFO_CLIENT) || fastopen_paused(s, m) ||
		tcp_blackhole_paused(s, t))
		return false;
	if ((m && m->cookie_len) || t->tfo_no_cookie ||
		s->tunables.tcp_fastopen & TFO_CLIENT_NO_COOKIE) {
		t->tfo = TFO_DEFERRED;
		return true;
	}
	t->tfo = TFO_ASKS;
	t->tfo_fail = TFO_NO_COOKIE;
	return false;
}

u32 tcp_fastopen_room(struct stack *s, const struct sock *sk, const struct tcp *t)
{
	const struct tcp_metric *m = tcp_metric_find(s, &sk->conn.remote.addr);
	u32 mss = t->adv_mss;

	if (m && m->mss)
		mss = MIN(mss, m->mss);
	else if (!m || !m->cookie_len)
		mss = MIN(mss, tcp_default_mss(&sk->conn.remote.addr)); /* RFC 7413 4.2.2 */
	return mss > TCP_OPTIONS_MAX ? mss - TCP_OPTIONS_MAX : 1;
}

/* The SYN-ACK to a cookie of the key before. */
static void fastopen_renew(
	struct stack *s, const struct sock *sk, const struct tcp *t, struct tcp_options *opt)
{
	const struct sock *listener = sock_get(s, t->tfo_listener);
	struct siphash_key key;

	if (!t->tfo_renew || t->retries || !listener ||
		!cookie_key(s, tcp_of(s, listener), 0, &key))
		return;
	cookie_make(&key, &sk->conn.remote.addr, &sk->conn.local.addr, opt->tfo);
	opt->flags |= TCP_OPT_TFO;
	opt->tfo_len = COOKIE_BYTES;
	opt->tfo_exp = t->tfo_exp;
}

u32 tcp_fastopen_fill(
	struct stack *s, struct sock *sk, struct tcp *t, struct frame *f, struct tcp_options *opt)
{
	const struct tcp_metric *m = tcp_metric_find(s, &sk->conn.remote.addr);
	u32 len = t->snd_end - t->snd_nxt, n = 0;

	if (t->tfo == TFO_CHILD)
		fastopen_renew(s, sk, t, opt);
	if (t->retries || t->state != TCP_SYN_SENT || t->tfo == TFO_NONE)
		return 0;
	t->tfo_used = true;
	if (t->tfo == TFO_ASKS) {
		opt->flags |= TCP_OPT_TFO;
		opt->tfo_exp = t->tfo_exp = m && m->tried == 1;
		return 0;
	}
	if (m && m->cookie_len && !t->tfo_no_cookie) {
		opt->flags |= TCP_OPT_TFO;
		opt->tfo_exp = m->cookie_exp;
		opt->tfo_len = m->cookie_len;
		memcpy(opt->tfo, m->cookie, m->cookie_len);
	}
	t->tfo = TFO_SENT;
	if (len) {
		n = tcp_queue_gather(s, t, f, t->snd_nxt, MIN(len, tcp_fastopen_room(s, sk, t)));
		t->totals.data_segs_out++;
		t->totals.bytes_sent += n;
	}
	t->syn_end = t->snd_nxt + n;
	return n;
}

bool tcp_fastopen_acks(const struct tcp *t, u32 ack)
{
	return t->tfo == TFO_SENT && seq_gt(ack, t->snd_nxt) && seq_leq(ack, t->syn_end);
}

static void fastopen_remember(struct stack *s, const struct sock *sk, const struct tcp *t,
	const struct tcp_segment *seg, bool lost)
{
	const struct tcp_options *o = &seg->opt;
	struct tcp_metric *m = tcp_metric_make(s, &sk->conn.remote.addr);

	m->mss = t->peer_mss;
	if (o->flags & TCP_OPT_TFO && o->tfo_len >= 4) {
		m->cookie_len = o->tfo_len;
		m->cookie_exp = o->tfo_exp;
		memcpy(m->cookie, o->tfo, o->tfo_len);
	} else if (t->tfo == TFO_ASKS && !t->retries) {
		m->tried = t->tfo_exp ? 2 : 1;
	}
	if (!lost) {
		m->syn_losses = 0;
		return;
	}
	m->syn_losses = (u8)MIN(m->syn_losses + 1u, LOSSES_MAX);
	m->syn_lost_ns = s->now_ns;
}

void tcp_fastopen_syn_ack(
	struct stack *s, struct sock *sk, struct tcp *t, const struct tcp_segment *seg)
{
	bool cookie = seg->opt.flags & TCP_OPT_TFO && seg->opt.tfo_len;
	bool data = t->tfo == TFO_SENT && t->syn_end != t->snd_nxt;
	bool acked = data && seq_gt(seg->ack, t->snd_nxt);

	if (t->tfo == TFO_NONE)
		return;
	if (data && !acked)
		t->tfo_fail = t->retries ? TFO_SYN_AGAIN : TFO_DATA_NOT_ACKED;
	/* The SYN with data, or its answer, was lost, and the peer knows of the bare one alone. */
	fastopen_remember(s, sk, t, seg, t->retries && data && !acked && !cookie);
	t->tfo = TFO_NONE;
	if (acked) {
		t->syn_data_acked = true;
		t->snd_nxt = seg->ack;
		t->snd_sml = t->snd_up = t->fack = seg->ack;
		t->snd_una = seg->ack;
		t->totals.bytes_acked += seg->ack - t->iss - 1;
		tcp_queue_acked(s, sk, t);
	}
	if (data)
		counter_inc(
			s, acked ? counter_tcp_fastopen_active : counter_tcp_fastopen_active_fail);
}
