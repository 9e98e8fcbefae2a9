/*
 * BBR, version 3 (draft-ietf-ccwg-bbr-06): sending by a model of the path instead of by losses.
 *
 * The model is the bandwidth (the highest delivery rate of this cycle of probing and the one before)
 * and the least round trip of ten seconds; their product, the BDP, is what the path holds without a
 * queue. Segments are paced at a gain times the bandwidth, and the window is a gain times the BDP.
 *
 *   Startup    doubles the rate each round until the bandwidth grows no more (three rounds without a
 *              quarter more), or a fiftieth is lost
 *   Drain      lets the queue go that this has made
 *   ProbeBW    DOWN drains, CRUISE keeps the bandwidth with a headroom, REFILL fills the path for a
 *              round, and UP sends a quarter faster until the bandwidth grows no more or a fiftieth
 *              is lost; two to three seconds, or as many rounds as Reno would need, from one to the
 *              next
 *   ProbeRTT   every five seconds without a lower round trip: half the BDP for 200 ms, to see the
 *              round trip without a queue
 *
 * inflight_longterm is the volume that was found to be too much when probing; the probe after that
 * ends as soon as this volume is reached, and only if nothing was lost then the next one stays
 * there. bw_shortterm and inflight_shortterm are lowered by the losses of each round between probes,
 * and forgotten at the next. Losses are told by tcp_recovery.c run by run, and what proves to have
 * been none is taken back.
 *
 * A mark of congestion (ECN) must count as congestion, and the draft leaves open how (3.7). Here it
 * ends Startup as it ends slow start, ends a probe as too many losses do, and lowers
 * inflight_shortterm to seven tenths of what was in flight, once in a window of data as RFC 3168
 * 6.1.2 wants it.
 *
 * This file has the states and what follows of them; tcp_bbr_model.c has the estimates, and
 * tcp_bbr.h what both share. What an interval of time needs of randomness comes from the
 * connection's initial sequence number.
 */
#include "stack/tcp_bbr.h"

#include "stack/tcp_conn.h"

enum {
	STARTUP_PACING_GAIN = 277, /* 4 ln 2 */
	STARTUP_CWND_GAIN = 200,
	DRAIN_PACING_GAIN = 50,
	DEFAULT_CWND_GAIN = 200,
	DOWN_PACING_GAIN = 90,
	UP_PACING_GAIN = 125,
	UP_CWND_GAIN = 225,
	PROBE_RTT_CWND_GAIN = 50,
	FULL_LOSS_COUNT = 6, /* StartupFullLossCnt */
	RENO_ROUNDS_MAX = 63,
	UP_ROUNDS_MAX = 30,
	DRAIN_ROUNDS_MAX = 3
};

#define PROBE_RTT_NS  (200 * NS_PER_MS)
#define PROBE_WAIT_MS 2000u /* and up to a second more */

_Static_assert(sizeof(struct bbr) <= sizeof(((struct tcp *)0)->cc_private), "BBR's state fits");

/* 0 .. below - 1 */
static u32 bbr_random(struct bbr *b, u32 below)
{
	b->random = b->random * 1664525u + 1013904223u;
	return (u32)((u64)b->random * below >> 32);
}

static u32 probe_rtt_cwnd(const struct tcp *t, const struct bbr *b)
{
	return MAX(bbr_bdp_multiple(t, b, b->bw, PROBE_RTT_CWND_GAIN), bbr_min_pipe_cwnd(t));
}

static void save_cwnd(const struct tcp *t, struct bbr *b)
{
	if (t->recovery == TCP_OPEN && b->state != BBR_PROBE_RTT)
		b->prior_cwnd = t->cwnd;
	else
		b->prior_cwnd = MAX(b->prior_cwnd, t->cwnd);
}

/* --- states --- */

static void reset_short_term(struct bbr *b)
{
	b->bw_shortterm = UINT64_MAX;
	b->inflight_shortterm = BBR_INFINITE;
}

