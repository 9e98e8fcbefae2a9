/* ICMP errors against TCP connections: rows D5, D6, D8, D9 and D11 of README.md. */
#include <string.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { UNREACH = 3, PROTO = 2, PORT = 3, FRAG_NEEDED = 4, IP = 14 };

static const struct addr peer_addr = {
	.b = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 1}, .family = FAMILY_INET};
static u8 data[20000], frame[NET_FRAME_MAX];

/* A connection with unacknowledged data in flight: bytes [*low, *high) of the host. */
static struct peer in_flight(struct stack *s, u32 *low, u32 *high)
{
	struct peer p = peer_new(s);
	struct peer_segment segment;

	peer_connect(&p);
	ck_assert(peer_alive(&p));
	ck_assert_int_gt(sock_lib_send(s, p.sk, 0, 0, data, 5000, 0), 0);
	*low = *high = p.ack;
	while (peer_next(&p, &segment))
		*high = segment.seq + segment.len;
	ck_assert_uint_gt(*high - *low, 1400);
	return p;
}

/* The longest segment of the host from here on. */
static u32 longest(struct peer *p)
{
	struct peer_segment segment;
	u32 len = 0;

	ck_assert_int_gt(sock_lib_send(p->s, p->sk, 0, 0, data, 5000, 0), 0);
	for (u32 i = 0; i < 50; i++) {
		while (peer_next(p, &segment)) {
			len = MAX(len, segment.len);
			if (segment.seq == p->ack)
				p->ack += segment.len;
		}
		peer_send(p, PEER_ACK, NULL, 0);
		engine_run(p->s, 100 * NS_PER_MS);
	}
	return len;
}

START_TEST(D5_hard_errors_out_of_window)
{
	struct stack *s = engine_new_ready(NULL);
	u32 low, high;
	struct peer p = in_flight(s, &low, &high);
	u32 wrong[] = {low - 1, low - 100000, high + 1, high + 100000, low ^ 0x80000000u, 0};

	for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
		peer_icmp(&p, UNREACH, PROTO, 0, wrong[i]);
		peer_icmp(&p, UNREACH, PORT, 0, wrong[i]);
		peer_icmp(&p, UNREACH, FRAG_NEEDED, 600, wrong[i]);
	}
	ck_assert_int_eq(sock_error(s, p.sk), 0);
	ck_assert_uint_eq(ip_pmtu_get(s, &peer_addr), 0);
	ck_assert_uint_eq(longest(&p), 1460);
	ck_assert(peer_alive(&p));
}
END_TEST

START_TEST(D6_hard_errors_in_window_are_soft)
{
	struct stack *s = engine_new_ready(NULL);
	u32 low, high;
	struct peer p = in_flight(s, &low, &high);

	for (u32 code = 0; code < 16; code++) {
		if (code != FRAG_NEEDED)
			peer_icmp(&p, UNREACH, (u8)code, 0, low);
	}
	peer_icmp(&p, 11, 0, 0, low);
	peer_icmp(&p, 12, 0, 0, low);
	ck_assert_int_eq(sock_error(s, p.sk), 0);
	longest(&p);
	ck_assert(peer_alive(&p));
}
END_TEST

START_TEST(D6_hard_errors_end_an_opening)
{
	static const struct {
		u8 code;
		int error;
	} cases[] = {{2, ENOPROTOOPT}, {3, ECONNREFUSED}, {9, ENETUNREACH}, {13, EHOSTUNREACH}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct stack *s = engine_new_ready(NULL);
		struct peer p = peer_new(s);

		peer_be_connected(&p);
		peer_icmp(&p, UNREACH, cases[i].code, 0, p.ack + 5);
		ck_assert_int_eq(sock_error(s, p.sk), 0);
		peer_icmp(&p, UNREACH, cases[i].code, 0, p.ack - 1);
		ck_assert_int_eq(sock_error(s, p.sk), cases[i].error);
		engine_free(s);
	}
}
END_TEST

START_TEST(D8_next_hop_mtus)
{
	/* What is said, and what the path is taken to carry: the floor, or never more than before.
	 */
	static const struct {
		u32 mtu, learnt;
	} cases[] = {{68, 552}, {1, 552}, {551, 552}, {552, 552}, {553, 553}, {1400, 1400},
		{1500, 0}, {1501, 0}, {9000, 0}, {65535, 0}, {0, 1006}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct stack *s = engine_new_ready(NULL);
		u32 low, high, learnt = cases[i].learnt;
		struct peer p = in_flight(s, &low, &high);

		peer_icmp(&p, UNREACH, FRAG_NEEDED, cases[i].mtu, low);
		ck_assert_uint_eq(ip_pmtu_get(s, &peer_addr), learnt);
		ck_assert_uint_le(longest(&p), (learnt ? learnt : 1500) - 40);
		ck_assert(peer_alive(&p));
		engine_free(s);
	}
}
END_TEST

