/* BBR state by state (draft-ietf-ccwg-bbr): samples go in, gains, bounds and states are looked at. */
#include <string.h>

#include "stack/tcp_bbr.h"
#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"

#define MSS   1000u
#define RTT   100000u /* us */
#define START (1000 * NS_PER_S)

static struct tcp t;
static struct bbr *b;
static u64 now_ns;

static void setup(void)
{
	memset(&t, 0, sizeof(t));
	t.mss = MSS;
	t.cwnd = 10 * MSS;
	t.ssthresh = UINT32_MAX;
	t.cc = TCP_CC_BBR;
	t.flags = TCPF_SACK;
	t.rtt.srtt_ns = RTT * NS_PER_US;
	t.delivered = UINT32_MAX - 30 * MSS; /* wraps on the way */
	now_ns = START;
	tcp_cc_of(&t)->init(&t, now_ns);
	b = bbr_of(&t);
}

/* One ACK of what was sent a round trip ago: `bytes` arrived in interval_us. The caller may change it before it counts. */
static struct tcp_cc_ack ack_of(u32 bytes, u32 interval_us)
{
	struct tcp_cc_ack ack = {.acked = bytes,
		.delivered = bytes,
		.pipe = b->state == BBR_STARTUP ? 2 * bytes : bytes, /* a queue, which Drain takes */
		.sample = {.any = true,
			.timed = true,
			.rtt_us = RTT,
			.prior_delivered = t.delivered,
			.in_flight = bytes,
			.delivered = bytes,
			.interval_us = interval_us}};

	return ack;
}

static void take(struct tcp_cc_ack *ack, u32 after_us)
{
	now_ns += after_us * NS_PER_US;
	ack->now_ns = now_ns;
	t.delivered += ack->delivered;
	tcp_cc_of(&t)->model(&t, ack);
}

static void round_of(u32 bytes)
{
	struct tcp_cc_ack ack = ack_of(bytes, RTT);

	take(&ack, RTT);
}

/* Such a round, with so many bytes in flight after it. */
static void round_with(u32 bytes, u32 pipe)
{
	struct tcp_cc_ack ack = ack_of(bytes, RTT);

	ack.pipe = pipe;
	take(&ack, RTT);
}

/* Such a round, limited by the program. */
static void round_limited(u32 bytes)
{
	struct tcp_cc_ack ack = ack_of(bytes, RTT);

	ack.sample.app_limited = true;
	take(&ack, RTT);
}

/* Loses `bytes` bytes of what was sent with in_flight bytes out, `before` lost since. */
static void lose(u32 bytes, u32 in_flight, u32 before)
{
	struct tcp_sent_run run = {.start = 0, .end = bytes, .in_flight = in_flight};

	t.lost += bytes;
	run.lost = t.lost - bytes - before;
	tcp_cc_of(&t)->lost(&t, &run, now_ns);
}

/* To Drain with a bandwidth of 100 segments a round, 1,000,000 bytes/s. */
static void fill(void)
{
	setup();
	for (u32 n = 10; n < 100; n *= 2)
		round_of(n * MSS);
	for (int i = 0; i < 4 && b->state == BBR_STARTUP; i++)
		round_of(100 * MSS);
	ck_assert_uint_eq(b->state, BBR_DRAIN);
}

/* To DOWN, by three rounds in which the queue did not go. */
static void down(void)
{
	fill();
	for (int i = 0; i < 4; i++)
		round_with(100 * MSS, 150 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
}

static void cruise(void)
{
	down();
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE);
}

static void refill(void)
{
	cruise();
	b->bw_probe_wait_ms = 0;
	round_of(100 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL);
}