static void bbr_enter(struct bbr *b, enum bbr_state state, u16 pacing_gain, u16 cwnd_gain)
{
	b->state = (u8)state;
	b->pacing_gain = pacing_gain;
	b->cwnd_gain = cwnd_gain;
}

static void enter_startup(struct bbr *b)
{
	bbr_enter(b, BBR_STARTUP, STARTUP_PACING_GAIN, STARTUP_CWND_GAIN);
}

static void start_down(const struct tcp *t, struct bbr *b, u64 now_ns)
{
	b->loss_in_round = false; /* BBRResetCongestionSignals */
	b->bw_latest = 0;
	b->inflight_latest = 0;
	b->probe_up_cnt = UINT32_MAX;
	b->rounds_since_bw_probe = bbr_random(b, 2); /* BBRPickProbeWait */
	b->bw_probe_wait_ms = PROBE_WAIT_MS + bbr_random(b, 1001);
	b->cycle_ns = now_ns;
	b->ack_phase = ACKS_PROBE_STOPPING;
	bbr_start_round(t, b);
	bbr_enter(b, BBR_PROBE_BW_DOWN, DOWN_PACING_GAIN, DEFAULT_CWND_GAIN);
}

static void start_cruise(struct bbr *b)
{
	bbr_enter(b, BBR_PROBE_BW_CRUISE, 100, DEFAULT_CWND_GAIN);
}

static void start_refill(const struct tcp *t, struct bbr *b)
{
	reset_short_term(b);
	b->bw_probe_up_rounds = 0;
	b->bw_probe_up_acks = 0;
	b->probe_precautionary = false;
	b->ack_phase = ACKS_REFILLING;
	bbr_start_round(t, b);
	bbr_enter(b, BBR_PROBE_BW_REFILL, 100, DEFAULT_CWND_GAIN);
}

/* BBRRaiseInflightLongtermSlope: twice as much growth in each round. */
static void raise_slope(const struct tcp *t, struct bbr *b)
{
	u64 growth = (u64)t->mss << b->bw_probe_up_rounds;

	b->bw_probe_up_rounds = (u8)MIN(b->bw_probe_up_rounds + 1u, UP_ROUNDS_MAX);
	b->probe_up_cnt = (u32)MAX(t->cwnd / growth, 1);
}

static void start_up(const struct tcp *t, struct bbr *b, u64 bw)
{
	b->ack_phase = ACKS_PROBE_STARTING;
	bbr_start_round(t, b);
	bbr_reset_full_bw(b);
	b->full_bw = bw;
	bbr_enter(b, BBR_PROBE_BW_UP, UP_PACING_GAIN, UP_CWND_GAIN);
	raise_slope(t, b);
}

/* --- losses (5.5.10) --- */

static void handle_inflight_too_high(
	struct tcp *t, struct bbr *b, u64 now_ns, u32 in_flight, bool app_limited)
{
	u32 least = (u32)((u64)bbr_target_inflight(t, b) * BBR_BETA / 100);

	b->probe_too_high = true;
	b->bw_probe_samples = false; /* once in each probe */
	if (!app_limited)
		b->inflight_longterm = MAX(in_flight, least);
	if (b->state == BBR_PROBE_BW_UP) {
		b->undo_state = BBR_PROBE_BW_UP;
		start_down(t, b, now_ns);
	}
}

/* NoteLoss and SaveStateUponLoss */
static void note_loss(struct tcp *t, struct bbr *b)
{
	if (!b->loss_in_round) {
		b->loss_round_delivered = t->delivered;
		b->undo_state = BBR_NO_STATE;
		b->undo_bw_shortterm = b->bw_shortterm;
		b->undo_inflight_shortterm = b->inflight_shortterm;
		b->undo_inflight_longterm = b->inflight_longterm;
	}
	b->loss_in_round = true;
}

