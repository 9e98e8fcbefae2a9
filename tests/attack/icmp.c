/* Hostile ICMP: rows D1 to D4, D7, D10 of README.md; those that need a TCP connection are in
 * icmp_tcp.c. */
#include <string.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

enum { IP = 14 };

static u8 frame[NET_FRAME_MAX], out[NET_FRAME_MAX], data[66000];

static void fill(void)
{
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 7 + i / 256);
}

START_TEST(D1_short_messages)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {.proto = PROTO_ICMP};

	for (u32 type = 0; type < 20; type++) {
		for (u32 len = 0; len < 8; len++) {
			data[0] = (u8)type;
			ck_assert_dropped(s, frame, net_ip4(frame, &ip, data, len), "icmp_short");
		}
	}
}
END_TEST

START_TEST(D1_bad_checksum)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {0};

	for (u32 bit = 0; bit < 60 * 8; bit++) {
		u32 len = net_icmp(frame, &ip, 8, 0, 1, data, 52);

		frame[IP + 20 + bit / 8] ^= (u8)(1 << bit % 8);
		ck_assert_dropped(s, frame, len, "icmp_csum");
	}
}
END_TEST

/* Every size comes back as it was, to the largest datagram there is; in fragments both ways beyond
 * the MTU. */
START_TEST(D1_echo_of_every_size)
{
	struct stack *s = engine_new_ready(NULL), *peer;
	struct stack_config c = net_config();
	static const u32 sizes[] = {
		0, 1, 2, 3, 55, 1471, 1472, 1473, 1480, 9000, 65000, 65506, 65507};

	fill();
	memcpy(c.mac, net_peer_mac, 6);
	c.addr = addr_v4(NET_PEER);
	peer = engine_new(&c);
	for (u32 i = 0; i < ARRAY_LEN(sizes); i++) {
		struct net_ip4 ip = {0};
		u64 ok = net_count(peer, "icmp_echo_reply_in"), bad = net_count(peer, "icmp_csum");
		u32 len;

		engine_frame_in(s, frame, net_icmp(frame, &ip, 8, 0, 0x12345678, data, sizes[i]));
		while ((len = engine_frame_out(s, out, NULL))) {
			ck_assert_uint_le(len, 1514);
			engine_frame_in(peer, out, len);
		}
		ck_assert_uint_eq(net_count(peer, "icmp_echo_reply_in"), ok + 1);
		ck_assert_uint_eq(net_count(peer, "icmp_csum"), bad);
	}
}
END_TEST

START_TEST(D1_echo_is_an_exact_copy)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {.tos = 0x28, .id = 7};
	u32 len = net_icmp(frame, &ip, 8, 0, 0x12345678, data, 1001), got;
	const u8 *reply;

	engine_frame_in(s, frame, len);
	ck_assert_uint_eq(engine_frame_out(s, out, NULL), len);
	reply = net_payload(out, len, PROTO_ICMP, &got);
	ck_assert_uint_eq(got, 1009);
	ck_assert_uint_eq(reply[0], 0);
	ck_assert_uint_eq(reply[1], 0);
	ck_assert_mem_eq(reply + 4, frame + IP + 24, 1005);
	ck_assert_uint_eq(out[IP + 1], 0x28);
	ck_assert_uint_eq(get32(out + IP + 12), NET_HOST);
	ck_assert_uint_eq(get32(out + IP + 16), NET_PEER);
}
END_TEST

START_TEST(D2_echo_to_everybody)
{
	struct stack *s = engine_new_ready(NULL);
	static const u32 groups[] = {0xffffffff, 0x0a0000ff, 0xe0000001};

	for (u32 i = 0; i < ARRAY_LEN(groups); i++) {
		struct net_ip4 ip = {.dst = groups[i], .eth_dst = net_everybody};

		ck_assert_dropped(
			s, frame, net_icmp(frame, &ip, 8, 0, 1, data, 10), "icmp_broadcast");
	}
	s->tunables.icmp_echo_ignore_broadcasts = 0;
	engine_frame_in(s, frame,
		net_icmp(frame, &(struct net_ip4){.dst = 0x0a0000ff, .eth_dst = net_everybody}, 8,
			0, 1, data, 10));
	ck_assert_uint_gt(engine_frame_out(s, out, NULL), 0);
	ck_assert_uint_eq(get32(out + IP + 12), NET_HOST);
	s->tunables.icmp_echo_ignore_all = 1;
	ck_assert_dropped(s, frame, net_icmp(frame, &(struct net_ip4){0}, 8, 0, 1, data, 10),
		"icmp_echo_ignored");
}
END_TEST