static void up(void)
{
	refill();
	round_of(100 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
}

START_TEST(tcp_bbr_init)
{
	setup();
	ck_assert_uint_eq(b->state, BBR_STARTUP);
	ck_assert_uint_eq(t.pacing_rate, 277000); /* 5.6.2: 2.77 windows in a round trip */
	ck_assert_uint_eq(b->pacing_gain, 277);
	ck_assert_uint_eq(b->cwnd_gain, 200);
	ck_assert_uint_eq(b->min_rtt_us, RTT);
	memset(&t.rtt, 0, sizeof(t.rtt));
	tcp_cc_of(&t)->init(&t, now_ns);
	ck_assert_uint_eq(t.pacing_rate, 27700000); /* no round trip is known: 1 ms */
	ck_assert_uint_eq(b->min_rtt_us, BBR_INFINITE);
}
END_TEST

/* 5.3.1: the window grows by what arrives, the rate by the bandwidth, less a percent. */
START_TEST(tcp_bbr_startup)
{
	setup();
	round_of(10 * MSS);
	ck_assert_uint_eq(t.cwnd, 20 * MSS);
	ck_assert_uint_eq(t.pacing_rate, 277000); /* 274,230 would be less: it does not fall in Startup */
	round_of(20 * MSS);
	ck_assert_uint_eq(t.cwnd, 40 * MSS);
	ck_assert_uint_eq(t.pacing_rate, 200000 * 277 / 100 * 99 / 100);
	ck_assert_uint_eq(b->bw, 200000);
	ck_assert_uint_eq(b->round_count, 2);
	ck_assert_uint_eq(b->state, BBR_STARTUP);
}
END_TEST

/* 5.3.1.2: three rounds in which the bandwidth grows by less than a quarter. */
START_TEST(tcp_bbr_startup_full)
{
	setup();
	round_of(40 * MSS);
	round_of(50 * MSS); /* just a quarter more: a new base */
	ck_assert_uint_eq(b->full_bw_count, 0);
	round_of(62 * MSS);
	round_of(62 * MSS);
	ck_assert_uint_eq(b->full_bw_count, 2);
	ck_assert_uint_eq(b->state, BBR_STARTUP);
	round_of(62 * MSS);
	ck_assert(b->full_bw_reached);
	ck_assert_uint_eq(b->state, BBR_DRAIN);
	ck_assert_uint_eq(b->pacing_gain, 50);
	ck_assert_uint_eq(t.pacing_rate, 620000 / 2 * 99 / 100);
}
END_TEST

START_TEST(tcp_bbr_startup_limited)
{
	setup();
	round_of(40 * MSS);
	for (int i = 0; i < 10; i++)
		round_limited(5 * MSS);
	ck_assert_uint_eq(b->state, BBR_STARTUP);
	ck_assert_uint_eq(b->bw, 400000);
}
END_TEST

/* Several ACKs of one round are one round. */
START_TEST(tcp_bbr_rounds)
{
	u32 begin;

	setup();
	round_of(10 * MSS);
	begin = t.delivered;
	for (int i = 0; i < 9; i++) {
		struct tcp_cc_ack ack = ack_of(MSS, RTT);

		ack.sample.prior_delivered = begin - 1;
		take(&ack, 1000);
	}
	ck_assert_uint_eq(b->round_count, 1);
	round_of(MSS);
	ck_assert_uint_eq(b->round_count, 2);
}
END_TEST

/* 5.3.1.3 */
static void startup_losses(int events, u32 each, bool recovering)
{
	struct tcp_cc_ack ack;

	setup();
	for (u32 n = 10; n <= 80; n *= 2)
		round_of(n * MSS);
	t.recovery = recovering ? TCP_RECOVERY : TCP_OPEN;
	ack = ack_of(80 * MSS, RTT);
	ack.sample.lost = (u32)events * each;
	ack.sample.in_flight = 100 * MSS;
	for (int i = 0; i < events; i++)
		lose(each, 100 * MSS, 0);
	take(&ack, RTT);
}

START_TEST(tcp_bbr_startup_loss)
{
	startup_losses(6, MSS, true);
	ck_assert_uint_eq(b->state, BBR_DRAIN);
	ck_assert_uint_eq(b->inflight_longterm, 80 * MSS);
	startup_losses(5, MSS, true); /* at fewer places */
	ck_assert_uint_eq(b->state, BBR_STARTUP);
	startup_losses(6, MSS / 3, true); /* less than two percent */
	ck_assert_uint_eq(b->state, BBR_STARTUP);
	startup_losses(6, MSS, false); /* not a whole round of recovery */
	ck_assert_uint_eq(b->state, BBR_STARTUP);
}
END_TEST

/* 5.3.2: until what is in flight is the BDP, or three rounds. */
START_TEST(tcp_bbr_drain)
{
	fill();
	round_with(100 * MSS, 100 * MSS + 1);
	ck_assert_uint_eq(b->state, BBR_DRAIN);
	round_with(100 * MSS, 100 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE); /* the queue is gone: DOWN has nothing to do */
	fill();
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(b->state, BBR_DRAIN);
		round_with(100 * MSS, 150 * MSS);
	}
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
}
END_TEST