/* HandleLostPacket; t->lost counts it already. */
static void bbr_lost(struct tcp *t, const struct tcp_sent_run *run, u64 now_ns)
{
	struct bbr *b = bbr_of(t);
	u32 lost = t->lost - run->lost;

	note_loss(t, b);
	if (b->loss_events < UINT8_MAX)
		b->loss_events++;
	if (!b->bw_probe_samples || !bbr_inflight_too_high(t, lost, run->in_flight))
		return;
	handle_inflight_too_high(t, b, now_ns,
		bbr_inflight_at_loss(t, run->in_flight, lost, run->end - run->start),
		run->flags & SENT_LIMITED);
}

/* --- Startup and Drain (5.3.1, 5.3.2) --- */

/* What has just been delivered is safe. */
static void leave_startup(const struct tcp *t, struct bbr *b)
{
	b->undo_state = BBR_STARTUP;
	b->full_bw_reached = true;
	b->bw = bbr_max_bw(b);
	b->inflight_longterm = MAX(bbr_bdp_multiple(t, b, bbr_max_bw(b), 100), b->inflight_latest);
}

/* 5.3.1.3: losses of a whole round in recovery that are many and at many places. */
static void check_startup_loss(const struct tcp *t, struct bbr *b, const struct tcp_sample *a)
{
	if (b->full_bw_reached || !b->loss_round_start)
		return;
	if (t->recovery == TCP_RECOVERY &&
		b->loss_events >= (t->flags & TCPF_SACK ? FULL_LOSS_COUNT : 1) &&
		bbr_inflight_too_high(t, a->lost, a->in_flight))
		leave_startup(t, b);
	b->loss_events = 0;
}

/* 3.7 */
static void check_mark(struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	if (!b->marked)
		return;
	if (b->state == BBR_STARTUP) {
		leave_startup(t, b);
	} else if (b->bw_probe_samples) {
		handle_inflight_too_high(t, b, ack->now_ns, ack->in_flight, false);
	} else {
		if (b->state == BBR_PROBE_BW_REFILL)
			start_down(t, b, ack->now_ns);
		b->inflight_shortterm =
			MIN(b->inflight_shortterm, (u32)((u64)ack->in_flight * BBR_BETA / 100));
	}
	b->undo_state = BBR_NO_STATE;
}

static void check_startup_and_drain(struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	check_startup_loss(t, b, &ack->sample);
	if (b->state == BBR_STARTUP && b->full_bw_reached) {
		bbr_enter(b, BBR_DRAIN, DRAIN_PACING_GAIN, DEFAULT_CWND_GAIN);
		b->drain_start_round = b->round_count;
	}
	if (b->state == BBR_DRAIN &&
		(ack->pipe <= bbr_inflight(t, b, 100) ||
			b->round_count > b->drain_start_round + DRAIN_ROUNDS_MAX))
		start_down(t, b, ack->now_ns);
}

/* --- ProbeBW (5.3.3) --- */

static void probe_upward(const struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	u32 delta;

	if (!(t->flags & TCPF_CWND_LIMITED) || t->cwnd < b->inflight_longterm)
		return;
	b->bw_probe_up_acks += ack->delivered;
	delta = b->bw_probe_up_acks / b->probe_up_cnt;
	b->bw_probe_up_acks -= delta * b->probe_up_cnt;
	b->inflight_longterm += MIN(delta, BBR_INFINITE - 1 - b->inflight_longterm);
	if (b->round_start)
		raise_slope(t, b);
}

