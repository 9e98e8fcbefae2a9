/*
 * BBR's model of the path (draft-ietf-ccwg-bbr-06, sections 5.5 and 5.6.4.2): what each ACK tells
 * of the bandwidth, the round trip, losses and bursts of ACKs, and which volumes follow from these.
 */
#include "stack/tcp_bbr.h"

#include "stack/tcp_conn.h"

enum {
	LOSS_THRESH = 2,	/* percent */
	LOSS_CHANCE = 2,	/* segments more, not in the draft */
	HEADROOM = 15,		/* percent */
	EXTRA_ACKED_ROUNDS = 5, /* each of two halves of ExtraAckedFilterLen */
	QUANTUM_MAX = 65536
};

#define MIN_RTT_FILTER_NS     (10 * NS_PER_S)
#define PROBE_RTT_INTERVAL_NS (5 * NS_PER_S)

/* --- volumes (5.6.4.2) --- */

u32 bbr_bdp_multiple(const struct tcp *t, const struct bbr *b, u64 bw, u32 gain)
{
	if (b->min_rtt_us == BBR_INFINITE)
		return tcp_cc_initial_window(t->mss);
	return (u32)MIN(bw * b->min_rtt_us / BBR_US_PER_S * gain / 100, 1u << 30);
}

/* BBRQuantizationBudget: three super-frames at least, for the ends that coalesce. */
u32 bbr_quantization_budget(const struct tcp *t, const struct bbr *b, u64 cap)
{
	u32 quantum = (u32)MIN(t->pacing_rate / 1000, QUANTUM_MAX);

	cap = MAX(cap, 3 * MAX(quantum, 2u * t->mss));
	cap = MAX(cap, bbr_min_pipe_cwnd(t));
	if (b->state == BBR_PROBE_BW_UP)
		cap += 2u * t->mss;
	return (u32)MIN(cap, 1u << 30);
}

u32 bbr_inflight(const struct tcp *t, const struct bbr *b, u32 gain)
{
	return bbr_quantization_budget(t, b, bbr_bdp_multiple(t, b, bbr_max_bw(b), gain));
}

u32 bbr_target_inflight(const struct tcp *t, const struct bbr *b)
{
	return MIN(bbr_bdp_multiple(t, b, b->bw, 100), t->cwnd);
}

u32 bbr_inflight_with_headroom(const struct tcp *t, const struct bbr *b)
{
	u32 headroom = MAX((u32)((u64)b->inflight_longterm * HEADROOM / 100), (u32)t->mss);

	if (b->inflight_longterm == BBR_INFINITE)
		return BBR_INFINITE;
	return MAX(
		b->inflight_longterm - MIN(headroom, b->inflight_longterm), bbr_min_pipe_cwnd(t));
}

/* --- rounds --- */

void bbr_reset_full_bw(struct bbr *b)
{
	b->full_bw = 0;
	b->full_bw_count = 0;
	b->full_bw_now = false;
}

void bbr_start_round(const struct tcp *t, struct bbr *b)
{
	b->next_round_delivered = t->delivered;
}

/* --- losses (5.5.10) --- */

/*
 * What may be lost of a volume. A fiftieth of a few dozen segments is one, and of random losses
 * half as frequent as LossThresh tolerates two often fall into one round: that much of chance is
 * added.
 */
static u64 losses_allowed(const struct tcp *t, u64 in_flight)
{
	return in_flight * LOSS_THRESH / 100 + LOSS_CHANCE * (u64)t->mss;
}

/* IsInflightTooHigh: without SACK only one loss of a round trip is seen. */
bool bbr_inflight_too_high(const struct tcp *t, u32 lost, u32 in_flight)
{
	return lost > losses_allowed(t, in_flight) || (lost && !(t->flags & TCPF_SACK));
}

/* BBRInflightAtLoss: the volume at which the losses passed the threshold. */
u32 bbr_inflight_at_loss(const struct tcp *t, u32 in_flight, u32 lost, u32 size)
{
	u64 before = in_flight - MIN(size, in_flight), lost_before = lost - MIN(size, lost);
	u64 allowed = losses_allowed(t, before);

	if (allowed > lost_before)
		before += (allowed - lost_before) * 100 / (100 - LOSS_THRESH);
	return (u32)before;
}

/*
 * What arrives is less than the bandwidth by the pacing margin, by the gain with which it was sent
 * a round ago (DOWN's, Drain's), and by the losses that LossThresh tolerates. That much is given
 * back here, and rounds that the program or ProbeRTT kept small say nothing, nor do those in which
 * Startup's losses are found. None of that is in the draft: without it a round with a loss, however
 * few, lowers the bounds below what the path carries, by a tenth to three tenths until the next
 * probe.
 */
