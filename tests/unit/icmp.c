/* ICMP as it should go: errors sent in the right form, errors received that reach their socket. */
#include <string.h>

#include "stack/checksum.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

enum { IP = 14, PORT = 4000, PEER_PORT = 9 };

static u8 frame[NET_FRAME_MAX], out[NET_FRAME_MAX], data[3000];

START_TEST(icmp_unreachable_quotes_and_sums)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {.tos = 0x10, .id = 99};
	u32 len = net_udp(frame, &ip, 1000, PEER_PORT, data, 1400), out_len, got;
	const u8 *error;

	engine_frame_in(s, frame, len);
	out_len = engine_frame_out(s, out, NULL);
	ck_assert_uint_eq(out_len, 14 + 576);
	error = net_payload(out, out_len, PROTO_ICMP, &got);
	ck_assert_ptr_nonnull(error);
	ck_assert_uint_eq(error[0], 3);
	ck_assert_uint_eq(error[1], 3);
	ck_assert_uint_eq(get32(error + 4), 0);
	ck_assert_uint_eq(checksum_finish(checksum_add(0, error, got)), 0);
	ck_assert_mem_eq(error + 8, frame + IP, got - 8); /* RFC 1122 3.2.2: unchanged */
	ck_assert_uint_eq(out[IP + 1], 0xc0);
	ck_assert_uint_eq(get32(out + IP + 12), NET_HOST);
	ck_assert_uint_eq(get32(out + IP + 16), NET_PEER);
}
END_TEST

static ref connected(struct stack *s)
{
	struct endpoint local = {.addr = addr_v4(NET_HOST), .port = PORT},
			peer = {.addr = addr_v4(NET_PEER), .port = PEER_PORT};
	int error;
	ref sk = sock_open(s, FAMILY_INET, 2, 0, &error);

	ck_assert_uint_ne(sk, 0);
	ck_assert_int_eq(sock_bind(s, sk, &local), 0);
	ck_assert_int_eq(sock_connect(s, sk, &peer), 0);
	return sk;
}

/* An ICMP error about a datagram of that socket. */
static void report(struct stack *s, u8 type, u8 code, u32 rest)
{
	struct net_ip4 quoted = {.src = NET_HOST, .dst = NET_PEER}, ip = {.src = 0x08080808};
	u32 len = net_udp(frame, &quoted, PORT, PEER_PORT, data, 20) - IP;

	memcpy(data, frame + IP, len);
	engine_frame_in(s, frame, net_icmp(frame, &ip, type, code, rest, data, len));
}

/* As Linux: hard errors only, for a socket without IP_RECVERR. */
START_TEST(icmp_errors_reach_the_connected_socket)
{
	static const struct {
		u8 type, code;
		int error;
	} cases[] = {{3, 0, 0}, {3, 1, 0}, {3, 2, ENOPROTOOPT}, {3, 3, ECONNREFUSED}, {3, 5, 0},
		{3, 6, ENETUNREACH}, {3, 7, EHOSTDOWN}, {3, 8, ENONET}, {3, 9, ENETUNREACH},
		{3, 10, EHOSTUNREACH}, {3, 11, 0}, {3, 12, 0}, {3, 13, EHOSTUNREACH}, {11, 0, 0},
		{11, 1, 0}, {12, 0, EPROTO}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct stack *s = engine_new_ready(NULL);
		ref sk = connected(s);

		report(s, cases[i].type, cases[i].code, 0);
		ck_assert_msg(sock_error(s, sk) == cases[i].error, "type %u code %u", cases[i].type,
			cases[i].code);
		engine_free(s);
	}
}
END_TEST

START_TEST(icmp_port_unreachable_over_loopback)
{
	struct stack *s = engine_new_ready(NULL);
	struct endpoint peer = {.addr = addr_v4(0x7f000001), .port = PEER_PORT};
	int error;
	ref sk = sock_open(s, FAMILY_INET, 2, 0, &error);

	ck_assert_int_eq(sock_connect(s, sk, &peer), 0);
	/* More often than any limit for the wire: errors to ourselves are not limited. */
	for (u32 i = 0; i < 100; i++) {
		struct plan plan = {0};

		ck_assert_int_ge(sock_send_reserve(s, sk, &plan, 1), 0);
		ck_assert_int_eq(sock_send_commit(s, &plan, 1), 1);
		stack_run_loopback(s);
		ck_assert_int_eq(sock_error(s, sk), ECONNREFUSED);
	}
}
END_TEST

START_TEST(icmp_frag_needed_lowers_the_path_mtu_of_a_live_socket)
{
	struct stack *s = engine_new_ready(NULL);
	struct addr peer = addr_v4(NET_PEER);

	report(s, 3, 4, 1200);
	ck_assert_uint_eq(ip_pmtu_get(s, &peer), 0);
	connected(s);
	report(s, 3, 4, 1200);
	ck_assert_uint_eq(ip_pmtu_get(s, &peer), 1200);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, icmp_unreachable_quotes_and_sums);
	tcase_add_test(tc, icmp_errors_reach_the_connected_socket);
	tcase_add_test(tc, icmp_port_unreachable_over_loopback);
	tcase_add_test(tc, icmp_frag_needed_lowers_the_path_mtu_of_a_live_socket);
}

int main(void)
{
	return check_lines_case("icmp", 0, add_tests);
}
