/*
 * Deadlines of a connection. A socket has one entry in the wheel, for the earliest of:
 *
 * - rtx_at: retransmission (RFC 6298), or with nothing in flight the persist timer
 *   (RFC 9293 3.8.6.1)
 * - reo_at: what may be reordering will be a loss (RFC 8985 6.2); tlp_at: the tail loss probe (7.2)
 * - delack_at: an ACK that was delayed
 * - keep_at: keepalive (RFC 9293 3.8.4), or the end of an orphan's FIN-WAIT-2
 * - resume_at: the device's queue was full
 *
 * The entry is moved only when a deadline is earlier than it: deadlines that move ahead with every
 * segment cost nothing, the entry then expires early once and is armed anew. A connection gives up
 * after tcp_retries2 timeouts without progress (R2), an orphan after tcp_orphan_retries, or when
 * TCP_USER_TIMEOUT has passed.
 */
#include "stack/tcp_conn.h"

#define THIN_SEGMENTS  4
#define THIN_RETRIES   6
#define ORPHAN_BACKOFF 10 /* a closed window that nobody waits for: some minutes (RFC 6429) */

void tcp_timer_update(struct stack *s, struct sock *sk, struct tcp *t)
{
	u64 at = MIN(MIN(t->rtx_at, t->delack_at), MIN(t->keep_at, t->resume_at));

	at = MIN(at, MIN(t->reo_at, t->tlp_at));

	if (at < sk->timer.deadline_ns)
		wheel_arm(s, sk->conn.slab.self, at);
}

void tcp_timer_rto(struct stack *s, struct sock *sk, struct tcp *t)
{
	u8 mode = TCP_RTX_NONE;

	(void)sk;
	if (!tcp_synchronized(t))
		return;
	if (tcp_flight(t))
		mode = TCP_RTX_RTO;
	else if (!tcp_all_sent(t))
		mode = TCP_RTX_PERSIST;
	if (mode == TCP_RTX_NONE) {
		t->rtx_at = NEVER;
	} else if (mode != t->rtx_mode || t->rtx_at == NEVER) {
		if (mode == TCP_RTX_PERSIST && t->rtx_mode != mode)
			t->backoff = 0;
		/* What was sent is on its way at pace_ns only, if it is paced. */
		t->rtx_at = MAX(s->now_ns, t->pace_ns) +
			    tcp_rtt_timeout(&t->rtt, t->backoff); /* SHLD-29 */
	}
	t->rtx_mode = mode;
}

static u64 tcp_keep_idle(const struct stack *s, const struct tcp *t)
{
	return (t->keep_idle_s ? t->keep_idle_s : s->tunables.tcp_keepalive_time_s) * NS_PER_S;
}

static u64 tcp_keep_interval(const struct stack *s, const struct tcp *t)
{
	return (t->keep_intvl_s ? t->keep_intvl_s : s->tunables.tcp_keepalive_intvl_s) * NS_PER_S;
}

void tcp_timer_keepalive(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (sk->flags & SOCK_ORPHAN && t->state == TCP_FIN_WAIT_2)
		return; /* keep_at is the end of FIN-WAIT-2 */
	t->keep_at = NEVER;
	if (sk->options & OPT_KEEPALIVE && tcp_synchronized(t)) /* MUST-24, MUST-25 */
		t->keep_at = s->now_ns + tcp_keep_idle(s, t);
}

static void tcp_give_up(struct stack *s, struct sock *sk, struct tcp *t)
{
	counter_inc(s, counter_tcp_abort_timeout);
	tcp_done(s, sk, t, sk->soft_error ? sk->soft_error : ETIMEDOUT);
}

static bool tcp_user_timeout(const struct stack *s, const struct tcp *t)
{
	return t->user_timeout_ms && t->stalled_ns &&
	       s->now_ns - t->stalled_ns >= t->user_timeout_ms * NS_PER_MS;
}

/* Linux's tcp_orphan_retries: not at all once the timeout has become the longest and a router
 * complains. */
static u32 tcp_orphan_retries(const struct stack *s, const struct sock *sk, const struct tcp *t)
{
	u32 retries = s->tunables.tcp_orphan_retries;
	bool alive = tcp_rtt_timeout(&t->rtt, t->backoff) < t->rtt.rto_max_ns;

	if (sk->soft_error && !alive)
		return 0;
	return retries || !alive ? retries : 8;
}

/* R2 of RFC 9293 3.8.3 (MUST-20, MUST-21, SHLD-11). */
static u32 tcp_retries_max(const struct stack *s, const struct sock *sk, const struct tcp *t)
{
	if (t->state == TCP_SYN_SENT)
		return (u32)(t->syn_retries ? t->syn_retries : s->tunables.tcp_syn_retries) +
		       s->tunables.tcp_syn_linear_timeouts;
	if (t->state == TCP_SYN_RECEIVED)
		return s->tunables.tcp_synack_retries;
	return sk->flags & SOCK_ORPHAN ? tcp_orphan_retries(s, sk, t) : s->tunables.tcp_retries2;
}