START_TEST(tcp_bbr_down)
{
	down();
	ck_assert_uint_eq(b->pacing_gain, 90);
	ck_assert_uint_eq(t.pacing_rate, 1000000 / 10 * 9 * 99 / 100);
	ck_assert_uint_eq(t.cwnd, 300 * MSS); /* twice the BDP, and the round that its ACK showed at once */
	ck_assert_uint_le(b->rounds_since_bw_probe, 1);
	b->inflight_longterm = 110 * MSS; /* with a headroom of 15 % of that: 93.5 segments */
	round_with(100 * MSS, 94 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	ck_assert_uint_eq(t.cwnd, 110 * MSS); /* bounded by inflight_longterm */
	round_with(100 * MSS, 93 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE);
	ck_assert_uint_eq(b->pacing_gain, 100);
	ck_assert_uint_eq(t.cwnd, 93500); /* and now with the headroom */
}
END_TEST

/* 5.3.3.8: two to three seconds, drawn anew for each cycle, */
START_TEST(tcp_bbr_probe_wait)
{
	u32 least = UINT32_MAX, most = 0;

	down();
	for (int i = 0; i < 1000; i++) {
		b->state = BBR_PROBE_BW_UP;
		b->full_bw_now = true;
		b->probe_rtt_min_ns = now_ns;
		round_of(100 * MSS);
		ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
		least = MIN(least, b->bw_probe_wait_ms);
		most = MAX(most, b->bw_probe_wait_ms);
	}
	ck_assert_uint_ge(least, 2000);
	ck_assert_uint_lt(least, 2020);
	ck_assert_uint_le(most, 3000);
	ck_assert_uint_gt(most, 2980);
}
END_TEST

START_TEST(tcp_bbr_probe_time)
{
	cruise();
	b->cycle_ns = now_ns;
	b->bw_probe_wait_ms = 250;
	round_of(90 * MSS);
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE);
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL);
}
END_TEST

/* ... or as many rounds as the BDP has segments, 63 at most. */
START_TEST(tcp_bbr_probe_rounds)
{
	cruise();
	b->cycle_ns = now_ns + 3600 * NS_PER_S;
	b->probe_rtt_min_ns = now_ns + 3600 * NS_PER_S;
	b->rounds_since_bw_probe = 0;
	for (int i = 0; i < 62; i++)
		round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE);
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL);
}
END_TEST

START_TEST(tcp_bbr_refill)
{
	cruise();
	b->bw_shortterm = 500000;
	b->inflight_shortterm = 50 * MSS;
	b->bw_probe_wait_ms = 0;
	round_of(50 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL);
	ck_assert_uint_eq(b->bw_shortterm, UINT64_MAX); /* the bounds by losses are forgotten */
	ck_assert_uint_eq(b->inflight_shortterm, BBR_INFINITE);
	ck_assert_uint_eq(b->pacing_gain, 100);
	ck_assert_uint_eq(b->bw, 1000000);
}
END_TEST