/* Feeds what would deserve an error, and tells whether one was sent. */
static bool provokes(struct stack *s, u32 len)
{
	engine_run(s, 10 * NS_PER_S);
	engine_frames_drop(s);
	engine_frame_in(s, frame, len);
	return engine_frames_drop(s) > 0;
}

START_TEST(D3_no_error_about)
{
	struct stack *s = engine_new_ready(NULL);
	static const u8 query_types[] = {8, 0, 13, 14};
	struct net_ip4 udp = {0}, unknown = {.proto = 200};
	static const u8 bad_option[] = {7, 0, 0, 0};
	struct net_ip4 options = {.options = bad_option, .options_len = 4};

	ck_assert(provokes(s, net_udp(frame, &udp, 1000, 9, "x", 1)));
	ck_assert(provokes(s, net_ip4(frame, &unknown, data, 20)));
	/* Broadcast and multicast, of either layer. */
	udp.dst = 0xffffffff;
	ck_assert(!provokes(s, net_udp(frame, &udp, 1000, 9, "x", 1)));
	udp.dst = 0x0a0000ff;
	ck_assert(!provokes(s, net_udp(frame, &udp, 1000, 9, "x", 1)));
	udp.dst = 0xe0000001;
	ck_assert(!provokes(s, net_udp(frame, &udp, 1000, 9, "x", 1)));
	unknown.dst = 0x0a0000ff;
	ck_assert(!provokes(s, net_ip4(frame, &unknown, data, 20)));
	/* Errors, and types that nobody knows: with a malformed option, which any other packet is
	 * answered for. */
	for (u32 type = 0; type < 256; type++) {
		bool query = memchr(query_types, (int)type, sizeof(query_types)) != NULL;

		ck_assert_uint_eq(
			provokes(s, net_icmp(frame, &options, (u8)type, 0, 0, data, 28)), query);
	}
	/* A fragment that is not the first: its option is as bad. */
	options.fragment = 100;
	ck_assert(!provokes(s, net_udp(frame, &options, 1000, 9, "x", 1)));
	options.fragment = 0x2000;
	ck_assert(provokes(s, net_udp(frame, &options, 1000, 9, "x", 1)));
}
END_TEST

START_TEST(D4_limit_per_destination)
{
	struct stack *s = engine_new_ready(NULL);
	u64 sent;

	for (u32 i = 0; i < 100000; i++) {
		stack_clock(s, s->now_ns + 10 * NS_PER_US);
		engine_frame_in(s, frame,
			net_udp(frame, &(struct net_ip4){0}, 1000, (u16)(i % 60000 + 1), "x", 1));
		engine_frames_drop(s);
	}
	sent = net_count(s, "icmp_unreach_out");
	ck_assert_uint_ge(sent, 4);
	ck_assert_uint_le(sent, 14);
	/* Another destination is not concerned. */
	for (u32 i = 0; i < 3; i++)
		engine_frame_in(s, frame,
			net_udp(frame, &(struct net_ip4){.src = NET_PEER + 20}, 1000, 9, "x", 1));
	ck_assert_uint_eq(net_count(s, "icmp_unreach_out"), sent + 3);
}
END_TEST

/* How many errors a burst of requests gets differs from burst to burst: it cannot be counted on. */
START_TEST(D4_budget_is_random)
{
	struct stack *s = engine_new_ready(NULL);
	u32 seen = 0, kinds = 0;

	for (u32 burst = 0; burst < 100; burst++) {
		u64 before = net_count(s, "icmp_unreach_out");

		engine_run(s, 60 * NS_PER_S);
		for (u32 i = 0; i < 50; i++) {
			engine_frame_in(
				s, frame, net_udp(frame, &(struct net_ip4){0}, 1000, 9, "x", 1));
			engine_frames_drop(s);
		}
		seen |= 1u << (net_count(s, "icmp_unreach_out") - before);
	}
	for (; seen; seen &= seen - 1)
		kinds++;
	ck_assert_uint_ge(kinds, 3);
}
END_TEST