/* A deadline that the user timeout brings forward. */
static void tcp_clamp_to_user_timeout(const struct stack *s, struct tcp *t)
{
	u64 end = t->stalled_ns + t->user_timeout_ms * NS_PER_MS;

	if (t->user_timeout_ms && t->stalled_ns && t->rtx_at != NEVER && t->rtx_at > end)
		t->rtx_at = MAX(end, s->now_ns + NS_PER_MS);
}

/* As Linux's tcp_update_rto_stats. */
static void tcp_count_timeout(const struct stack *s, struct tcp *t)
{
	if (!t->retries) {
		t->totals.rto_recoveries++;
		t->rto_since_ns = MAX(s->now_ns, 1);
	}
	t->totals.rto++;
	if (t->retries < 255)
		t->retries++;
}

void tcp_timer_progress(const struct stack *s, struct tcp *t)
{
	t->retries = 0;
	if (!t->rto_since_ns)
		return;
	t->totals.rto_time_ms += (u32)((s->now_ns - MIN(t->rto_since_ns, s->now_ns)) / NS_PER_MS);
	t->rto_since_ns = 0;
}

/* The next timeout is twice as long (RFC 6298 5.5), but for a stream of so few segments that no
 * duplicate ACKs can come of them, and where tcp_syn_linear_timeouts says otherwise. */
static void tcp_back_off(const struct stack *s, const struct sock *sk, struct tcp *t)
{
	bool thin = sock_stored(sk, STORED_THIN_LINEAR) || s->tunables.tcp_thin_linear_timeouts;

	if (thin && t->state == TCP_ESTABLISHED && tcp_flight(t) < THIN_SEGMENTS * (u32)t->mss &&
		t->ssthresh != UINT32_MAX && t->retries <= THIN_RETRIES)
		t->backoff = 0;
	else if (t->state == TCP_SYN_SENT && t->retries <= s->tunables.tcp_syn_linear_timeouts)
		t->backoff = 0;
	else if (t->backoff < 16)
		t->backoff++;
}

static void tcp_expire_rto(struct stack *s, struct sock *sk, struct tcp *t)
{
	bool shut =
		t->snd_wnd == 0 && tcp_synchronized(t) && s->now_ns - t->heard_ns < TCP_RTO_MAX_NS;

	/* A peer that closed its window behind what it had offered, but answers, is alive (MUST-35,
	 * SHLD-17). */
	bool last = tcp_user_timeout(s, t) || (t->retries >= tcp_retries_max(s, sk, t) && !shut);

	tcp_blackhole_timeout(s, t, last);
	if (last) {
		tcp_give_up(s, sk, t);
		return;
	}
	if (tcp_evict_orphan(s, sk, t)) /* Linux's tcp_out_of_resources */
		return;
	if (tcp_synchronized(t)) {
		counter_inc(s, counter_tcp_timeout);
		tcp_recovery_timeout(s, t);
	} else {
		counter_inc(s, counter_tcp_syn_timeout);
		t->flags &= ~(u32)TCPF_RTT_TIMING;
	}
	tcp_count_timeout(s, t);
	tcp_back_off(s, sk, t);
	LOG(s, LOG_TCP, LOG_DEBUG, "%E %E: no answer, sends again from %u (retry %u)",
		&sk->conn.local, &sk->conn.remote, t->snd_una, (u32)t->retries);
	t->rtx_at = NEVER;
	if (tcp_synchronized(t)) {
		if (t->retries >= s->tunables.tcp_retries1) { /* R1: the path may have changed */
			tcp_mtup_timeout(s, sk, t);
			tcp_mss_update(s, sk, t);
		}
		tcp_output(s, sk, t);
	} else {
		t->totals.retransmits++;
		counter_inc(s, counter_tcp_retransmit);
		tcp_send_syn(s, sk, t);
	}
	tcp_clamp_to_user_timeout(s, t);
}

static void tcp_expire_persist(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 most =
		sk->flags & SOCK_ORPHAN ? tcp_orphan_retries(s, sk, t) : s->tunables.tcp_retries2;

	if (!t->stalled_ns)
		t->stalled_ns = MAX(s->now_ns, 1);
	/* Probes that are answered keep the connection for ever (MUST-37), but for the program's
	 * own limit. */
	if (t->probes >= most || (t->backoff && tcp_user_timeout(s, t)) ||
		(sk->flags & SOCK_ORPHAN && t->backoff >= ORPHAN_BACKOFF)) {
		tcp_give_up(s, sk, t);
		return;
	}
	if (tcp_evict_orphan(s, sk, t))
		return;
	t->rtx_at = NEVER;
	if (t->snd_wnd && t->snd_nxt != t->snd_end) {
		tcp_output_forced(s, sk, t);
	} else {
		tcp_send_probe(s, sk, t, false);
		t->probes++;
		if (t->backoff < 16)
			t->backoff++; /* SHLD-30 */
	}
	tcp_timer_rto(s, sk, t);
	tcp_clamp_to_user_timeout(s, t);
}