START_TEST(tcp_bbr_up)
{
	up(); /* after one round */
	ck_assert_uint_eq(b->pacing_gain, 125);
	ck_assert_uint_eq(b->cwnd_gain, 225);
	ck_assert(b->bw_probe_samples);
	ck_assert_uint_eq(t.pacing_rate, 1000000 / 4 * 5 * 99 / 100);
	round_of(100 * MSS); /* the bandwidth does not grow: three rounds */
	round_of(100 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
	round_of(100 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	up();
	round_of(125 * MSS); /* it does: there is more */
	ck_assert_uint_eq(b->full_bw_count, 0);
	ck_assert_uint_eq(b->bw, 1250000);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
}
END_TEST

/* 5.5.10.2: more than a fiftieth of what was in flight is lost, and two segments. */
START_TEST(tcp_bbr_up_loss)
{
	up();
	lose(4 * MSS, 120 * MSS, 0); /* 4400 bytes are tolerated */
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
	ck_assert_uint_eq(b->inflight_longterm, BBR_INFINITE);
	lose(MSS, 120 * MSS, 4 * MSS); /* of 119 segments 4380 bytes are, 380 more than were lost, over 0.98 */
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	ck_assert_uint_eq(b->inflight_longterm, 119 * MSS + 380 * 100 / 98);
	ck_assert(!b->bw_probe_samples);
	lose(20 * MSS, 120 * MSS, 5 * MSS); /* only one reaction to a probe */
	ck_assert_uint_eq(b->inflight_longterm, 119 * MSS + 380 * 100 / 98);
}
END_TEST

/* It does not fall below Beta times the BDP at once, and not for what the program limited. */
START_TEST(tcp_bbr_up_loss_bound)
{
	struct tcp_sent_run run = {.start = 0, .end = 10 * MSS, .in_flight = 60 * MSS, .flags = SENT_LIMITED};

	up();
	lose(10 * MSS, 20 * MSS, 0);
	ck_assert_uint_eq(b->inflight_longterm, 70 * MSS);
	up();
	t.lost = 10 * MSS;
	tcp_cc_of(&t)->lost(&t, &run, now_ns);
	ck_assert_uint_eq(b->inflight_longterm, BBR_INFINITE);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
}
END_TEST

/* 5.3.3.5: at the bound, inflight_longterm rises by one segment in the first round, by twice as much in each that follows. */
START_TEST(tcp_bbr_up_slope)
{
	u32 before, cwnd;

	up();
	t.flags |= TCPF_CWND_LIMITED;
	for (u32 i = 1; i < 5; i++) {
		struct tcp_cc_ack ack = ack_of(90 * MSS, RTT);

		before = b->inflight_longterm = cwnd = t.cwnd;
		b->bw_probe_up_acks = b->full_bw_count = 0;
		b->probe_up_cnt = 90;
		take(&ack, RTT);
		ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
		ck_assert_uint_eq(b->inflight_longterm, before + MSS);
		ck_assert_uint_eq(b->probe_up_cnt, cwnd / (MSS << i)); /* from the next round on */
	}
	before = b->inflight_longterm;
	t.flags &= ~(u32)TCPF_CWND_LIMITED; /* not used: it does not rise */
	round_of(before / 2);
	ck_assert_uint_eq(b->inflight_longterm, before);
}
END_TEST

/* 5.5.6: the bandwidth is the highest of this cycle and the last. */
START_TEST(tcp_bbr_max_bw)
{
	down();
	round_of(80 * MSS); /* the round of the last cycle's samples is over */
	ck_assert_uint_eq(b->max_bw[1], 1000000);
	ck_assert_uint_eq(b->bw, 1000000);
	b->state = BBR_PROBE_BW_UP;
	b->full_bw_now = true;
	round_of(80 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	ck_assert_uint_eq(b->bw, 1000000);
	round_of(80 * MSS);
	ck_assert_uint_eq(b->bw, 800000);
}
END_TEST

START_TEST(tcp_bbr_max_bw_limited)
{
	down();
	round_limited(50 * MSS);
	ck_assert_uint_eq(b->bw, 1000000);
	ck_assert_uint_eq(b->max_bw[0], 0);
	round_limited(120 * MSS);
	ck_assert_uint_eq(b->bw, 1200000); /* more than was known counts all the same */
}
END_TEST

/* 5.5.10.3: a round with losses lowers the short-term bounds, not below what has just been delivered. */
START_TEST(tcp_bbr_short_term)
{
	struct tcp_cc_ack ack;

	cruise();
	b->bw_probe_wait_ms = 1000000;
	b->rounds_since_bw_probe = 0;
	lose(MSS, 90 * MSS, 0);
	ack = ack_of(50 * MSS, RTT);
	ack.sample.prior_delivered = t.delivered;
	b->bw_latest = 0;
	b->inflight_latest = 0;
	t.cwnd = 200 * MSS;
	take(&ack, RTT);
	ck_assert_uint_eq(b->bw_shortterm, 700000);
	ck_assert_uint_eq(b->inflight_shortterm, 140 * MSS);
	ck_assert_uint_eq(b->bw, 700000);
	ck_assert_uint_eq(t.cwnd, 140 * MSS);
	round_of(60 * MSS); /* a round without loss lowers nothing */
	ck_assert_uint_eq(b->bw_shortterm, 700000);
	lose(MSS, 90 * MSS, 0);
	round_of(65 * MSS); /* 650,000 were delivered, and with the margin and the losses tolerated, three percent, 670,103 sent: not 490,000 */
	ck_assert_uint_eq(b->bw_shortterm, 670103);
	lose(MSS, 90 * MSS, 0);
	round_of(65 * MSS); /* which is what it is: it falls no further */
	ck_assert_uint_eq(b->bw_shortterm, 670103);
}
END_TEST

/* What arrives in CRUISE was sent in DOWN at first, a tenth slower. */
START_TEST(tcp_bbr_short_term_down)
{
	cruise();
	b->bw_probe_wait_ms = 1000000;
	b->rounds_since_bw_probe = 0;
	b->bw_latest = 0;
	b->gain = 90;
	lose(MSS, 90 * MSS, 0);
	round_of(88 * MSS);
	ck_assert_uint_eq(b->bw_shortterm, 1000000);
	b->bw_latest = 0;
	round_of(97 * MSS);
	lose(MSS, 90 * MSS, 0);
	b->bw_latest = 0;
	round_of(88 * MSS);
	ck_assert_uint_eq(b->bw_shortterm, 880000 * 100ull / 97);
}
END_TEST

/* What Startup lost is found in the two rounds after it. */
START_TEST(tcp_bbr_short_term_startup)
{
	startup_losses(6, MSS, true);
	ck_assert_uint_eq(b->state, BBR_DRAIN);
	b->bw_probe_wait_ms = 1000000;
	for (int i = 0; i < 2; i++) {
		ck_assert(b->bw_shortterm == UINT64_MAX);
		lose(MSS, 80 * MSS, 0);
		round_of(20 * MSS);
	}
	ck_assert(b->bw_shortterm != UINT64_MAX);
}
END_TEST

START_TEST(tcp_bbr_short_term_probing)
{
	up();
	lose(MSS, 100 * MSS, 0);
	round_of(100 * MSS);
	ck_assert_uint_eq(b->bw_shortterm, UINT64_MAX);
	setup();
	round_of(10 * MSS);
	lose(MSS, 100 * MSS, 0);
	round_of(20 * MSS);
	ck_assert_uint_eq(b->inflight_shortterm, BBR_INFINITE);
}
END_TEST

/* 5.3.4: five seconds without a lower round trip. */
START_TEST(tcp_bbr_probe_rtt)
{
	struct tcp_cc_ack ack;
	u32 before;

	cruise();
	b->cycle_ns = now_ns + 3600 * NS_PER_S;
	b->rounds_since_bw_probe = 0;
	before = t.cwnd;
	b->probe_rtt_min_ns = now_ns - 4900 * NS_PER_MS;
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE);
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_RTT);
	ck_assert_uint_eq(t.cwnd, 50 * MSS); /* half of the BDP */
	ck_assert_uint_eq(b->pacing_gain, 100);
	ck_assert_uint_ne(t.app_limited, 0);
	ck_assert_uint_eq(b->probe_rtt_done_ns, 0); /* more than that is in flight */
	round_of(50 * MSS);
	ck_assert_uint_eq(b->probe_rtt_done_ns, now_ns + 200 * NS_PER_MS);
	round_of(50 * MSS);
	round_of(50 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_RTT);
	ack = ack_of(50 * MSS, RTT);
	take(&ack, 1000);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE);
	ck_assert_uint_ge(t.cwnd, before - 10 * MSS); /* fewer ACKs at once are expected */
	ck_assert_uint_eq(b->probe_rtt_min_ns, now_ns);
}
END_TEST