/* AdaptLongTermModel; true when it has begun another state. */
static bool adapt_long_term(struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	const struct tcp_sample *a = &ack->sample;

	if (b->ack_phase == ACKS_PROBE_STARTING && b->round_start)
		b->ack_phase = ACKS_PROBE_FEEDBACK;
	if (b->ack_phase == ACKS_PROBE_STOPPING && b->round_start) {
		b->bw_probe_samples = false;
		b->ack_phase = ACKS_INIT;
		if (bbr_in_probe_bw(b) && !a->app_limited) { /* BBRAdvanceMaxBwFilter */
			b->max_bw[1] = b->max_bw[0];
			b->max_bw[0] = 0;
		}
		/* 5.3.3.6: the volume that was too much is not now. */
		if (bbr_in_probe_bw(b) && b->probe_precautionary && !b->probe_too_high) {
			start_refill(t, b);
			return true;
		}
	}
	if (b->marked || bbr_inflight_too_high(t, a->lost, a->in_flight) ||
		b->inflight_longterm == BBR_INFINITE)
		return false;
	b->inflight_longterm = MAX(b->inflight_longterm, a->in_flight);
	if (b->state == BBR_PROBE_BW_UP)
		probe_upward(t, b, ack);
	return false;
}

static bool time_to_probe(const struct tcp *t, const struct bbr *b, u64 now_ns)
{
	u32 rounds = MIN(bbr_target_inflight(t, b) / MAX(t->mss, 1u), RENO_ROUNDS_MAX);

	return now_ns > b->cycle_ns + b->bw_probe_wait_ms * NS_PER_MS ||
	       b->rounds_since_bw_probe >= rounds;
}

static bool time_to_cruise(const struct tcp *t, const struct bbr *b, u32 pipe)
{
	return pipe <= bbr_inflight_with_headroom(t, b) && pipe <= bbr_inflight(t, b, 100);
}

static bool time_to_go_down(const struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	if (b->probe_too_high && ack->pipe >= b->inflight_longterm) { /* 5.3.3.6 */
		b->probe_precautionary = true;
		return true;
	}
	if (t->flags & TCPF_CWND_LIMITED && t->cwnd >= b->inflight_longterm) {
		bbr_reset_full_bw(b); /* the bound holds the bandwidth down */
		b->full_bw = bbr_sample_bw(&ack->sample);
		return false;
	}
	return b->full_bw_now;
}

static void update_probe_bw(struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	if (!b->full_bw_reached || adapt_long_term(t, b, ack))
		return;
	switch (b->state) {
	case BBR_PROBE_BW_DOWN:
		if (time_to_probe(t, b, ack->now_ns))
			start_refill(t, b);
		else if (time_to_cruise(t, b, ack->pipe))
			start_cruise(b);
		break;
	case BBR_PROBE_BW_CRUISE:
		if (time_to_probe(t, b, ack->now_ns))
			start_refill(t, b);
		break;
	case BBR_PROBE_BW_REFILL:
		if (b->round_start) {
			b->bw_probe_samples = true;
			start_up(t, b, bbr_sample_bw(&ack->sample));
		}
		break;
	case BBR_PROBE_BW_UP:
		if (time_to_go_down(t, b, ack)) {
			b->probe_too_high = false; /* not yet */
			start_down(t, b, ack->now_ns);
		}
		break;
	default:
		break;
	}
}

/* --- ProbeRTT (5.3.4) --- */

static void check_probe_rtt_done(struct tcp *t, struct bbr *b, u64 now_ns)
{
	if (!b->probe_rtt_done_ns || now_ns <= b->probe_rtt_done_ns)
		return;
	b->probe_rtt_min_ns = now_ns;
	t->cwnd = MAX(t->cwnd, b->prior_cwnd);
	reset_short_term(b);
	if (b->full_bw_reached) {
		start_down(t, b, now_ns);
		start_cruise(b);
	} else {
		enter_startup(b);
	}
}

static void handle_probe_rtt(struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	t->app_limited = MAX(t->delivered + ack->pipe, 1); /* low samples do not count */
	if (!b->probe_rtt_done_ns) {
		if (ack->pipe > probe_rtt_cwnd(t, b))
			return;
		b->probe_rtt_done_ns = ack->now_ns + PROBE_RTT_NS;
		b->probe_rtt_round_done = false;
		bbr_start_round(t, b);
		return;
	}
	if (b->round_start)
		b->probe_rtt_round_done = true;
	if (b->probe_rtt_round_done)
		check_probe_rtt_done(t, b, ack->now_ns);
}

