/*
 * Congestion control: what an algorithm is told, and what it decides. tcp_recovery.c finds losses
 * and decides what to send again; an algorithm owns cwnd and ssthresh (bytes) and its private state
 * in struct tcp.
 */
#ifndef STACK_TCP_CC_H
#define STACK_TCP_CC_H

#include "stack/types.h"

struct tcp;

/* Numbers of the algorithms: the index in the table, stored in struct tcp and in the tunables. */
enum tcp_cc { TCP_CC_RENO, TCP_CC_CUBIC, TCP_CC_BBR, TCP_CCS };

/* What an ACK tells of the path, by the segment that was sent last among those that it delivers. */
struct tcp_sample {
	bool any;	  /* it delivers something */
	bool timed;	  /* rtt_us is set */
	bool app_limited; /* sent while the program left the window unused */
	bool again;	  /* a retransmission */
	u32 end, sent_us; /* which segment it is */
	u32 send_us;	  /* time in which its flight was sent */
	u32 prior_us, prior_delivered, prior_lost; /* as they were when it was sent */
	u32 in_flight;				   /* behind it, when it was sent */
	/* The result: */
	u32 delivered;	 /* bytes that have arrived since it was sent, */
	u32 lost;	 /* were taken for lost since, */
	u32 interval_us; /* and the time that this took; 0: no valid sample */
	u32 rtt_us;	 /* least round trip among what this ACK delivers, but for retransmissions */
};

/* What an acknowledgement told. */
struct tcp_cc_ack {
	u64 now_ns;
	u64 rtt_ns;	   /* sample of this ACK, 0: none */
	u32 acked;	   /* bytes newly acknowledged cumulatively */
	u32 delivered;	   /* bytes newly known to have arrived: acked and newly SACKed */
	u32 in_flight;	   /* before this ACK */
	u32 pipe;	   /* behind it */
	bool cwnd_limited; /* the window was used fully (RFC 7661, RFC 5681 3.1) */
	bool in_recovery;
	struct tcp_sample sample;
};

struct tcp_sent_run;

struct tcp_cc_ops {
	const char *name;
	void (*init)(struct tcp *t, u64 now_ns);
	void (*acked)(struct tcp *t, const struct tcp_cc_ack *ack);
	u32 (*ssthresh)(struct tcp *t, u32 in_flight); /* after a loss */
	void (*recovered)(struct tcp *t);	       /* all that was lost has arrived */
	void (*timeout)(struct tcp *t);		       /* retransmission timeout */
	void (*undo)(struct tcp *t); /* there was no loss: cwnd and ssthresh are as before it */
	bool paces; /* it sets pacing_rate, and segments are held to that */
	/*
	 * Of algorithms that follow a model of the path instead of `acked`: called for every ACK,
	 * in recovery too, and owns cwnd at all times.
	 */
	void (*model)(struct tcp *t, const struct tcp_cc_ack *ack);
	void (*lost)(struct tcp *t, const struct tcp_sent_run *run,
		u64 now_ns); /* taken for lost, and counted in t->lost */
	bool (*marked)(struct tcp *t, const struct tcp_cc_ack *ack); /* ECN; true: it is answered */
	void (*sending)(struct tcp *t, u64 now_ns); /* before data goes with nothing in flight */
};

const struct tcp_cc_ops *tcp_cc_of(const struct tcp *t);
const char *tcp_cc_name(u32 cc);
int tcp_cc_by_name(const char *name, u32 len); /* number, or -1 */

/* tcp_hystart.c: grows the window below ssthresh; the bytes of the ACK that are left for congestion
 * avoidance. */
void tcp_hystart_init(struct tcp *t);
u32 tcp_slow_start(struct tcp *t, const struct tcp_cc_ack *ack);

/* RFC 6928: 10 segments, and not more than 14,600 bytes unless two segments are more. */
u32 tcp_cc_initial_window(u32 mss);

extern const struct tcp_cc_ops tcp_reno;
extern const struct tcp_cc_ops tcp_cubic;
extern const struct tcp_cc_ops tcp_bbr;

#endif
