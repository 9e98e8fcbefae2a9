/* CUBIC's window against RFC 9438's formulas, computed here in floating point. */
#include <math.h>
#include <string.h>

#include "stack/tcp.h"
#include "tests/lib/check_lines.h"

#define MSS   1000u
#define START (1000 * NS_PER_S)

static struct tcp t;
static u64 now_ns;

static void setup(u32 cwnd, u64 rtt_ns)
{
	memset(&t, 0, sizeof(t));
	t.mss = MSS;
	t.cwnd = cwnd;
	t.ssthresh = UINT32_MAX;
	t.cc = TCP_CC_CUBIC;
	t.rtt.srtt_ns = rtt_ns;
	tcp_cc_of(&t)->init(&t, START);
	now_ns = START;
}

static void acked(u32 bytes, bool limited)
{
	struct tcp_cc_ack ack = {.now_ns = now_ns,
		.acked = bytes,
		.delivered = bytes,
		.in_flight = t.cwnd,
		.cwnd_limited = limited};

	tcp_cc_of(&t)->acked(&t, &ack);
}

static void lose(void)
{
	t.cwnd = t.ssthresh = tcp_cc_of(&t)->ssthresh(&t, t.cwnd);
	tcp_cc_of(&t)->recovered(&t);
}

/* One window acknowledged in every round-trip time, segment by segment, for a while. */
static void run(u64 duration_ns)
{
	u64 end = now_ns + duration_ns;

	while (now_ns < end) {
		u32 segments = MAX(t.cwnd / MSS, 1u);

		for (u32 i = 0; i < segments; i++) {
			now_ns += t.rtt.srtt_ns / segments;
			acked(MSS, true);
		}
	}
}

/* W_cubic in bytes after t seconds, from a loss at w_max bytes (4.2). */
static double cubic(double w_max, double after_s)
{
	double max = w_max / MSS, k = cbrt((max - max * 0.7) / 0.4);

	return (0.4 * pow(after_s - k, 3) + max) * MSS;
}

static void near(double got, double want, double share)
{
	ck_assert_msg(fabs(got - want) <= want * share, "window %.0f, not %.0f", got, want);
}

START_TEST(tcp_cubic_decrease)
{
	setup(100 * MSS, 100 * NS_PER_MS);
	ck_assert_uint_eq(tcp_cc_of(&t)->ssthresh(&t, 100 * MSS), 70 * MSS);
	ck_assert_uint_eq(tcp_cc_of(&t)->ssthresh(&t, MSS), 2 * MSS);
}
END_TEST

START_TEST(tcp_cubic_slow_start)
{
	setup(10 * MSS, 100 * NS_PER_MS);
	acked(10 * MSS, true);
	ck_assert_uint_eq(t.cwnd, 20 * MSS);
	acked(10 * MSS, false);
	ck_assert_uint_eq(t.cwnd, 20 * MSS);
}
END_TEST

/* Concave up to the window of the loss, flat there, convex beyond. */
START_TEST(tcp_cubic_curve)
{
	setup(1000 * MSS, 100 * NS_PER_MS);
	lose();
	ck_assert_uint_eq(t.cwnd, 700 * MSS);
	run(3 * NS_PER_S);
	near(t.cwnd, cubic(1000 * MSS, 3), 0.02);
	run(6 * NS_PER_S); /* K is 9.1 s */
	near(t.cwnd, 1000 * MSS, 0.02);
	run(3 * NS_PER_S);
	near(t.cwnd, cubic(1000 * MSS, 12), 0.03);
	run(4 * NS_PER_S);
	near(t.cwnd, cubic(1000 * MSS, 16), 0.04);
}
END_TEST

/* With a short round-trip time NewReno's estimate is ahead: alpha segments a window until the old
 * one, then one. */
START_TEST(tcp_cubic_reno_friendly)
{
	double rounds;

	setup(20 * MSS, 2 * NS_PER_MS);
	lose();
	rounds = (20 - 14) / (9.0 / 17);
	run((u64)(rounds * 2 * NS_PER_MS));
	near(t.cwnd, 20 * MSS, 0.06);
	run(20 * NS_PER_MS);
	near(t.cwnd, 30 * MSS, 0.08);
}
END_TEST