/* 200 ms are not enough when a round takes longer. */
START_TEST(tcp_bbr_probe_rtt_round)
{
	struct tcp_cc_ack ack;
	u32 begin;

	cruise();
	b->cycle_ns = now_ns + 3600 * NS_PER_S;
	b->rounds_since_bw_probe = 0;
	b->probe_rtt_min_ns = now_ns - 6000 * NS_PER_MS;
	round_of(40 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_RTT);
	begin = t.delivered;
	for (int i = 0; i < 3; i++) {
		ack = ack_of(MSS, RTT);
		ack.sample.prior_delivered = begin - 1;
		take(&ack, RTT);
	}
	ck_assert_uint_eq(b->state, BBR_PROBE_RTT);
	round_of(10 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE);
}
END_TEST

START_TEST(tcp_bbr_probe_rtt_startup)
{
	setup();
	round_of(10 * MSS);
	b->probe_rtt_min_ns = now_ns - 6000 * NS_PER_MS;
	round_of(2 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_RTT);
	ck_assert_uint_eq(t.cwnd, 5 * MSS);
	for (int i = 0; i < 3; i++)
		round_limited(2 * MSS);
	ck_assert_uint_eq(b->state, BBR_STARTUP); /* the path was never full */
	ck_assert_uint_eq(b->pacing_gain, 277);
}
END_TEST

