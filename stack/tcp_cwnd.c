/*
 * Is the congestion window used, and what becomes of one that is not.
 *
 * Whether the window was what held sending up is remembered for a window's worth of data (Linux's
 * tcp_cwnd_validate): only then it grows, or in slow start when more than half of it was out.
 *
 * After an idle time the window is no longer known to be right (RFC 5681 4.1): it is halved for
 * each timeout that has passed, down to the initial one, with ssthresh at three quarters of what it
 * was at least, as Linux does it; tcp_slow_start_after_idle = 0 leaves it.
 *
 * A program that always leaves more than half of the window unused keeps it (RFC 7661): it is not
 * validated then (pipeACK, the most that was acknowledged in a round trip lately, is less than half
 * of it), does not grow, and after five minutes of this it is halved.
 */
#include "stack/tcp_conn.h"

#define NVP_NS	       (300 * NS_PER_S)
#define PIPEACK_MIN_NS NS_PER_S

void tcp_cwnd_used(struct tcp *t, bool limited)
{
	u32 out = tcp_flight(t);
	bool before = t->flags & TCPF_CWND_LIMITED;

	if (seq_lt(t->snd_una, t->usage_end) && !limited && (before || out <= t->usage_max))
		return;
	t->flags = limited ? t->flags | TCPF_CWND_LIMITED : t->flags & ~(u32)TCPF_CWND_LIMITED;
	t->usage_max = out;
	t->usage_end = t->snd_nxt;
}

bool tcp_cwnd_limited(const struct tcp *t)
{
	return t->flags & TCPF_CWND_LIMITED ||
	       (t->cwnd < t->ssthresh && t->cwnd < 2ull * t->usage_max);
}

/* RFC 5681 4.1, RFC 7661 4.4; before sending. */
void tcp_cwnd_idle(const struct stack *s, struct tcp *t)
{
	u64 rto = tcp_rtt_timeout(&t->rtt, 0), idle = s->now_ns - MIN(t->sent_ns, s->now_ns);
	u32 restart = MIN(tcp_cc_initial_window(t->mss), t->cwnd);

	if (!s->tunables.tcp_slow_start_after_idle || tcp_flight(t) || !t->sent_ns || idle <= rto)
		return;
	if (tcp_cc_of(t)->model) /* it paces, and knows the path */
		return;
	t->ssthresh = MAX(t->ssthresh, t->cwnd / 4 * 3);
	while (idle > rto && t->cwnd > restart) {
		idle -= rto;
		t->cwnd /= 2;
	}
	t->cwnd = MAX(t->cwnd, restart);
}

/* The most acknowledged in a round trip within the sampling period, and the one before that. */
static void pipe_ack(const struct stack *s, struct tcp *t)
{
	u64 period = MAX(3 * t->rtt.srtt_ns, PIPEACK_MIN_NS);

	if (s->now_ns - t->pipe_ns >= period) {
		t->pipe_before = s->now_ns - t->pipe_ns < 2 * period ? t->pipe_ack : 0;
		t->pipe_ack = 0;
		t->pipe_ns = s->now_ns;
	}
	if (seq_geq(t->snd_una, t->pipe_end)) {
		t->pipe_ack = MAX(t->pipe_ack, t->snd_una - t->pipe_start);
		t->pipe_start = t->snd_una;
		t->pipe_end = t->snd_nxt;
	}
}

/* RFC 7661 4.3, 4.4; something has been acknowledged. */
void tcp_cwnd_validate(const struct stack *s, struct tcp *t)
{
	u32 window = tcp_cc_initial_window(t->mss);

	pipe_ack(s, t);
	if (tcp_cwnd_limited(t) || MAX(t->pipe_ack, t->pipe_before) >= t->cwnd / 2 ||
		t->cwnd <= window || tcp_cc_of(t)->model) {
		t->unvalidated_ns = 0;
		return;
	}
	if (!t->unvalidated_ns)
		t->unvalidated_ns = MAX(s->now_ns, 1);
	if (s->now_ns - t->unvalidated_ns < NVP_NS)
		return;
	t->ssthresh = MAX(t->ssthresh, t->cwnd / 4 * 3);
	t->cwnd = MAX(t->cwnd / 2, window);
	t->unvalidated_ns = s->now_ns;
}
