/* RFC 6298: smoothed round-trip time, its variance, and the timeout from both. */
#include "stack/tcp_rtt.h"

void tcp_rtt_init(struct tcp_rtt *r)
{
	*r = (struct tcp_rtt){.min_ns = NEVER,
		.rto_ns = TCP_RTO_INITIAL_NS,
		.rto_min_ns = TCP_RTO_MIN_NS,
		.rto_max_ns = TCP_RTO_MAX_NS};
}

void tcp_rtt_least(struct tcp_rtt *r, u64 rtt_ns, u64 now_ns)
{
	u64 passed_ns = now_ns - r->min_since_ns;

	if (passed_ns >= TCP_RTT_LEAST_NS / 2) {
		r->min_ns = r->min_next_ns && passed_ns < TCP_RTT_LEAST_NS ? r->min_next_ns : NEVER;
		r->min_next_ns = 0;
		r->min_since_ns = now_ns;
	}
	r->min_next_ns = r->min_next_ns ? MIN(r->min_next_ns, rtt_ns) : rtt_ns;
	r->min_ns = MIN(r->min_ns, rtt_ns);
}

void tcp_rtt_sample(struct tcp_rtt *r, u64 rtt_ns, u64 now_ns)
{
	if (rtt_ns == 0)
		rtt_ns = 1;
	tcp_rtt_least(r, rtt_ns, now_ns);
	if (r->srtt_ns == 0) { /* RFC 6298 2.2 */
		r->srtt_ns = rtt_ns;
		r->rttvar_ns = rtt_ns / 2;
	} else { /* RFC 6298 2.3: alpha 1/8, beta 1/4 */
		u64 delta = r->srtt_ns > rtt_ns ? r->srtt_ns - rtt_ns : rtt_ns - r->srtt_ns;

		r->rttvar_ns = r->rttvar_ns - r->rttvar_ns / 4 + delta / 4;
		r->srtt_ns = r->srtt_ns - r->srtt_ns / 8 + rtt_ns / 8;
		if (r->srtt_ns == 0)
			r->srtt_ns = 1;
	}
	r->rto_ns = MIN(r->srtt_ns + MAX(4 * r->rttvar_ns, r->rto_min_ns), r->rto_max_ns);
}

u64 tcp_rtt_timeout(const struct tcp_rtt *r, u32 backoff)
{
	u64 rto = r->rto_ns;

	for (u32 i = 0; i < backoff && rto < r->rto_max_ns; i++)
		rto *= 2;
	return MIN(rto, r->rto_max_ns);
}