static void adapt_short_term(const struct tcp *t, struct bbr *b, bool app_limited)
{
	u32 share = (100 - BBR_PACING_MARGIN - LOSS_THRESH) * MIN(b->gain, b->gain_before);
	u64 bw = b->bw_latest * 10000 / share, inflight = b->inflight_latest * 10000ull / share;

	if (app_limited || b->round_count <= b->drain_start_round + 1) /* Startup's losses */
		return;
	if (!b->loss_in_round || b->state == BBR_PROBE_BW_REFILL || b->state == BBR_PROBE_BW_UP ||
		b->state == BBR_STARTUP) /* what probes is not held back */
		return;
	if (b->bw_shortterm == UINT64_MAX)
		b->bw_shortterm = bbr_max_bw(b);
	if (b->inflight_shortterm == BBR_INFINITE)
		b->inflight_shortterm = t->cwnd;
	bw = MAX(bw, b->bw_shortterm * BBR_BETA / 100);
	inflight = MAX(inflight, (u64)b->inflight_shortterm * BBR_BETA / 100);
	b->bw_shortterm = MIN(bw, b->bw_shortterm);
	b->inflight_shortterm = (u32)MIN(inflight, b->inflight_shortterm);
}

/* --- each ACK (5.5) --- */

static void update_round(const struct tcp *t, struct bbr *b, const struct tcp_sample *a)
{
	b->gain = (u8)MIN(b->gain, b->pacing_gain);
	b->round_start = seq_geq(a->prior_delivered, b->next_round_delivered);
	if (!b->round_start)
		return;
	b->gain_before = b->gain;
	b->gain = (u8)MIN(b->pacing_gain, 100u);
	bbr_start_round(t, b);
	b->round_count++;
	b->rounds_since_bw_probe++;
}

void bbr_update_signals(struct tcp *t, struct bbr *b, const struct tcp_sample *a)
{
	u64 bw = bbr_sample_bw(a);

	b->loss_round_start = false; /* BBRUpdateLatestDeliverySignals */
	b->bw_latest = MAX(b->bw_latest, bw);
	b->inflight_latest = MAX(b->inflight_latest, a->delivered);
	if (seq_geq(a->prior_delivered, b->loss_round_delivered)) {
		b->loss_round_delivered = t->delivered;
		b->loss_round_start = true;
	}
	update_round(t, b, a); /* BBRUpdateMaxBw */
	if (bw >= bbr_max_bw(b) || !a->app_limited)
		b->max_bw[0] = MAX(b->max_bw[0], bw);
	if (b->loss_round_start) {
		adapt_short_term(t, b, a->app_limited);
		b->loss_in_round = false;
	}
}

/* BBRUpdateACKAggregation: how much more arrives at a time than the bandwidth explains. */
void bbr_update_extra_acked(const struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	u64 interval_us = (ack->now_ns - b->extra_acked_ns) / NS_PER_US;
	u64 expected = b->bw * MIN(interval_us, 100 * BBR_US_PER_S) / BBR_US_PER_S;
	u32 extra;

	if (b->extra_acked_delivered <= expected) {
		b->extra_acked_delivered = 0;
		b->extra_acked_ns = ack->now_ns;
		expected = 0;
	}
	b->extra_acked_delivered += ack->delivered;
	extra = MIN(
		b->extra_acked_delivered - (u32)MIN(expected, b->extra_acked_delivered), t->cwnd);
	if (!b->full_bw_reached) {
		b->extra_acked[0] = extra;
		b->extra_acked[1] = 0;
		return;
	}
	if (b->round_count - b->extra_acked_round >= EXTRA_ACKED_ROUNDS) {
		b->extra_acked_round = b->round_count;
		b->extra_acked[1] = b->extra_acked[0];
		b->extra_acked[0] = 0;
	}
	b->extra_acked[0] = MAX(b->extra_acked[0], extra);
}

void bbr_check_full_bw(struct bbr *b, const struct tcp_sample *a)
{
	u64 bw = bbr_sample_bw(a);

	if (b->full_bw_now || !b->round_start || a->app_limited)
		return;
	if (bw * 100 >= b->full_bw * 125) {
		bbr_reset_full_bw(b);
		b->full_bw = bw;
		return;
	}
	b->full_bw_count++;
	b->full_bw_now = b->full_bw_count >= 3;
	b->full_bw_reached |= b->full_bw_now;
}

void bbr_update_min_rtt(struct bbr *b, const struct tcp_cc_ack *ack)
{
	u32 rtt_us = MAX(ack->sample.rtt_us, 1u);

	b->probe_rtt_expired = ack->now_ns > b->probe_rtt_min_ns + PROBE_RTT_INTERVAL_NS;
	if (ack->sample.timed && (rtt_us < b->probe_rtt_min_us || b->probe_rtt_expired)) {
		b->probe_rtt_min_us = rtt_us;
		b->probe_rtt_min_ns = ack->now_ns;
	}
	if (b->probe_rtt_min_us < b->min_rtt_us ||
		ack->now_ns > b->min_rtt_ns + MIN_RTT_FILTER_NS) {
		b->min_rtt_us = b->probe_rtt_min_us;
		b->min_rtt_ns = b->probe_rtt_min_ns;
	}
}