/* The least round trip is forgotten after ten seconds; a lower one counts at once. */
START_TEST(tcp_bbr_min_rtt)
{
	struct tcp_cc_ack ack;

	setup();
	round_of(10 * MSS);
	ack = ack_of(10 * MSS, RTT);
	ack.sample.rtt_us = 80000;
	take(&ack, RTT);
	ck_assert_uint_eq(b->min_rtt_us, 80000);
	round_of(10 * MSS);
	ck_assert_uint_eq(b->min_rtt_us, 80000);
	b->probe_rtt_min_ns = b->min_rtt_ns = now_ns - 10001 * NS_PER_MS;
	round_of(10 * MSS);
	ck_assert_uint_eq(b->min_rtt_us, RTT);
	ack = ack_of(10 * MSS, RTT);
	ack.sample.rtt_us = 1;
	ack.sample.timed = false; /* of a retransmission */
	take(&ack, RTT);
	ck_assert_uint_eq(b->min_rtt_us, RTT);
}
END_TEST

/* 5.4.1 */
START_TEST(tcp_bbr_idle)
{
	up();
	tcp_cc_of(&t)->sending(&t, now_ns);
	ck_assert(!b->idle_restart); /* nothing was limited by the program */
	t.app_limited = 1;
	now_ns += 6 * NS_PER_S;
	tcp_cc_of(&t)->sending(&t, now_ns);
	ck_assert(b->idle_restart);
	ck_assert_uint_eq(t.pacing_rate, 990000); /* the bandwidth, whatever the gain */
	round_of(100 * MSS);
	ck_assert_uint_ne(b->state, BBR_PROBE_RTT); /* the idle time has drained the path */
	ck_assert(!b->idle_restart);
}
END_TEST

/* 5.5.11: there was no loss. */
START_TEST(tcp_bbr_undo)
{
	up();
	lose(10 * MSS, 100 * MSS, 0);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	ck_assert_uint_ne(b->inflight_longterm, BBR_INFINITE);
	tcp_cc_of(&t)->undo(&t);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL); /* probes again */
	ck_assert_uint_eq(b->inflight_longterm, BBR_INFINITE);
	ck_assert(!b->loss_in_round);
	tcp_cc_of(&t)->undo(&t); /* once */
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL);
	startup_losses(6, MSS, true);
	ck_assert_uint_eq(b->state, BBR_DRAIN);
	tcp_cc_of(&t)->undo(&t);
	ck_assert_uint_eq(b->state, BBR_STARTUP);
}
END_TEST

/* The window of before a recovery comes back with its end; a timeout begins to look for the bandwidth anew. */
START_TEST(tcp_bbr_recovery)
{
	cruise();
	t.cwnd = 150 * MSS;
	ck_assert_uint_eq(tcp_cc_of(&t)->ssthresh(&t, 100 * MSS), UINT32_MAX);
	t.recovery = TCP_LOSS;
	tcp_cc_of(&t)->timeout(&t);
	t.cwnd = MSS;
	ck_assert_uint_eq(b->full_bw, 0);
	round_of(MSS);
	ck_assert_uint_eq(t.cwnd, 4 * MSS); /* four segments at least */
	t.recovery = TCP_OPEN;
	tcp_cc_of(&t)->recovered(&t);
	ck_assert_uint_eq(t.cwnd, 150 * MSS);
}
END_TEST

/* 5.5.9: ACKs that come in bursts raise the window. */
START_TEST(tcp_bbr_aggregation)
{
	struct tcp_cc_ack ack;

	cruise();
	round_of(90 * MSS);
	ck_assert_uint_eq(b->extra_acked_delivered, 90 * MSS);
	ack = ack_of(60 * MSS, RTT);
	ack.sample.prior_delivered = b->next_round_delivered - 1;
	take(&ack, 10000); /* 60 segments where 10 were expected, on top of 90 at once */
	ck_assert_uint_eq(b->extra_acked[0], 140 * MSS);
	for (int i = 0; i < 11; i++)
		round_of(MSS);
	ck_assert_uint_lt(MAX(b->extra_acked[0], b->extra_acked[1]), 90 * MSS);
}
END_TEST

