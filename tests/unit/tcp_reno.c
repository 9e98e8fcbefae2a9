/* NewReno's window (RFC 5681, RFC 3465): growth by bytes, halving, and what an ACK that divides or
 * leaps does. */
#include <string.h>

#include "stack/tcp.h"
#include "tests/lib/check_lines.h"

#define MSS 1000u

static struct tcp t;

static void setup(u32 cwnd, u32 ssthresh)
{
	memset(&t, 0, sizeof(t));
	t.mss = MSS;
	t.cwnd = cwnd;
	t.ssthresh = ssthresh;
	tcp_cc_of(&t)->init(&t, 0);
}

static void acked(u32 bytes)
{
	struct tcp_cc_ack ack = {
		.acked = bytes, .delivered = bytes, .in_flight = t.cwnd, .cwnd_limited = true};

	tcp_cc_of(&t)->acked(&t, &ack);
}

START_TEST(tcp_reno_initial_window)
{
	ck_assert_uint_eq(tcp_cc_initial_window(1460), 14600); /* RFC 6928 2 */
	ck_assert_uint_eq(tcp_cc_initial_window(536), 5360);
	ck_assert_uint_eq(tcp_cc_initial_window(2000), 14600);
	ck_assert_uint_eq(tcp_cc_initial_window(9000), 18000);
}
END_TEST

START_TEST(tcp_reno_slow_start)
{
	setup(10 * MSS, UINT32_MAX);
	acked(10 * MSS); /* one ACK for a whole window doubles it, as ten would */
	ck_assert_uint_eq(t.cwnd, 20 * MSS);
	for (int i = 0; i < 1000; i++)
		acked(1); /* a divided ACK gives its bytes alone */
	ck_assert_uint_eq(t.cwnd, 21 * MSS);
}
END_TEST

START_TEST(tcp_reno_avoidance)
{
	setup(10 * MSS, 10 * MSS);
	for (int i = 0; i < 9; i++)
		acked(MSS);
	ck_assert_uint_eq(t.cwnd, 10 * MSS);
	acked(MSS);
	ck_assert_uint_eq(t.cwnd, 11 * MSS); /* one segment a window */
	setup(8 * MSS, 10 * MSS);
	acked(4 * MSS); /* two in slow start, two count above the threshold */
	ck_assert_uint_eq(t.cwnd, 10 * MSS);
	ck_assert_uint_eq(t.cwnd_acked, 2 * MSS);
}
END_TEST

/* Seven segments go in a round trip by a window of seven and a half. */
START_TEST(tcp_reno_avoidance_fraction)
{
	setup(7 * MSS + MSS / 2, 2 * MSS);
	acked(7 * MSS);
	ck_assert_uint_eq(t.cwnd, 8 * MSS + MSS / 2);
	setup(MSS / 2, 0); /* the segment has grown */
	acked(MSS / 2);
	ck_assert_uint_eq(t.cwnd, MSS / 2);
	acked(MSS / 2);
	ck_assert_uint_eq(t.cwnd, MSS + MSS / 2);
}
END_TEST

START_TEST(tcp_reno_not_limited)
{
	struct tcp_cc_ack ack = {.acked = MSS, .cwnd_limited = false};

	setup(10 * MSS, UINT32_MAX);
	tcp_cc_of(&t)->acked(&t, &ack); /* an unused window does not grow */
	ck_assert_uint_eq(t.cwnd, 10 * MSS);
}
END_TEST

START_TEST(tcp_reno_loss)
{
	setup(20 * MSS, UINT32_MAX);
	ck_assert_uint_eq(tcp_cc_of(&t)->ssthresh(&t, 16 * MSS), 8 * MSS);
	ck_assert_uint_eq(tcp_cc_of(&t)->ssthresh(&t, MSS), 2 * MSS);
}
END_TEST

START_TEST(tcp_cc_names)
{
	ck_assert_int_eq(tcp_cc_by_name("reno", 4), TCP_CC_RENO);
	ck_assert_int_eq(tcp_cc_by_name("reno\0junk", 9), TCP_CC_RENO);
	ck_assert_int_eq(tcp_cc_by_name("bbr", 3), TCP_CC_BBR);
	ck_assert_int_eq(tcp_cc_by_name("ren", 3), -1);
	ck_assert_int_eq(tcp_cc_by_name("renoo", 5), -1);
	ck_assert_int_eq(tcp_cc_by_name("", 0), -1);
	ck_assert_str_eq(tcp_cc_name(TCP_CC_RENO), "reno");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, tcp_reno_initial_window);
	tcase_add_test(tc, tcp_reno_slow_start);
	tcase_add_test(tc, tcp_reno_avoidance);
	tcase_add_test(tc, tcp_reno_avoidance_fraction);
	tcase_add_test(tc, tcp_reno_not_limited);
	tcase_add_test(tc, tcp_reno_loss);
	tcase_add_test(tc, tcp_cc_names);
}

int main(void)
{
	return check_lines_case("tcp_reno", 0, add_tests);
}
