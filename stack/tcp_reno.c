/*
 * NewReno (RFC 5681, RFC 6582), with byte counting (RFC 3465, L = 2 segments for each segment
 * acknowledged: an ACK for a super-frame counts for all of it, a divided one for its bytes alone).
 * Slow start below ssthresh, one segment a window above it; half of what was in flight after a
 * loss.
 */
#include "stack/tcp.h"

static void reno_init(struct tcp *t, u64 now_ns)
{
	(void)now_ns;
	t->cwnd_acked = 0;
	tcp_hystart_init(t);
}

static void reno_acked(struct tcp *t, const struct tcp_cc_ack *ack)
{
	u32 acked, whole;

	if (!ack->cwnd_limited)
		return;
	acked = tcp_slow_start(t, ack);
	/* What a window that is no multiple of a segment lets out in a round trip are the whole
	 * ones. */
	whole = MAX(t->cwnd - t->cwnd % t->mss, (u32)t->mss);
	t->cwnd_acked += acked;
	t->cwnd += t->cwnd_acked / whole * t->mss;
	t->cwnd_acked %= whole;
}

/* RFC 5681 equation (4) */
static u32 reno_ssthresh(struct tcp *t, u32 in_flight)
{
	return MAX(in_flight / 2, 2u * t->mss);
}

static void reno_recovered(struct tcp *t)
{
	t->cwnd_acked = 0;
}

static void reno_timeout(struct tcp *t)
{
	t->cwnd_acked = 0;
}

const struct tcp_cc_ops tcp_reno = {
	.name = "reno",
	.init = reno_init,
	.acked = reno_acked,
	.ssthresh = reno_ssthresh,
	.recovered = reno_recovered,
	.timeout = reno_timeout,
};
