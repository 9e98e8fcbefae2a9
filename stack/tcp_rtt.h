/*
 * Round-trip time and retransmission timeout (RFC 6298). The variance term is at least 200 ms
 * (tcp_rto_min_us, TCP_RTO_MIN_US), as in Linux, which takes the place of the RFC's one-second
 * minimum: RTO = SRTT + max(200 ms, 4 * RTTVAR).
 */
#ifndef STACK_TCP_RTT_H
#define STACK_TCP_RTT_H

#include "stack/types.h"

#define TCP_RTO_MIN_NS	    (200 * NS_PER_MS)
#define TCP_RTO_MAX_NS	    (120 * NS_PER_S)
#define TCP_RTO_INITIAL_NS  NS_PER_S	   /* RFC 6298 2.1 */
#define TCP_RTO_SYN_LOST_NS (3 * NS_PER_S) /* RFC 6298 5.7 */
#define TCP_RTT_LEAST_NS    (300 * NS_PER_S)

struct tcp_rtt {
	u64 srtt_ns; /* 0: no sample yet */
	u64 rttvar_ns;
	u64 min_ns;		       /* smallest sample of late; NEVER before the first */
	u64 min_next_ns, min_since_ns; /* the smallest since then, 0: none */
	u64 rto_ns;		       /* without backoff */
	u64 rto_min_ns, rto_max_ns;
};

void tcp_rtt_init(struct tcp_rtt *r);
void tcp_rtt_sample(struct tcp_rtt *r, u64 rtt_ns, u64 now_ns);

/* Counts for min_ns alone: the least of the last five minutes, or half of them (RFC 8985 6.2 step
 * 1, Linux's tcp_min_rtt_wlen). */
void tcp_rtt_least(struct tcp_rtt *r, u64 rtt_ns, u64 now_ns);

/* The timeout after `backoff` doublings (RFC 6298 5.5), at most rto_max_ns. */
u64 tcp_rtt_timeout(const struct tcp_rtt *r, u32 backoff);

#endif
