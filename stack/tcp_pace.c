/*
 * Pacing: segments spread over the round trip instead of in bursts, and how much goes as one
 * super-frame.
 *
 * Every connection has a pacing rate: what its congestion control says, or for those that have no
 * opinion a little more than a window in a round trip (tcp_pacing_ss_ratio, tcp_pacing_ca_ratio),
 * and SO_MAX_PACING_RATE at most. It bounds the size of a super-frame to what goes in a
 * millisecond, or to more on a short path, where a burst is soon gone. Segments are held to it only
 * where congestion control asks for that, or the program by SO_MAX_PACING_RATE: then none goes
 * before pace_ns, which each moves on by the time that it takes at that rate. A timer that was late
 * by a millisecond or less costs nothing; behind a longer pause up to half of a segment's time is
 * forgiven, as on Linux. The first ten segments go unpaced, as the initial window may
 * (RFC 6928). The wait is a deadline of the connection's one timer (resume_at).
 */
#include "stack/tcp_conn.h"

#define UNPACED_SEGMENTS 10
#define LATE_NS		 NS_PER_MS
#define QUANTUM_SHIFT	 10 /* a 1024th of what goes in a second */
#define RATE_US		 10000ull /* microseconds in a second, by the ratios' percent */

void tcp_pace_update(const struct stack *s, const struct sock *sk, struct tcp *t)
{
	const struct stack_tunables *u = &s->tunables;
	u64 ratio = t->cwnd < t->ssthresh / 2 ? u->tcp_pacing_ss_ratio : u->tcp_pacing_ca_ratio;
	u64 srtt_us = MAX(t->rtt.srtt_ns / NS_PER_US, 1), window = MAX(t->cwnd, tcp_flight(t));

	if (!tcp_cc_of(t)->paces)
		t->pacing_rate = window * ratio * RATE_US / srtt_us;
	t->pacing_rate = MIN(t->pacing_rate, sk->max_pacing_rate);
}

static bool tcp_paced(const struct sock *sk, const struct tcp *t)
{
	return tcp_cc_of(t)->paces || sk->max_pacing_rate != ~0ull;
}

/* True when nothing may be sent yet; resume_at is set then. */
bool tcp_pace_wait(struct stack *s, const struct sock *sk, struct tcp *t)
{
	if (!tcp_paced(sk, t) || t->pace_ns <= s->now_ns)
		return false;
	t->resume_at = MIN(t->resume_at, t->pace_ns);
	return true;
}

/* `len` bytes of payload have been sent. */
void tcp_pace_sent(const struct stack *s, const struct sock *sk, struct tcp *t, u32 len)
{
	u64 credit = s->now_ns - MIN(t->pace_ns, s->now_ns), len_ns;

	if (!tcp_paced(sk, t))
		return;
	if (credit <= LATE_NS)
		credit = 0;
	else
		t->pace_ns = s->now_ns;
	if (!len || t->pacing_rate == ~0ull || !t->pacing_rate ||
		t->totals.data_segs_out < UNPACED_SEGMENTS)
		return;
	len_ns = (u64)len * NS_PER_S / t->pacing_rate;
	t->pace_ns += len_ns - MIN(len_ns / 2, credit);
}

/* Payload of the largest super-frame now, in whole segments; `most` is what the device takes. */
u32 tcp_pace_quantum(const struct stack *s, const struct tcp *t, u32 mss, u32 most)
{
	u64 bytes = t->pacing_rate >> QUANTUM_SHIFT;
	u64 min_us = t->rtt.min_ns == NEVER ? 0 : t->rtt.min_ns / NS_PER_US;
	u32 least = MAX(s->tunables.tcp_min_tso_segs, 1u), segments;

	if (s->tunables.tcp_tso_rtt_log && min_us >> s->tunables.tcp_tso_rtt_log < 32)
		bytes += most >> (min_us >> s->tunables.tcp_tso_rtt_log);
	segments = (u32)(MIN(bytes, most) / mss);
	return MAX(MIN(MAX(segments, least), most / mss), 1u) * mss;
}
