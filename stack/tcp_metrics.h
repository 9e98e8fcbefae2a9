/* What is remembered of a destination when its connections have ended (RFC 9040): tcp_metrics.c. */
#ifndef STACK_TCP_METRICS_H
#define STACK_TCP_METRICS_H

#include "stack/addr.h"

#define STACK_METRICS	   1024u /* a power of two */
#define TCP_TFO_COOKIE_MAX 16u	 /* RFC 7413 4.1.1 */

struct tcp_metric {
	struct addr dst; /* family FAMILY_NONE: unused entry */
	u64 used_ns;
	u32 rtt_us, rttvar_us; /* 0: not known */
	u32 ssthresh;	       /* in segments, 0: not known */
	u32 cwnd;	       /* in segments, at the end of the last connection */
	bool reordering;       /* the path has been seen to reorder */
	/* TCP Fast Open (RFC 7413 4.1.3) */
	u16 mss; /* what the peer announced with the cookie */
	u8 cookie_len, syn_losses;
	bool cookie_exp; /* it came in the form of the experiment */
	u8 tried;	 /* forms asked for in vain: 1 the option, 2 that of the experiment too */
	u64 syn_lost_ns;
	u8 cookie[TCP_TFO_COOKIE_MAX];
};

#endif
