/*
 * Packetization-layer path MTU discovery (RFC 4821, RFC 8899): a path's MTU found by sending, for
 * paths whose routers drop what is too large and say nothing, or whose ICMP errors are lost.
 *
 * Sizes are of IP packets. `low` is what all segments are made for, `high` the least that is known
 * or assumed not to pass. While there is data enough that a loss would be noticed by
 * acknowledgements, one segment of a size half-way between goes as a probe: if it arrives `low` is
 * raised, if it alone is lost `high` falls, its bytes go again in smaller segments, and the
 * congestion window stays (RFC 4821 7.6.2). The search ends when the two are
 * tcp_probe_threshold apart and begins again after tcp_probe_interval.
 *
 * tcp_mtu_probing 0: never. 1: after tcp_retries1 timeouts in a row, which may be a black hole:
 * segments become tcp_base_mss, then half of that with each further timeout, down to
 * tcp_mtu_probe_floor. 2: from the beginning, with tcp_base_mss. (The rules and constants of
 * Linux's tcp_mtu_probe.)
 */
#include "stack/tcp_conn.h"

#define PROBE_CWND_MIN 11u /* segments: fewer would not show that the probe alone was lost */
#define PROBE_FOLLOW   4u  /* segments of data that must wait behind a probe */

/* Headers of each data segment. */
static u32 mtup_overhead(const struct sock *sk, const struct tcp *t)
{
	return tcp_headers_len(&sk->conn.remote.addr) + sk->ip_options_len +
	       (t->flags & TCPF_TIMESTAMP ? TCP_TIMESTAMP_LEN : 0);
}

/* What the peer takes, as a packet: no more is looked for. */
static u32 mtup_ceiling(const struct sock *sk, const struct tcp *t)
{
	return t->peer_mss + tcp_headers_len(&sk->conn.remote.addr);
}

static void mtup_enable(struct stack *s, struct sock *sk, struct tcp *t)
{
	t->mtup.low = s->tunables.tcp_base_mss + mtup_overhead(sk, t);
	t->mtup.high = mtup_ceiling(sk, t);
	t->mtup.probe = 0;
	t->mtup.since_ns = s->now_ns;
	t->mtup.enabled = true;
	tcp_mss_update(s, sk, t);
}

void tcp_mtup_begin(struct stack *s, struct sock *sk, struct tcp *t)
{
	/* A path that may fragment tells nothing (RFC 4821 7.2). */
	if (s->tunables.tcp_mtu_probing < 2 || sk->mtu_discover == LX_IP_PMTUDISC_DONT)
		return;
	mtup_enable(s, sk, t);
	t->cwnd = MIN(t->cwnd, tcp_cc_initial_window(t->mss));
}

u32 tcp_mtup_limit(struct tcp *t, u32 path_mtu)
{
	if (!t->mtup.enabled)
		return path_mtu;
	t->mtup.high = MIN(t->mtup.high, path_mtu);
	return MIN(t->mtup.low, path_mtu);
}

void tcp_mtup_timeout(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 overhead = mtup_overhead(sk, t), mss;

	if (!s->tunables.tcp_mtu_probing || sk->mtu_discover == LX_IP_PMTUDISC_DONT)
		return;
	if (!t->mtup.enabled) {
		mtup_enable(s, sk, t);
		counter_inc(s, counter_tcp_mtup_black_hole);
	} else {
		mss = (t->mtup.low - MIN(overhead, t->mtup.low)) / 2;
		mss = MIN(mss, s->tunables.tcp_base_mss);
		t->mtup.low = MAX(mss, s->tunables.tcp_mtu_probe_floor) + overhead;
		tcp_mss_update(s, sk, t);
	}
	t->cwnd = tcp_pipe(s, t) + t->mss; /* one segment, of the new size */
}

/* The search is over: after the interval once more, upwards from where it is. */
static void mtup_check_interval(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (s->now_ns - t->mtup.since_ns < s->tunables.tcp_probe_interval_s * NS_PER_S)
		return;
	t->mtup.low = t->mss + mtup_overhead(sk, t);
	t->mtup.high = mtup_ceiling(sk, t);
	t->mtup.since_ns = s->now_ns;
	tcp_mss_update(s, sk, t);
}

u32 tcp_mtup_wanted(struct stack *s, struct sock *sk, struct tcp *t, u32 room)
{
	u32 overhead = mtup_overhead(sk, t), size, len, needed;

	if (!t->mtup.enabled || t->mtup.probe || t->recovery != TCP_OPEN || t->cwr ||
		t->cwnd < PROBE_CWND_MIN * t->mss || t->ooo || t->flags & TCPF_DSACK)
		return 0;
	size = (t->mtup.high + t->mtup.low) / 2;
	if (t->mtup.high < t->mtup.low + MAX(s->tunables.tcp_probe_threshold, 1u) ||
		size <= overhead + t->mss) {
		mtup_check_interval(s, sk, t);
		return 0;
	}
	len = size - overhead;
	needed = len + PROBE_FOLLOW * t->mss; /* RFC 4821 7.4: its loss must show */
	if (t->snd_end - seq_min(t->snd_nxt, t->snd_end) < needed || t->snd_wnd < needed)
		return 0;
	if (seq_gt(t->snd_nxt + needed, t->snd_una + t->snd_wnd) || room < len)
		return tcp_flight(t) ? TCP_MTUP_WAIT : 0;
	return len;
}

void tcp_mtup_out(const struct sock *sk, struct tcp *t, u32 seq, u32 len)
{
	t->mtup.start = seq;
	t->mtup.end = seq + len;
	t->mtup.probe = len + mtup_overhead(sk, t);
}

bool tcp_mtup_is_probe(const struct tcp *t, u32 seq)
{
	return t->mtup.probe && seq == t->mtup.start;
}

void tcp_mtup_acked(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (!t->mtup.probe || seq_lt(t->snd_una, t->mtup.end))
		return;
	counter_inc(s, counter_tcp_mtup_success);
	t->mtup.low = t->mtup.probe;
	t->mtup.probe = 0;
	tcp_mss_update(s, sk, t);
}

/* RFC 4821 7.6.2 */
static void mtup_failed(struct stack *s, struct tcp *t)
{
	counter_inc(s, counter_tcp_mtup_fail);
	t->mtup.high = t->mtup.probe - 1;
	t->mtup.probe = 0;
	tcp_recovery_resend_range(s, t, t->mtup.start, t->mtup.end);
}

bool tcp_mtup_lost(struct stack *s, struct tcp *t)
{
	/* Losses in front of it are congestion (RFC 4821 4). */
	if (!t->mtup.probe || t->cwr || t->snd_una != t->mtup.start)
		return false;
	mtup_failed(s, t);
	return true;
}

bool tcp_mtup_too_big(struct stack *s, struct tcp *t, u32 mtu)
{
	if (!t->mtup.probe || t->mtup.probe <= mtu)
		return false;
	mtup_failed(s, t);
	t->mtup.high = MIN(t->mtup.high, mtu);
	return true;
}