START_TEST(D7_types_without_effect)
{
	struct stack *s = engine_new_ready(NULL);
	struct stack_route routes[STACK_ROUTES];

	memcpy(routes, s->route, sizeof(routes));
	for (u32 type = 0; type < 256; type++) {
		for (u32 code = 0; code < 4; code++) {
			u32 len = net_icmp(frame, &(struct net_ip4){0}, (u8)type, (u8)code,
				0x0a0000fe, data, 40);

			if (type != 0 && type != 3 && type != 8 && type != 11 && type != 12)
				ck_assert_dropped(s, frame, len, "icmp_type");
		}
	}
	ck_assert_mem_eq(routes, s->route, sizeof(routes));
	ck_assert_uint_eq(s->pmtu_count, 0);
}
END_TEST

/* A quoted datagram of ours to the peer's port 9, in data[]: its length. */
static u32 quote(u32 words, u32 total)
{
	struct net_ip4 ip = {.src = NET_HOST, .dst = NET_PEER};
	u32 len = net_udp(frame, &ip, 5000, 9, data, 8) - IP;

	memcpy(data, frame + IP, len);
	data[0] = (u8)(0x40 | words);
	put16(data + 2, total);
	return len;
}

START_TEST(D10_quotes)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {0};
	static const u8 types[] = {3, 11, 12};
	u32 len;

	for (u32 t = 0; t < ARRAY_LEN(types); t++) {
		/* Every length that is too short, and headers that say more than is there. */
		for (u32 n = 0; n < 28; n++) {
			quote(5, 36);
			ck_assert_dropped(s, frame, net_icmp(frame, &ip, types[t], 1, 0, data, n),
				"icmp_quote");
		}
		for (u32 words = 0; words < 16; words++) {
			len = quote(words, 36);
			if (words != 5 && words != 6 && words != 7)
				ck_assert_dropped(s, frame,
					net_icmp(frame, &ip, types[t], 0, 0, data, len),
					"icmp_quote");
		}
		for (u32 total = 0; total < 28; total++) {
			len = quote(5, total);
			ck_assert_dropped(s, frame, net_icmp(frame, &ip, types[t], 0, 0, data, len),
				"icmp_quote");
		}
		len = quote(5, 36);
		data[0] = 0x65;
		ck_assert_dropped(
			s, frame, net_icmp(frame, &ip, types[t], 0, 0, data, len), "icmp_quote");
		/* A fragment that is not the first; a packet that we cannot have sent. */
		len = quote(5, 36);
		put16(data + 6, 100);
		ck_assert_dropped(
			s, frame, net_icmp(frame, &ip, types[t], 0, 0, data, len), "icmp_quote");
		len = quote(5, 36);
		put32(data + 12, 0x0a0000fe);
		ck_assert_dropped(
			s, frame, net_icmp(frame, &ip, types[t], 0, 0, data, len), "icmp_quote");
		for (u32 proto = 0; proto < 256; proto++) {
			len = quote(5, 36);
			data[9] = (u8)proto;
			if (proto != PROTO_TCP && proto != PROTO_UDP)
				ck_assert_dropped(s, frame,
					net_icmp(frame, &ip, types[t], 0, 0, data, len),
					"icmp_quote");
		}
	}
	len = quote(5, 36);
	for (u32 code = 16; code < 256; code++)
		ck_assert_dropped(
			s, frame, net_icmp(frame, &ip, 3, (u8)code, 0, data, len), "icmp_quote");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, D1_short_messages);
	tcase_add_test(tc, D1_bad_checksum);
	tcase_add_test(tc, D1_echo_of_every_size);
	tcase_add_test(tc, D1_echo_is_an_exact_copy);
	tcase_add_test(tc, D2_echo_to_everybody);
	tcase_add_test(tc, D3_no_error_about);
	tcase_add_test(tc, D4_limit_per_destination);
	tcase_add_test(tc, D4_budget_is_random);
	tcase_add_test(tc, D7_types_without_effect);
	tcase_add_test(tc, D10_quotes);
}

int main(void)
{
	return check_lines_case("icmp", 0, add_tests);
}