static void check_probe_rtt(struct tcp *t, struct bbr *b, const struct tcp_cc_ack *ack)
{
	if (b->state != BBR_PROBE_RTT && b->probe_rtt_expired && !b->idle_restart) {
		save_cwnd(t, b);
		bbr_enter(b, BBR_PROBE_RTT, 100, PROBE_RTT_CWND_GAIN);
		b->probe_rtt_done_ns = 0;
		b->ack_phase = ACKS_PROBE_STOPPING;
		bbr_start_round(t, b);
	}
	if (b->state == BBR_PROBE_RTT)
		handle_probe_rtt(t, b, ack);
	if (ack->sample.delivered)
		b->idle_restart = false;
}

/* --- what follows from the model (5.6) --- */

static void set_pacing_rate(struct tcp *t, const struct bbr *b, u32 gain)
{
	u64 rate = b->bw * gain / 100 * (100 - BBR_PACING_MARGIN) / 100;

	if (b->full_bw_reached || rate > t->pacing_rate)
		t->pacing_rate = rate;
}

static void bound_cwnd(struct tcp *t, const struct bbr *b)
{
	u32 cap = BBR_INFINITE;

	if (b->state == BBR_PROBE_RTT)
		t->cwnd = MIN(t->cwnd, probe_rtt_cwnd(t, b));
	if (b->state == BBR_PROBE_RTT || b->state == BBR_PROBE_BW_CRUISE)
		cap = bbr_inflight_with_headroom(t, b);
	else if (bbr_in_probe_bw(b))
		cap = b->inflight_longterm;
	cap = MAX(MIN(cap, b->inflight_shortterm), bbr_min_pipe_cwnd(t));
	t->cwnd = MIN(t->cwnd, cap);
}

static void set_cwnd(struct tcp *t, const struct bbr *b, u32 delivered)
{
	u32 extra = MAX(b->extra_acked[0], b->extra_acked[1]);
	u32 most = bbr_quantization_budget(
		t, b, (u64)bbr_bdp_multiple(t, b, bbr_max_bw(b), b->cwnd_gain) + extra);

	if (b->full_bw_reached)
		t->cwnd = MIN(t->cwnd + delivered, most);
	else if (t->cwnd < most || t->delivered < tcp_cc_initial_window(t->mss))
		t->cwnd += delivered;
	t->cwnd = MAX(t->cwnd, bbr_min_pipe_cwnd(t));
	bound_cwnd(t, b);
}

/* BBRUpdateOnACK */
static void bbr_model(struct tcp *t, const struct tcp_cc_ack *ack)
{
	struct bbr *b = bbr_of(t);
	const struct tcp_sample *a = &ack->sample;

	b->round_start = b->loss_round_start = false;
	if (a->any) {
		bbr_update_signals(t, b, a);
		bbr_update_extra_acked(t, b, ack);
		bbr_check_full_bw(b, a);
		check_mark(t, b, ack);
		check_startup_and_drain(t, b, ack);
		update_probe_bw(t, b, ack);
		bbr_update_min_rtt(b, ack);
		check_probe_rtt(t, b, ack);
		if (b->loss_round_start) { /* BBRAdvanceLatestDeliverySignals */
			b->bw_latest = bbr_sample_bw(a);
			b->inflight_latest = a->delivered;
		}
		b->bw = MIN(bbr_max_bw(b), b->bw_shortterm);
		b->marked = false;
	}
	set_pacing_rate(t, b, b->pacing_gain);
	set_cwnd(t, b, ack->delivered);
}

/* --- events --- */