START_TEST(tcp_cubic_fast_convergence)
{
	setup(1000 * MSS, 100 * NS_PER_MS);
	lose();
	lose(); /* again below the last maximum: room is made for others (4.7) */
	ck_assert_uint_eq(t.cwnd, 490 * MSS);
	run(20 * NS_PER_S);
	setup(1000 * MSS, 100 * NS_PER_MS);
	lose();
	lose();
	acked(MSS, true);
	run(900 * NS_PER_MS);
	near(t.cwnd, 0.4 * pow(0.9 - cbrt((595 - 490) / 0.4), 3) * MSS + 595 * MSS, 0.02);
}
END_TEST

/* Time in which the program does not use the window is not counted (5.8). */
START_TEST(tcp_cubic_idle)
{
	u32 before;

	setup(1000 * MSS, 100 * NS_PER_MS);
	lose();
	run(3 * NS_PER_S);
	before = t.cwnd;
	acked(MSS, false);
	now_ns += 60 * NS_PER_S;
	acked(MSS, true);
	near(t.cwnd, before, 0.01);
	run(1 * NS_PER_S);
	near(t.cwnd, cubic(1000 * MSS, 4), 0.02);
}
END_TEST

/* The steepest growth is half a window in a round-trip time (4.5), and large windows do not
 * overflow. */
START_TEST(tcp_cubic_bounds)
{
	u32 before;

	setup(10 * MSS, 500 * NS_PER_MS);
	lose();
	run(1 * NS_PER_S);
	before = t.cwnd;
	now_ns += 1000 * NS_PER_S;
	acked(before, true);
	ck_assert_uint_le(t.cwnd, before + before / 2 + MSS);
	setup(1u << 30, 100 * NS_PER_MS);
	lose();
	for (int i = 0; i < 1000; i++) {
		now_ns += NS_PER_MS;
		acked(1u << 20, true);
	}
	ck_assert_uint_ge(t.cwnd, (u32)(0.69 * (1u << 30)));
	ck_assert_uint_le(t.cwnd, 1u << 30);
}
END_TEST

START_TEST(tcp_cubic_timeout)
{
	setup(100 * MSS, 100 * NS_PER_MS);
	t.ssthresh = tcp_cc_of(&t)->ssthresh(&t, 100 * MSS);
	tcp_cc_of(&t)->timeout(&t);
	t.cwnd = MSS;
	run(700 * NS_PER_MS); /* slow start to 70 segments */
	near(t.cwnd, 70 * MSS, 0.1);
	run(1 * NS_PER_S);
	ck_assert_uint_ge(t.cwnd, 70 * MSS);
	ck_assert_uint_le(t.cwnd, 80 * MSS);
}
END_TEST

/* 4.9: what was no loss leaves the curve as it was, fast convergence and all. */
START_TEST(tcp_cubic_undo)
{
	u32 cwnd, ssthresh;

	setup(1000 * MSS, 100 * NS_PER_MS);
	lose();
	run(3 * NS_PER_S);
	cwnd = t.cwnd;
	ssthresh = t.ssthresh;
	lose();
	run(200 * NS_PER_MS);
	t.cwnd = cwnd;
	t.ssthresh = ssthresh;
	tcp_cc_of(&t)->undo(&t);
	run(2800 * NS_PER_MS);
	near(t.cwnd, cubic(1000 * MSS, 6), 0.02);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, tcp_cubic_decrease);
	tcase_add_test(tc, tcp_cubic_slow_start);
	tcase_add_test(tc, tcp_cubic_curve);
	tcase_add_test(tc, tcp_cubic_reno_friendly);
	tcase_add_test(tc, tcp_cubic_fast_convergence);
	tcase_add_test(tc, tcp_cubic_idle);
	tcase_add_test(tc, tcp_cubic_bounds);
	tcase_add_test(tc, tcp_cubic_timeout);
	tcase_add_test(tc, tcp_cubic_undo);
}

int main(void)
{
	return check_lines_case("tcp_cubic", 0, add_tests);
}
