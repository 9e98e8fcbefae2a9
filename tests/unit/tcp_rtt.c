/* The retransmission timeout (RFC 6298), with Linux's lower bound of 200 ms on the variance term.
 */
#include "stack/tcp_rtt.h"
#include "tests/lib/check_lines.h"

static struct tcp_rtt r;

START_TEST(tcp_rtt_first_sample)
{
	tcp_rtt_init(&r);
	ck_assert_uint_eq(tcp_rtt_timeout(&r, 0), NS_PER_S); /* RFC 6298 2.1 */
	tcp_rtt_sample(&r, 300 * NS_PER_MS, 0);
	ck_assert_uint_eq(r.srtt_ns, 300 * NS_PER_MS);
	ck_assert_uint_eq(r.rttvar_ns, 150 * NS_PER_MS);
	ck_assert_uint_eq(tcp_rtt_timeout(&r, 0), 900 * NS_PER_MS); /* RFC 6298 2.2 */
	tcp_rtt_sample(&r, 300 * NS_PER_MS, 0);
	ck_assert_uint_eq(r.srtt_ns, 300 * NS_PER_MS);
	ck_assert_uint_eq(r.rttvar_ns, 150 * NS_PER_MS * 3 / 4); /* RFC 6298 2.3 */
}
END_TEST

START_TEST(tcp_rtt_bounds)
{
	tcp_rtt_init(&r);
	for (int i = 0; i < 100; i++)
		tcp_rtt_sample(&r, 50 * NS_PER_US, 0);
	ck_assert_uint_ge(tcp_rtt_timeout(&r, 0), 200 * NS_PER_MS);
	ck_assert_uint_le(tcp_rtt_timeout(&r, 0), 201 * NS_PER_MS);
	ck_assert_uint_eq(r.min_ns, 50 * NS_PER_US);
	tcp_rtt_init(&r);
	tcp_rtt_sample(&r, 1000 * NS_PER_S, 0);
	ck_assert_uint_eq(tcp_rtt_timeout(&r, 0), TCP_RTO_MAX_NS);
}
END_TEST

START_TEST(tcp_rtt_backoff)
{
	tcp_rtt_init(&r);
	ck_assert_uint_eq(tcp_rtt_timeout(&r, 1), 2 * NS_PER_S); /* RFC 6298 5.5 */
	ck_assert_uint_eq(tcp_rtt_timeout(&r, 6), 64 * NS_PER_S);
	ck_assert_uint_eq(tcp_rtt_timeout(&r, 7), TCP_RTO_MAX_NS);
	ck_assert_uint_eq(tcp_rtt_timeout(&r, 255), TCP_RTO_MAX_NS);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, tcp_rtt_first_sample);
	tcase_add_test(tc, tcp_rtt_bounds);
	tcase_add_test(tc, tcp_rtt_backoff);
}

int main(void)
{
	return check_lines_case("tcp_rtt", 0, add_tests);
}
