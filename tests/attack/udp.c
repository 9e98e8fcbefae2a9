/* Attack rows F1 and F2 (F2's ports are in tests/unit/port.c): hostile UDP. */
#include <check.h>
#include <string.h>

#include "stack/linux.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

static struct stack *s;
static ref sk;
static u8 frame[NET_FRAME_MAX], buf[4096];
static u32 frame_len;

enum { UDP_AT = 34, LENGTH_AT = UDP_AT + 4, CHECKSUM_AT = UDP_AT + 6 };

static void setup(void)
{
	s = engine_new_ready(NULL);
	sk = sock_lib_open(s, LX_SOCK_DGRAM);
	ck_assert_int_eq(sock_lib_bind(s, sk, 0, 5000), 0);
	frame_len = net_udp(frame, &(struct net_ip4){0}, 9, 5000, "0123456789", 10);
}

static void teardown(void)
{
	engine_free(s);
}

/* Nothing is delivered, nothing answered, and exactly the one counter goes up by one. */
static void dropped(const char *counter)
{
	u64 before = net_count(s, counter);

	ck_assert(engine_frame_in(s, frame, frame_len));
	ck_assert_uint_eq(net_count(s, counter), before + 1);
	ck_assert_int_eq(sock_lib_recv(s, sk, buf, sizeof(buf), 0, NULL), -EAGAIN);
	ck_assert_uint_eq(engine_frames_drop(s), 0);
	ck_assert_uint_eq(sock_get(s, sk)->rx_charged, 0);
}

START_TEST(F1_length_below_header)
{
	for (u32 len = 0; len < 8; len++) {
		put16(frame + LENGTH_AT, len);
		put16(frame + CHECKSUM_AT, 0);
		dropped("udp_malformed");
	}
}
END_TEST

START_TEST(F1_length_beyond_packet)
{
	static const u32 lengths[] = {19, 20, 100, 0x7fff, 0x8000, 0xffff};

	for (u32 i = 0; i < ARRAY_LEN(lengths); i++) {
		put16(frame + LENGTH_AT, lengths[i]);
		put16(frame + CHECKSUM_AT, 0);
		dropped("udp_malformed");
	}
}
END_TEST

START_TEST(F1_trailing_bytes_not_delivered)
{
	put16(frame + LENGTH_AT, 12);
	put16(frame + CHECKSUM_AT, 0);
	ck_assert(engine_frame_in(s, frame, frame_len));
	ck_assert_int_eq(sock_lib_recv(s, sk, buf, sizeof(buf), 0, NULL), 4);
	ck_assert_mem_eq(buf, "0123", 4);
}
END_TEST

START_TEST(F1_header_cut_short)
{
	for (u32 n = 0; n < 8; n++) {
		frame_len = net_ip4(
			frame, &(struct net_ip4){.proto = PROTO_UDP}, "\0\x09\x13\x88\0\x08\0", n);
		dropped("udp_malformed");
	}
}
END_TEST

START_TEST(F1_bad_checksum)
{
	for (u32 bit = 0; bit < 16; bit++) {
		frame_len = net_udp(frame, &(struct net_ip4){0}, 9, 5000, "0123456789", 10);
		frame[CHECKSUM_AT + bit / 8] ^= (u8)(1 << bit % 8);
		dropped("udp_csum");
	}
	frame_len = net_udp(frame, &(struct net_ip4){0}, 9, 5000, "0123456789", 10);
	frame[frame_len - 1] ^= 1;
	dropped("udp_csum");
}
END_TEST

/* Over IPv4 a checksum of 0 means that there is none (RFC 768). */
START_TEST(F1_checksum_absent)
{
	put16(frame + CHECKSUM_AT, 0);
	ck_assert(engine_frame_in(s, frame, frame_len));
	ck_assert_int_eq(sock_lib_recv(s, sk, buf, sizeof(buf), 0, NULL), 10);
}
END_TEST

START_TEST(F1_port_zero)
{
	/* As destination nobody's; as source it means "none", which cannot be answered. */
	frame_len = net_udp(frame, &(struct net_ip4){0}, 9, 0, "x", 1);
	dropped("udp_malformed");
	frame_len = net_udp(frame, &(struct net_ip4){0}, 0, 5000, "x", 1);
	ck_assert(engine_frame_in(s, frame, frame_len));
	ck_assert_int_eq(sock_lib_recv(s, sk, buf, sizeof(buf), 0, NULL), 1);
	ck_assert_int_eq(sock_lib_send(s, sk, NET_PEER, 0, "x", 1, 0), -EINVAL);
}
END_TEST

/* Broadcast and groups to a closed port are never answered (RFC 1122 3.2.2). */
START_TEST(F1_broadcast_to_closed_port)
{
	frame_len = net_udp(frame, &(struct net_ip4){.dst = 0x0a0000ff, .eth_dst = net_everybody},
		9, 77, "x", 1);
	ck_assert(engine_frame_in(s, frame, frame_len));
	ck_assert_uint_eq(engine_frames_drop(s), 0);
}
END_TEST

/* A flood to one socket that is never read takes no more than its buffer, and others still get
 * theirs. */
START_TEST(F1_flood_is_bounded)
{
	ref other = sock_lib_open(s, LX_SOCK_DGRAM);

	ck_assert_int_eq(sock_lib_bind(s, other, 0, 5001), 0);
	for (u32 i = 0; i < 100000; i++)
		ck_assert(engine_frame_in(s, frame, frame_len));
	ck_assert_uint_le(sock_get(s, sk)->rx_charged, 212992 + 70000);
	frame_len = net_udp(frame, &(struct net_ip4){0}, 9, 5001, "x", 1);
	ck_assert(engine_frame_in(s, frame, frame_len));
	ck_assert_int_eq(sock_lib_recv(s, other, buf, sizeof(buf), 0, NULL), 1);
	sock_close(s, sk);
	sock_close(s, other);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_SMALL), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_LARGE), 0);
}
END_TEST

/* Forged ICMP errors that name no live socket change nothing. */
START_TEST(F1_icmp_about_nobody)
{
	u8 quoted[NET_FRAME_MAX];
	u32 n = net_udp(
		quoted, &(struct net_ip4){.src = NET_HOST, .dst = NET_PEER}, 4444, 9, "x", 1);
	struct addr peer = addr_v4(NET_PEER);

	frame_len = net_icmp(frame, &(struct net_ip4){0}, 3, 4, 600, quoted + 14, n - 14);
	dropped("icmp_quote");
	ck_assert_uint_eq(ip_pmtu_get(s, &peer), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, F1_length_below_header);
	tcase_add_test(tc, F1_length_beyond_packet);
	tcase_add_test(tc, F1_trailing_bytes_not_delivered);
	tcase_add_test(tc, F1_header_cut_short);
	tcase_add_test(tc, F1_bad_checksum);
	tcase_add_test(tc, F1_checksum_absent);
	tcase_add_test(tc, F1_port_zero);
	tcase_add_test(tc, F1_broadcast_to_closed_port);
	tcase_add_test(tc, F1_flood_is_bounded);
	tcase_add_test(tc, F1_icmp_about_nobody);
}

int main(void)
{
	return check_lines_case("attack-udp", 0, add_tests);
}