START_TEST(D8_truncated_quotes)
{
	struct stack *s = engine_new_ready(NULL);
	u32 low, high;
	struct peer p = in_flight(s, &low, &high);
	struct net_ip4 quoted = {.src = NET_HOST, .dst = NET_PEER}, ip = {0};
	struct net_tcp tcp = {.sport = p.host_port, .dport = p.port, .seq = low};
	u8 quote[60];

	net_tcp(frame, &quoted, &tcp, data, 1000);
	memcpy(quote, frame + IP, sizeof(quote));
	for (u32 len = 0; len < 28; len++)
		engine_frame_in(
			s, frame, net_icmp(frame, &ip, UNREACH, FRAG_NEEDED, 600, quote, len));
	ck_assert_uint_eq(net_count(s, "icmp_quote"), 28);
	ck_assert_uint_eq(ip_pmtu_get(s, &peer_addr), 0);
	engine_frame_in(s, frame, net_icmp(frame, &ip, UNREACH, FRAG_NEEDED, 600, quote, 28));
	ck_assert_uint_eq(ip_pmtu_get(s, &peer_addr), 600);
}
END_TEST

START_TEST(D8_learnt_mtu_expires)
{
	struct stack *s = engine_new_ready(NULL);
	u32 low, high;
	struct peer p = in_flight(s, &low, &high);

	peer_icmp(&p, UNREACH, FRAG_NEEDED, 600, low);
	longest(&p);
	ck_assert_uint_eq(ip_pmtu_get(s, &peer_addr), 600);
	engine_run(s, 300 * NS_PER_S);
	ck_assert_uint_eq(ip_pmtu_get(s, &peer_addr), 600);
	engine_run(s, 301 * NS_PER_S);
	ck_assert_uint_eq(ip_pmtu_get(s, &peer_addr), 0);
}
END_TEST

START_TEST(D9_shrinking_mtu_flood)
{
	struct stack *s = engine_new_ready(NULL);
	u32 low, high;
	struct peer p = in_flight(s, &low, &high);

	for (u32 i = 0; i < 10000; i++) {
		engine_run(s, NS_PER_MS);
		peer_icmp(&p, UNREACH, FRAG_NEEDED, i % 1400 + 60, low);
		peer_skip(&p);
	}
	ck_assert_uint_ge(ip_pmtu_get(s, &peer_addr), 552);
	ck_assert_uint_le(net_count(s, "pmtu_learnt"), 100);
	ck_assert_uint_ge(longest(&p), 512 - 12);
	ck_assert(peer_alive(&p));
}
END_TEST

/* The error quotes another protocol, or ports that nobody has: nothing may change for TCP's
 * connection. */
START_TEST(D11_quotes_of_other_protocols)
{
	struct stack *s = engine_new_ready(NULL);
	u32 low, high;
	struct peer p = in_flight(s, &low, &high);
	struct net_ip4 quoted = {.src = NET_HOST, .dst = NET_PEER}, ip = {0};
	u8 quote[36];

	net_udp(frame, &quoted, p.host_port, p.port, data, 1000);
	memcpy(quote, frame + IP, sizeof(quote));
	engine_frame_in(
		s, frame, net_icmp(frame, &ip, UNREACH, FRAG_NEEDED, 600, quote, sizeof(quote)));
	net_icmp(frame, &quoted, 8, 0, (u32)p.host_port << 16, data, 1000);
	memcpy(quote, frame + IP, sizeof(quote));
	engine_frame_in(
		s, frame, net_icmp(frame, &ip, UNREACH, FRAG_NEEDED, 600, quote, sizeof(quote)));
	p.port++;
	peer_icmp(&p, UNREACH, FRAG_NEEDED, 600, low);
	p.port--;
	ck_assert_uint_eq(ip_pmtu_get(s, &peer_addr), 0);
	ck_assert_uint_eq(longest(&p), 1460);
	ck_assert(peer_alive(&p));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, D5_hard_errors_out_of_window);
	tcase_add_test(tc, D6_hard_errors_in_window_are_soft);
	tcase_add_test(tc, D6_hard_errors_end_an_opening);
	tcase_add_test(tc, D8_next_hop_mtus);
	tcase_add_test(tc, D8_truncated_quotes);
	tcase_add_test(tc, D8_learnt_mtu_expires);
	tcase_add_test(tc, D9_shrinking_mtu_flood);
	tcase_add_test(tc, D11_quotes_of_other_protocols);
}

int main(void)
{
	return check_lines_case("icmp_tcp", 0, add_tests);
}
