/* HyStart++ (RFC 9406): what makes a round conservative, what ends that, and how much the window grows. */
#include <string.h>

#include "stack/tcp.h"
#include "tests/lib/check_lines.h"

#define MSS 1000u

static struct tcp t;

static void setup(void)
{
	memset(&t, 0, sizeof(t));
	t.mss = MSS;
	t.cwnd = 10 * MSS;
	t.ssthresh = UINT32_MAX;
	t.snd_una = t.snd_nxt = UINT32_MAX - 20 * MSS; /* the numbers wrap on the way */
	tcp_hystart_init(&t);
}

static void acked(u32 bytes, u32 rtt_us)
{
	struct tcp_cc_ack ack = {
		.acked = bytes, .cwnd_limited = true, .sample = {.timed = rtt_us != 0, .rtt_us = rtt_us}};

	t.snd_una += bytes;
	tcp_slow_start(&t, &ack);
}

/* A round of n segments, acknowledged one by one with this round trip. */
static void round_of(u32 n, u32 rtt_us)
{
	t.snd_nxt = t.snd_una + n * MSS;
	t.hystart.window_end = t.snd_nxt;
	for (u32 i = 0; i < n; i++)
		acked(MSS, rtt_us);
}

START_TEST(tcp_hystart_steady)
{
	setup();
	for (int i = 0; i < 6; i++)
		round_of(10, 100000);
	ck_assert_uint_eq(t.cwnd, 70 * MSS);
	ck_assert(!t.hystart.css);
}
END_TEST

/* 4.2: at least an eighth more, but 4 ms at least and 16 ms are enough. */
START_TEST(tcp_hystart_threshold)
{
	static const u32 cases[][3] = {{100000, 112499, 0}, {100000, 112500, 1}, {8000, 11999, 0}, {8000, 12000, 1}, {400000, 415999, 0},
		{400000, 416000, 1}, {100, 4099, 0}, {100, 4100, 1}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		setup();
		round_of(10, cases[i][0]);
		round_of(10, cases[i][1]);
		ck_assert_msg(t.hystart.css == cases[i][2], "%u after %u us", cases[i][1], cases[i][0]);
	}
}
END_TEST

/* N_RTT_SAMPLE: seven samples of a round say nothing. */
START_TEST(tcp_hystart_samples)
{
	setup();
	round_of(10, 100000);
	round_of(7, 200000);
	ck_assert(!t.hystart.css);
	setup();
	round_of(10, 100000);
	t.snd_nxt = t.snd_una + 20 * MSS;
	t.hystart.window_end = t.snd_nxt;
	for (int i = 0; i < 10; i++)
		acked(MSS, 0); /* retransmissions are not timed */
	for (int i = 0; i < 7; i++)
		acked(MSS, 200000);
	ck_assert(!t.hystart.css);
	acked(MSS, 200000);
	ck_assert(t.hystart.css);
}
END_TEST

/* The least of the round counts. */
START_TEST(tcp_hystart_least)
{
	setup();
	round_of(10, 100000);
	t.snd_nxt = t.snd_una + 10 * MSS;
	t.hystart.window_end = t.snd_nxt;
	acked(MSS, 101000);
	for (int i = 0; i < 9; i++)
		acked(MSS, 200000);
	ck_assert(!t.hystart.css);
}
END_TEST

/* CSS_GROWTH_DIVISOR and CSS_ROUNDS: a quarter for five rounds, then congestion avoidance. */
START_TEST(tcp_hystart_conservative)
{
	u32 before;

	setup();
	round_of(10, 100000);
	round_of(10, 200000);
	before = t.cwnd;
	ck_assert(t.hystart.css);
	ck_assert_uint_eq(t.hystart.rounds, 1); /* the part of the round counts */
	for (int i = 0; i < 3; i++)
		round_of(8, 200000);
	ck_assert_uint_eq(t.cwnd, before + 3 * 2 * MSS);
	ck_assert_uint_eq(t.ssthresh, UINT32_MAX);
	round_of(8, 200000);
	ck_assert_uint_eq(t.ssthresh, t.cwnd);
	ck_assert_uint_eq(t.cwnd, before + 4 * 2 * MSS);
}
END_TEST

/* 4.2: the round trip is back below that of the first conservative round: it was a false alarm. */
START_TEST(tcp_hystart_resumes)
{
	u32 before;

	setup();
	round_of(10, 100000);
	round_of(10, 200000);
	ck_assert(t.hystart.css);
	round_of(8, 199999);
	ck_assert(!t.hystart.css);
	before = t.cwnd;
	round_of(10, 199999);
	ck_assert_uint_eq(t.cwnd, before + 10 * MSS);
	round_of(10, 300000); /* and may become true later */
	ck_assert(t.hystart.css);
}
END_TEST

/* 4.3: only the first slow start; after a loss it is plain. */
START_TEST(tcp_hystart_first_only)
{
	setup();
	t.ssthresh = 100 * MSS;
	for (int i = 1; i <= 5; i++)
		round_of(10, 100000 * (u32)i);
	ck_assert(!t.hystart.css);
	ck_assert_uint_eq(t.cwnd, 60 * MSS);
}
END_TEST

/* What is above ssthresh is left for congestion avoidance; a window at ssthresh does not grow here. */
START_TEST(tcp_hystart_left)
{
	struct tcp_cc_ack ack = {.acked = 4 * MSS};

	setup();
	t.ssthresh = 12 * MSS;
	ck_assert_uint_eq(tcp_slow_start(&t, &ack), 2 * MSS);
	ck_assert_uint_eq(t.cwnd, 12 * MSS);
	ck_assert_uint_eq(tcp_slow_start(&t, &ack), 4 * MSS);
	ck_assert_uint_eq(t.cwnd, 12 * MSS);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, tcp_hystart_steady);
	tcase_add_test(tc, tcp_hystart_threshold);
	tcase_add_test(tc, tcp_hystart_samples);
	tcase_add_test(tc, tcp_hystart_least);
	tcase_add_test(tc, tcp_hystart_conservative);
	tcase_add_test(tc, tcp_hystart_resumes);
	tcase_add_test(tc, tcp_hystart_first_only);
	tcase_add_test(tc, tcp_hystart_left);
}

int main(void)
{
	return check_lines_case("tcp_hystart", 0, add_tests);
}