/* Three super-frames at least, and two segments more while probing. */
START_TEST(tcp_bbr_budget)
{
	setup();
	t.rtt.srtt_ns = NS_PER_MS;
	tcp_cc_of(&t)->init(&t, now_ns);
	for (int i = 0; i < 8; i++) {
		struct tcp_cc_ack ack = ack_of(10 * MSS, 1000);

		ack.sample.rtt_us = 1000;
		take(&ack, 1000);
	}
	ck_assert_uint_eq(b->bw, 10000000);
	ck_assert(b->full_bw_reached);
	ck_assert_uint_ge(t.cwnd, 20 * MSS);
	ck_assert_uint_le(t.cwnd, 30 * MSS + 3 * 27700);
}
END_TEST

/* 5.5.10.2: without SACK only one loss of a round trip is seen, so each counts. */
START_TEST(tcp_bbr_loss_without_sack)
{
	startup_losses(1, MSS, true);
	ck_assert_uint_eq(b->state, BBR_STARTUP);
	up();
	t.flags &= ~(u32)TCPF_SACK;
	lose(MSS, 120 * MSS, 0); /* 0.8 % */
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	setup();
	t.flags &= ~(u32)TCPF_SACK;
	round_of(10 * MSS);
	t.recovery = TCP_RECOVERY;
	lose(MSS, 10 * MSS, 0);
	{
		struct tcp_cc_ack ack = ack_of(20 * MSS, RTT);

		ack.sample.lost = MSS;
		ack.sample.in_flight = 20 * MSS;
		take(&ack, RTT);
	}
	ck_assert_uint_eq(b->state, BBR_DRAIN);
}
END_TEST

/* 5.3.3.6: a probe that went too high makes the next one stop where it was; if nothing was lost there, another follows at once and stays. */
START_TEST(tcp_bbr_precaution)
{
	up();
	b->probe_rtt_min_ns = now_ns + 3600 * NS_PER_S;
	lose(10 * MSS, 120 * MSS, 0); /* a twelfth; of what was before it 4200 bytes are tolerated, and those over 0.98 */
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	ck_assert_uint_eq(b->inflight_longterm, 110 * MSS + 4200 * 100 / 98);
	ck_assert(b->probe_too_high);
	round_of(90 * MSS); /* CRUISE */
	b->bw_probe_wait_ms = 0;
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL);
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
	round_with(90 * MSS, b->inflight_longterm - 1);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
	round_with(90 * MSS, b->inflight_longterm);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	ck_assert(b->probe_precautionary && !b->probe_too_high);
	round_of(90 * MSS); /* what was sent in UP has arrived */
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL);
	ck_assert(!b->probe_precautionary);
	round_of(90 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
	round_with(90 * MSS, b->inflight_longterm);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_UP);
}
END_TEST

/* But not if something was lost behind it. */
START_TEST(tcp_bbr_precaution_loss)
{
	up();
	b->probe_too_high = true;
	b->inflight_longterm = 110 * MSS;
	round_with(90 * MSS, 110 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_DOWN);
	lose(10 * MSS, 110 * MSS, 0);
	ck_assert(b->probe_too_high);
	ck_assert_uint_eq(b->inflight_longterm, 100 * MSS + 4000 * 100 / 98);
	round_of(90 * MSS);
	ck_assert_uint_ne(b->state, BBR_PROBE_BW_REFILL);
}
END_TEST

static bool mark(u32 in_flight)
{
	struct tcp_cc_ack ack = ack_of(90 * MSS, RTT);

	ack.in_flight = in_flight;
	if (!tcp_cc_of(&t)->marked(&t, &ack))
		return false;
	take(&ack, RTT);
	return true;
}