static void tcp_expire_keepalive(struct stack *s, struct sock *sk, struct tcp *t)
{
	u64 idle = tcp_keep_idle(s, t), quiet = s->now_ns - MIN(t->heard_ns, s->now_ns);
	u32 count = t->keep_cnt ? t->keep_cnt : s->tunables.tcp_keepalive_probes;

	t->keep_at = NEVER;
	if (sk->flags & SOCK_ORPHAN && t->state == TCP_FIN_WAIT_2) {
		tcp_done(s, sk, t, 0);
		return;
	}
	if (!(sk->options & OPT_KEEPALIVE) || !tcp_synchronized(t))
		return;
	if (tcp_flight(t) || !tcp_all_sent(t)) { /* not idle: retransmission watches (MUST-26) */
		t->keep_at = s->now_ns + idle;
		return;
	}
	if (quiet < idle) {
		t->keep_at = t->heard_ns + idle;
		return;
	}
	/* One lost probe is no death (MUST-29). */
	if (t->user_timeout_ms ? quiet >= t->user_timeout_ms * NS_PER_MS && t->probes
			       : t->probes >= count) {
		tcp_send_reset(s, sk, t);
		tcp_give_up(s, sk, t);
		return;
	}
	tcp_send_probe(s, sk, t, true);
	t->probes++;
	t->keep_at = s->now_ns + tcp_keep_interval(s, t);
}

static void tcp_expire_delack(struct stack *s, struct sock *sk, struct tcp *t)
{
	t->delack_at = NEVER;
	if (!(t->flags & TCPF_ACK_DELAYED))
		return;
	counter_inc(s, counter_tcp_delayed_ack);
	t->flags &= ~(u32)TCPF_PINGPONG; /* no answer came in time */
	tcp_send_ack(s, sk, t);
}

static void tcp_expire_resume(struct stack *s, struct sock *sk, struct tcp *t)
{
	t->resume_at = NEVER;
	tcp_output(s, sk, t);
}

static void tcp_expire_reorder(struct stack *s, struct sock *sk, struct tcp *t)
{
	t->reo_at = NEVER;
	tcp_recovery_late(s, t);
	tcp_output(s, sk, t);
}

static void tcp_expire_tail(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (!tcp_tlp_send(s, sk, t))
		return;
	tcp_timer_rto(s, sk, t);
}

static void tcp_expire_sock(struct stack *s, struct sock *sk)
{
	ref self = sk->conn.slab.self;
	struct tcp *t = tcp_of(s, sk);

	if (t && t->delack_at <= s->now_ns)
		tcp_expire_delack(s, sk, t);
	if (t && t->resume_at <= s->now_ns)
		tcp_expire_resume(s, sk, t);
	if (t && t->reo_at <= s->now_ns)
		tcp_expire_reorder(s, sk, t);
	if (t && t->tlp_at <= s->now_ns)
		tcp_expire_tail(s, sk, t);
	if (t && t->rtx_at <= s->now_ns) {
		if (t->rtx_mode == TCP_RTX_PERSIST)
			tcp_expire_persist(s, sk, t);
		else
			tcp_expire_rto(s, sk, t);
	}
	sk = sock_get(s, self);
	t = sk ? tcp_of(s, sk) : NULL;
	if (t && t->keep_at <= s->now_ns)
		tcp_expire_keepalive(s, sk, t);
	sk = sock_get(s, self);
	t = sk ? tcp_of(s, sk) : NULL;
	if (t)
		tcp_timer_update(s, sk, t);
}

void tcp_timer(struct stack *s, ref owner)
{
	struct tcp_request *req;
	struct tcp_timewait *tw;
	struct sock *sk;

	s->touched[1] = owner;
	switch (ref_kind(owner)) {
	case SLAB_SOCK:
		sk = sock_get(s, owner);
		if (sk)
			tcp_expire_sock(s, sk);
		break;
	case SLAB_TCP_REQUEST:
		req = slab_get(s, SLAB_TCP_REQUEST, owner);
		if (req)
			tcp_request_timer(s, req);
		break;
	case SLAB_TCP_TIMEWAIT:
		tw = slab_get(s, SLAB_TCP_TIMEWAIT, owner);
		if (tw)
			tcp_timewait_free(s, tw);
		break;
	default:
		break;
	}
	s->touched[1] = 0;
}