static void bbr_init(struct tcp *t, u64 now_ns)
{
	struct bbr *b = bbr_of(t);
	u64 srtt_us = t->rtt.srtt_ns ? MAX(t->rtt.srtt_ns / NS_PER_US, 1) : 1000;

	*b = (struct bbr){
		.min_rtt_us = t->rtt.srtt_ns ? (u32)MIN(srtt_us, BBR_INFINITE - 1) : BBR_INFINITE,
		.probe_rtt_min_us = BBR_INFINITE,
		.min_rtt_ns = now_ns,
		.probe_rtt_min_ns = now_ns,
		.extra_acked_ns = now_ns,
		.inflight_longterm = BBR_INFINITE,
		.bw_shortterm = UINT64_MAX,
		.inflight_shortterm = BBR_INFINITE,
		.undo_bw_shortterm = UINT64_MAX,
		.undo_inflight_longterm = BBR_INFINITE,
		.undo_inflight_shortterm = BBR_INFINITE,
		.probe_up_cnt = UINT32_MAX,
		.random = t->snd_nxt,
		.undo_state = BBR_NO_STATE,
		.gain = 100,
		.gain_before = 100,
		.mark_delivered = t->delivered,
		.next_round_delivered = t->delivered,
		.loss_round_delivered = t->delivered,
	};
	enter_startup(b);
	t->pacing_rate = t->cwnd * BBR_US_PER_S / srtt_us * STARTUP_PACING_GAIN / 100;
}

static u32 bbr_ssthresh(struct tcp *t, u32 in_flight)
{
	(void)in_flight;
	save_cwnd(t, bbr_of(t));
	return t->ssthresh;
}

static void bbr_recovered(struct tcp *t)
{
	t->cwnd = MAX(t->cwnd, bbr_of(t)->prior_cwnd);
}

/* The way may be another one now. */
static void bbr_timeout(struct tcp *t)
{
	bbr_reset_full_bw(bbr_of(t));
}

/* BBRHandleSpuriousLossDetection */
static void bbr_undo(struct tcp *t)
{
	struct bbr *b = bbr_of(t);

	b->loss_in_round = false;
	bbr_reset_full_bw(b);
	b->bw_shortterm = MAX(b->bw_shortterm, b->undo_bw_shortterm);
	b->inflight_shortterm = MAX(b->inflight_shortterm, b->undo_inflight_shortterm);
	b->inflight_longterm = MAX(b->inflight_longterm, b->undo_inflight_longterm);
	if (b->undo_state == BBR_STARTUP && b->state != BBR_STARTUP) {
		b->full_bw_reached = false;
		if (b->state != BBR_PROBE_RTT)
			enter_startup(b);
	} else if (b->undo_state == BBR_PROBE_BW_UP && b->state != BBR_PROBE_BW_UP &&
		   b->state != BBR_PROBE_RTT) {
		start_refill(t, b);
	}
	b->undo_state = BBR_NO_STATE;
}

/* RFC 3168 6.1.2; false: what is marked was sent before the answer to the last mark. */
static bool bbr_marked(struct tcp *t, const struct tcp_cc_ack *ack)
{
	struct bbr *b = bbr_of(t);

	if (!ack->sample.any || seq_lt(ack->sample.prior_delivered, b->mark_delivered))
		return false;
	b->mark_delivered = t->delivered;
	b->marked = true;
	return true;
}

/* BBRHandleRestartFromIdle: the path is as it was; a whole window is not sent at once. */
static void bbr_sending(struct tcp *t, u64 now_ns)
{
	struct bbr *b = bbr_of(t);

	if (!t->app_limited)
		return;
	b->idle_restart = true;
	b->extra_acked_ns = now_ns;
	if (bbr_in_probe_bw(b))
		set_pacing_rate(t, b, 100);
	else if (b->state == BBR_PROBE_RTT)
		check_probe_rtt_done(t, b, now_ns);
}

const struct tcp_cc_ops tcp_bbr = {
	.name = "bbr",
	.init = bbr_init,
	.ssthresh = bbr_ssthresh,
	.recovered = bbr_recovered,
	.timeout = bbr_timeout,
	.undo = bbr_undo,
	.paces = true,
	.model = bbr_model,
	.lost = bbr_lost,
	.marked = bbr_marked,
	.sending = bbr_sending,
};