/* 3.7, RFC 3168 6.1.2: a mark lowers what may be in flight to seven tenths of what was, once in a round trip. */
START_TEST(tcp_bbr_mark)
{
	struct tcp_cc_ack ack;

	cruise();
	b->cycle_ns = now_ns + 3600 * NS_PER_S;
	b->rounds_since_bw_probe = 0;
	ck_assert(mark(100 * MSS));
	ck_assert_uint_eq(b->inflight_shortterm, 70 * MSS);
	ck_assert_uint_eq(t.cwnd, 70 * MSS);
	ack = ack_of(90 * MSS, RTT);
	ack.in_flight = 90 * MSS;
	ack.sample.prior_delivered = b->mark_delivered - 1; /* sent before the answer */
	ck_assert(!tcp_cc_of(&t)->marked(&t, &ack));
	ck_assert(mark(70 * MSS));
	ck_assert_uint_eq(b->inflight_shortterm, 49 * MSS);
	ck_assert(mark(4 * MSS));
	ck_assert_uint_eq(t.cwnd, 4 * MSS); /* four segments at least */
	b->bw_probe_wait_ms = 0;
	b->cycle_ns = 0;
	round_of(4 * MSS);
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_REFILL); /* which forgets it */
	ck_assert_uint_eq(b->inflight_shortterm, BBR_INFINITE);
}
END_TEST

START_TEST(tcp_bbr_mark_probing)
{
	setup();
	round_of(40 * MSS);
	ck_assert(mark(100 * MSS)); /* Startup ends */
	ck_assert_uint_eq(b->inflight_longterm, 90 * MSS);
	ck_assert_uint_eq(b->state, BBR_DRAIN);
	tcp_cc_of(&t)->undo(&t); /* there was congestion, whatever was lost */
	ck_assert_uint_eq(b->state, BBR_DRAIN);
	up();
	ck_assert(mark(120 * MSS));
	ck_assert_uint_eq(b->state, BBR_PROBE_BW_CRUISE); /* by DOWN, which the path allows */
	ck_assert_uint_eq(b->inflight_longterm, 120 * MSS);
	ck_assert(b->probe_too_high);
	refill();
	ck_assert(mark(100 * MSS));
	ck_assert_uint_eq(b->inflight_shortterm, 70 * MSS);
	ck_assert(!b->bw_probe_samples);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, tcp_bbr_init);
	tcase_add_test(tc, tcp_bbr_startup);
	tcase_add_test(tc, tcp_bbr_startup_full);
	tcase_add_test(tc, tcp_bbr_startup_limited);
	tcase_add_test(tc, tcp_bbr_rounds);
	tcase_add_test(tc, tcp_bbr_startup_loss);
	tcase_add_test(tc, tcp_bbr_drain);
	tcase_add_test(tc, tcp_bbr_down);
	tcase_add_test(tc, tcp_bbr_probe_wait);
	tcase_add_test(tc, tcp_bbr_probe_time);
	tcase_add_test(tc, tcp_bbr_probe_rounds);
	tcase_add_test(tc, tcp_bbr_refill);
	tcase_add_test(tc, tcp_bbr_up);
	tcase_add_test(tc, tcp_bbr_up_loss);
	tcase_add_test(tc, tcp_bbr_up_loss_bound);
	tcase_add_test(tc, tcp_bbr_up_slope);
	tcase_add_test(tc, tcp_bbr_max_bw);
	tcase_add_test(tc, tcp_bbr_max_bw_limited);
	tcase_add_test(tc, tcp_bbr_short_term);
	tcase_add_test(tc, tcp_bbr_short_term_down);
	tcase_add_test(tc, tcp_bbr_short_term_startup);
	tcase_add_test(tc, tcp_bbr_short_term_probing);
	tcase_add_test(tc, tcp_bbr_probe_rtt);
	tcase_add_test(tc, tcp_bbr_probe_rtt_round);
	tcase_add_test(tc, tcp_bbr_probe_rtt_startup);
	tcase_add_test(tc, tcp_bbr_min_rtt);
	tcase_add_test(tc, tcp_bbr_idle);
	tcase_add_test(tc, tcp_bbr_undo);
	tcase_add_test(tc, tcp_bbr_recovery);
	tcase_add_test(tc, tcp_bbr_aggregation);
	tcase_add_test(tc, tcp_bbr_budget);
	tcase_add_test(tc, tcp_bbr_loss_without_sack);
	tcase_add_test(tc, tcp_bbr_precaution);
	tcase_add_test(tc, tcp_bbr_precaution_loss);
	tcase_add_test(tc, tcp_bbr_mark);
	tcase_add_test(tc, tcp_bbr_mark_probing);
}

int main(void)
{
	return check_lines_case("tcp_bbr", 0, add_tests);
}
