/*
 * BBR's state in a connection, and the code between tcp_bbr.c and tcp_bbr_model.c. Names are those of
 * draft-ietf-ccwg-bbr.
 */
#ifndef STACK_TCP_BBR_H
#define STACK_TCP_BBR_H

#include "stack/tcp.h"

#define BBR_INFINITE UINT32_MAX
#define BBR_US_PER_S 1000000ull

enum { BBR_PACING_MARGIN = 1, BBR_BETA = 70 }; /* percent */

enum bbr_state {
	BBR_STARTUP,
	BBR_DRAIN,
	BBR_PROBE_BW_DOWN,
	BBR_PROBE_BW_CRUISE,
	BBR_PROBE_BW_REFILL,
	BBR_PROBE_BW_UP,
	BBR_PROBE_RTT,
	BBR_NO_STATE
};

enum bbr_ack_phase {
	ACKS_INIT,
	ACKS_REFILLING,
	ACKS_PROBE_STARTING,
	ACKS_PROBE_FEEDBACK,
	ACKS_PROBE_STOPPING
};

struct bbr {
	/* Rates are bytes a second, volumes bytes. */
	u64 max_bw[2];	  /* of this cycle and the one before */
	u64 bw_shortterm; /* UINT64_MAX: no bound */
	u64 bw_latest, full_bw, undo_bw_shortterm;
	u64 bw; /* the lower of max_bw and bw_shortterm */
	u64 cycle_ns, min_rtt_ns, probe_rtt_min_ns, probe_rtt_done_ns, extra_acked_ns; /* when */
	u32 min_rtt_us, probe_rtt_min_us; /* BBR_INFINITE: not known */
	u32 inflight_longterm, inflight_shortterm, inflight_latest;
	u32 undo_inflight_longterm, undo_inflight_shortterm;
	u32 round_count, next_round_delivered, loss_round_delivered;
	u32 extra_acked[2], extra_acked_delivered, extra_acked_round;
	u32 rounds_since_bw_probe, bw_probe_wait_ms, bw_probe_up_acks, probe_up_cnt;
	u32 prior_cwnd, drain_start_round;
	u32 mark_delivered; /* when a mark was answered last */
	u32 random;
	u16 pacing_gain, cwnd_gain; /* percent */
	u8 state, undo_state;	    /* enum bbr_state */
	u8 ack_phase;		    /* enum bbr_ack_phase */
	u8 gain, gain_before; /* the least of pacing, 100 at most: of this round and the last */
	u8 full_bw_count, bw_probe_up_rounds, loss_events;
	bool full_bw_now, full_bw_reached;
	bool round_start, loss_round_start, loss_in_round;
	bool bw_probe_samples; /* what arrives was sent while probing for bandwidth */
	bool probe_too_high, probe_precautionary; /* of the last UP */
	bool marked; /* and not answered yet */
	bool idle_restart, probe_rtt_round_done, probe_rtt_expired;
};

static inline struct bbr *bbr_of(struct tcp *t)
{
	return (struct bbr *)(void *)t->cc_private;
}

static inline u32 bbr_min_pipe_cwnd(const struct tcp *t)
{
	return 4u * t->mss;
}

static inline u64 bbr_max_bw(const struct bbr *b)
{
	return MAX(b->max_bw[0], b->max_bw[1]);
}

static inline bool bbr_in_probe_bw(const struct bbr *b)
{
	return b->state >= BBR_PROBE_BW_DOWN && b->state <= BBR_PROBE_BW_UP;
}

static inline u64 bbr_sample_bw(const struct tcp_sample *a)
{
	return a->interval_us ? a->delivered * BBR_US_PER_S / a->interval_us : 0;
}

/* --- tcp_bbr_model.c --- */

/* Volumes in bytes; gains in percent. */
u32 bbr_bdp_multiple(const struct tcp *t, const struct bbr *b, u64 bw, u32 gain);
u32 bbr_quantization_budget(const struct tcp *t, const struct bbr *b, u64 cap);
u32 bbr_inflight(const struct tcp *t, const struct bbr *b, u32 gain);
u32 bbr_target_inflight(const struct tcp *t, const struct bbr *b);
u32 bbr_inflight_with_headroom(const struct tcp *t, const struct bbr *b);
void bbr_reset_full_bw(struct bbr *b);
void bbr_start_round(const struct tcp *t, struct bbr *b);
bool bbr_inflight_too_high(const struct tcp *t, u32 lost, u32 in_flight);
u32 bbr_inflight_at_loss(const struct tcp *t, u32 in_flight, u32 lost, u32 size);

/* Each ACK that delivers something, in this order but for what the states do in between. */
void bbr_update_signals(struct tcp *t, struct bbr *b, const struct tcp_sample *a);
void bbr_update_extra_acked(const struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack);
void bbr_check_full_bw(struct bbr *b, const struct tcp_sample *a);
void bbr_update_min_rtt(struct bbr *b, const struct tcp_cc_ack *ack);

#endif
