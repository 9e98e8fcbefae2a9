/* Private to TCP: the layout of TCP_INFO, Linux's struct tcp_info of <linux/tcp.h>. */
#ifndef STACK_TCP_INFO_H
#define STACK_TCP_INFO_H

#include "stack/tcp.h"

struct tcp_info_out {
	u8 state, ca_state, retransmits, probes, backoff, options;
	u8 wscales; /* snd_wscale in the low half */
	u8 app_limited;
	u32 rto, ato, snd_mss, rcv_mss;
	u32 unacked, sacked, lost, retrans, fackets;
	u32 last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
	u32 pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
	u32 rcv_rtt, rcv_space;
	u32 total_retrans;
	u64 pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
	u32 segs_out, segs_in;
	u32 notsent_bytes, min_rtt, data_segs_in, data_segs_out;
	u64 delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
	u32 delivered, delivered_ce;
	u64 bytes_sent, bytes_retrans;
	u32 dsack_dups, reord_seen, rcv_ooopack, snd_wnd, rcv_wnd, rehash;
	u16 total_rto, total_rto_recoveries;
	u32 total_rto_time;
};

_Static_assert(offsetof(struct tcp_info_out, total_retrans) == 100, "Linux's layout");
_Static_assert(offsetof(struct tcp_info_out, segs_out) == 136, "Linux's layout");
_Static_assert(sizeof(struct tcp_info_out) == 248, "Linux's layout");

/* tcp_info.c */
void tcp_info_fill(
	struct stack *s, const struct sock *sk, const struct tcp *t, struct tcp_info_out *i);

#endif
