/* Hostile IPv4 headers, options and fragments: rows B1 to B14 of README.md. */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

enum { IP = 14, MF = 0x2000 };

static u8 frame[NET_FRAME_MAX], out[NET_FRAME_MAX], data[66000];

static void fill(void)
{
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 7 + i / 256);
}

static u32 echo(const struct net_ip4 *ip, u32 len)
{
	return net_icmp(frame, ip, 8, 0, 0x00010001, data, len);
}

/* The stack still answers an ordinary echo request. */
static bool alive(struct stack *s)
{
	struct net_ip4 ip = {0};
	u32 len;

	engine_frames_drop(s);
	engine_frame_in(s, frame, echo(&ip, 100));
	return engine_frame_out(s, out, NULL) &&
	       net_payload(out, NET_FRAME_MAX, PROTO_ICMP, &len) && len == 108;
}

START_TEST(B1_version_and_lengths)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {0};
	u32 len = echo(&ip, 20);

	for (u32 version = 0; version < 16; version++) {
		echo(&ip, 20);
		frame[IP] = (u8)(version << 4 | 5);
		net_fix_ip4(frame);
		if (version != 4)
			ck_assert_dropped(s, frame, len, "ip_header");
	}
	for (u32 words = 0; words < 5; words++) {
		echo(&ip, 20);
		frame[IP] = (u8)(0x40 | words);
		ck_assert_dropped(s, frame, len, "ip_header");
	}
	for (u32 total = 0; total < 20; total++) {
		echo(&ip, 20);
		put16(frame + IP + 2, total);
		net_fix_ip4(frame);
		ck_assert_dropped(s, frame, len, "ip_header");
	}
	echo(&ip, 20);
	frame[IP] = 0x4f; /* a header of 60 bytes in a packet of 48 */
	ck_assert_dropped(s, frame, len, "ip_header");
	for (u32 total = 49; total < 65536; total += total < 60 ? 1 : 997) {
		echo(&ip, 20);
		put16(frame + IP + 2, total);
		net_fix_ip4(frame);
		ck_assert_dropped(s, frame, len, "ip_truncated");
	}
	for (u32 cut = 14; cut < 34; cut++)
		ck_assert_dropped(s, frame, cut, "ip_header");
	ck_assert(alive(s));
}
END_TEST

START_TEST(B1_padding_is_trimmed)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {0};
	u32 len = echo(&ip, 3), got;

	memset(frame + len, 0xee, 100);
	engine_frame_in(s, frame, len + 15);
	ck_assert_uint_eq(engine_frame_out(s, out, NULL), len);
	ck_assert_ptr_nonnull(net_payload(out, len, PROTO_ICMP, &got));
	ck_assert_uint_eq(got, 11);
}
END_TEST

START_TEST(B2_header_checksum)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 ip = {0};
	u32 len = echo(&ip, 20);

	for (u32 bit = 0; bit < 20 * 8; bit++) {
		const char *seen;

		echo(&ip, 20);
		frame[IP + bit / 8] ^= (u8)(1 << bit % 8);
		if (bit / 8 == 0 || bit / 8 == 2 || bit / 8 == 3)
			continue; /* the lengths and version: B1 */
		seen = net_dropped(s, frame, len, "ip_csum");
		ck_assert_msg(!seen, "bit %u:%s", bit, seen);
	}
}
END_TEST

START_TEST(B3_impossible_sources)
{
	struct stack *s = engine_new_ready(NULL);
	static const u32 sources[] = {0xffffffff, 0x0a0000ff, 0xe0000001, 0xefffffff, 0x00000001,
		0x00ffffff, 0x7f000001, 0x7fffffff, 0xf0000001, 0xfffffffe, NET_HOST};
	struct net_tcp syn = {.sport = 80, .dport = 80, .flags = 2};

	for (u32 i = 0; i < ARRAY_LEN(sources); i++) {
		struct net_ip4 ip = {.src = sources[i]};

		ck_assert_dropped(s, frame, echo(&ip, 20), "ip_source");
		ck_assert_dropped(s, frame, net_tcp(frame, &ip, &syn, NULL, 0), "ip_source");
		ck_assert_dropped(s, frame, net_udp(frame, &ip, 7, 7, "x", 1), "ip_source");
	}
	echo(&(struct net_ip4){0}, 20);
	put32(frame + IP + 12, 0);
	net_fix_ip4(frame);
	ck_assert_dropped(s, frame, 62, "ip_source");
}
END_TEST

START_TEST(B4_destinations_of_others)
{
	struct stack *s = engine_new_ready(NULL);
	static const u32 others[] = {0x0a000003, 0x0b000001, 0x7f000001, 0xf0000001, 0x00000001};
	static const u32 everybody[] = {0xffffffff, 0x0a0000ff};
	struct net_tcp syn = {.sport = 1000, .dport = 80, .flags = 2};

	for (u32 i = 0; i < ARRAY_LEN(others); i++) {
		struct net_ip4 ip = {.dst = others[i]};

		ck_assert_dropped(s, frame, echo(&ip, 20), "ip_not_ours");
		ck_assert_dropped(s, frame, net_tcp(frame, &ip, &syn, NULL, 0), "ip_not_ours");
	}
	for (u32 i = 0; i < 2 * ARRAY_LEN(everybody); i++) {
		struct net_ip4 ip = {
			.dst = everybody[i / 2], .eth_dst = i % 2 ? net_everybody : net_host_mac};

		ck_assert_dropped(s, frame, net_tcp(frame, &ip, &syn, NULL, 0), "ip_tcp_broadcast");
		ip.proto = 200;
		ck_assert_ptr_nonnull(
			net_dropped(s, frame, net_ip4(frame, &ip, data, 20), "ip_proto_unknown"));
		ck_assert(!stack_tx_pending(
			s)); /* no ICMP: icmp_suppressed is counted beside the drop */
	}
	for (u32 group = 0xe0000000; group < 0xe0000010; group++) {
		struct net_ip4 ip = {
			.dst = group, .eth_dst = (const u8[6]){1, 0, 0x5e, 0, 0, (u8)group}};

		ck_assert_dropped(s, frame, net_tcp(frame, &ip, &syn, NULL, 0),
			group == 0xe0000001 ? "ip_tcp_broadcast" : "ip_no_member");
	}
}
END_TEST

/* One echo request with these options: what became of it. */
static void with_options(struct stack *s, const u8 *options, u32 len)
{
	struct net_ip4 ip = {.options = options, .options_len = len};

	engine_frames_drop(s);
	engine_frame_in(s, frame, echo(&ip, 20));
}

#define OPTIONS(...) with_options(s, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))

START_TEST(B5_malformed_options)
{
	struct stack *s = engine_new_ready(NULL);
	u64 bad = 0;

	s->tunables.icmp_ratelimit_ms = 0;
#define BAD(pointer, ...)                                                                          \
	OPTIONS(__VA_ARGS__);                                                                      \
	ck_assert_uint_eq(net_count(s, "ip_options"), ++bad);                                      \
	ck_assert_uint_gt(engine_frame_out(s, out, NULL), 0);                                      \
	ck_assert_uint_eq(out[IP + 20], 12); /* parameter problem */                               \
	ck_assert_uint_eq(out[IP + 24], pointer)
	BAD(21, 7, 0, 4, 0);
	BAD(21, 7, 1, 4, 0);
	BAD(21, 7, 5, 4, 0);
	BAD(21, 200, 255, 1, 1);
	BAD(23, 1, 1, 1, 7);
	BAD(22, 7, 4, 0, 0);
	BAD(22, 7, 4, 3, 0);
	BAD(22, 7, 4, 6, 0);
	BAD(22, 7, 2, 0, 0);
	BAD(22, 68, 8, 0, 0, 0, 0, 0, 0);
	BAD(22, 68, 8, 4, 0, 0, 0, 0, 0);
	BAD(22, 68, 8, 10, 0, 0, 0, 0, 0);
	BAD(22, 68, 3, 5, 0);
#undef BAD
	ck_assert_uint_eq(net_count(s, "icmp_echo_in"), 0);
	ck_assert(alive(s));
}
END_TEST

START_TEST(B5_parameter_problems_are_limited)
{
	struct stack *s = engine_new_ready(NULL);

	for (u32 i = 0; i < 1000; i++)
		OPTIONS(7, 0, 4, 0);
	ck_assert_uint_ge(net_count(s, "icmp_param_out"), 4);
	ck_assert_uint_le(net_count(s, "icmp_param_out"), 12);
}
END_TEST

START_TEST(B5_good_and_unknown_options)
{
	struct stack *s = engine_new_ready(NULL);

	OPTIONS(1, 1, 1, 0);
	OPTIONS(7, 7, 4, 0, 0, 0, 0, 0);
	OPTIONS(7, 7, 8, 1, 2, 3, 4, 0); /* a full route */
	OPTIONS(68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	OPTIONS(222, 4, 0, 0);
	OPTIONS(148, 4, 0, 0);	   /* router alert */
	OPTIONS(0, 255, 255, 255); /* nothing is read behind the end */
	ck_assert_uint_eq(net_count(s, "icmp_echo_out"), 7);
	ck_assert_uint_eq(net_count(s, "ip_options"), 0);
}
END_TEST

START_TEST(B5_source_routes_are_refused)
{
	struct stack *s = engine_new_ready(NULL);
	static const u8 lsrr[] = {131, 7, 4, 10, 0, 0, 9, 0}, ssrr[] = {1, 137, 7, 8, 10, 0, 0, 9};
	static const u8 both[] = {131, 3, 4, 131, 3, 4, 137, 3, 4, 0, 0, 0};
	struct net_ip4 ip = {.options = lsrr, .options_len = 8};

	ck_assert_dropped(s, frame, echo(&ip, 20), "ip_source_routed");
	ip.options = ssrr;
	ck_assert_dropped(s, frame, echo(&ip, 20), "ip_source_routed");
	ip.options = both;
	ip.options_len = 12;
	ck_assert_dropped(s, frame, echo(&ip, 20), "ip_source_routed");
}
END_TEST

START_TEST(B5_every_option_byte)
{
	struct stack *s = engine_new_ready(NULL);
	u8 options[40];
	struct random random;

	random_seed(&random, (const u8 *)"options of attacks");
	for (u32 i = 0; i < 200000; i++) {
		struct net_ip4 ip = {
			.options = options, .options_len = 4 + 4 * random_below(&random, 10)};

		for (u32 j = 0; j < sizeof(options); j++)
			options[j] = (u8)(random_below(&random, 4) ? random_below(&random, 12)
								   : random_u64(&random));
		engine_frame_in(s, frame, echo(&ip, 1));
		engine_frames_drop(s);
	}
	ck_assert(alive(s));
}
END_TEST

START_TEST(B6_protocols_not_spoken)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 inner = {0};
	u32 inner_len = echo(&inner, 20) - 14;
	u8 packet[200];

	memcpy(packet, frame + 14, inner_len);
	for (u32 proto = 0; proto < 256; proto++) {
		struct net_ip4 ip = {.proto = (u8)proto};

		if (proto == PROTO_ICMP || proto == PROTO_TCP || proto == PROTO_UDP ||
			proto == PROTO_UDPLITE)
			continue;
		engine_frame_in(s, frame, net_ip4(frame, &ip, packet, inner_len));
	}
	ck_assert_uint_eq(net_count(s, "ip_proto_unknown"), 252);
	ck_assert_uint_eq(net_count(s, "icmp_echo_in"), 0);
	ck_assert_uint_ge(net_count(s, "icmp_unreach_out"), 4);
	ck_assert_uint_le(net_count(s, "icmp_unreach_out"), 12);
	ck_assert_uint_gt(engine_frame_out(s, out, NULL), 0);
	ck_assert_uint_eq(out[IP + 20], 3);
	ck_assert_uint_eq(out[IP + 21], 2);
}
END_TEST

/* --- fragments --- */

static u8 message[70000];
static u32 message_len;

/* The echo request that is cut into fragments: 8 + len bytes. */
static void make_message(u32 len)
{
	struct net_ip4 ip = {0};

	fill();
	echo(&ip, len);
	message_len = 8 + len;
	memcpy(message, frame + IP + 20, message_len);
}

static void fragment_of(struct stack *s, struct net_ip4 ip, u32 offset, u32 len, bool more)
{
	if (!ip.proto)
		ip.proto = PROTO_ICMP;
	ip.fragment = (u16)(offset / 8 | (more ? MF : 0));
	engine_frame_in(s, frame, net_ip4(frame, &ip, message + offset, len));
}

static void fragment(struct stack *s, u32 offset, u32 len)
{
	fragment_of(s, (struct net_ip4){.id = 77}, offset, len, offset + len < message_len);
}

static u64 answered(struct stack *s)
{
	engine_frames_drop(s);
	return net_count(s, "icmp_echo_in");
}

static void no_fragments_left(struct stack *s)
{
	ck_assert_uint_eq(s->reasm_bytes, 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_REASM), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_PKT_SMALL) + slab_in_use(s, SLAB_PKT_MEDIUM) +
				  slab_in_use(s, SLAB_PKT_LARGE),
		0);
}

START_TEST(B7_overlaps)
{
	static const struct {
		u32 first, first_len, second, second_len;
	} overlaps[] = {
		{0, 800, 0, 400},    /* same start, shorter */
		{0, 400, 0, 800},    /* same start, longer */
		{0, 800, 400, 200},  /* contained */
		{0, 800, 400, 800},  /* overlapping the end */
		{400, 800, 0, 800},  /* overlapping the start */
		{400, 200, 0, 1000}, /* containing */
		{0, 800, 792, 8},
		{0, 800, 0, 8},
	};

	make_message(2000);
	for (u32 i = 0; i < ARRAY_LEN(overlaps); i++) {
		struct stack *s = engine_new_ready(NULL);

		fragment(s, overlaps[i].first, overlaps[i].first_len);
		fragment(s, overlaps[i].second, overlaps[i].second_len);
		ck_assert_uint_eq(net_count(s, "reasm_overlap"), 1);
		ck_assert_uint_eq(s->reasm_bytes, 0);
		/* What would complete it is swallowed too. */
		fragment(s, 0, 1000);
		fragment(s, 1000, 1008);
		ck_assert_uint_eq(net_count(s, "reasm_discarding"), 2);
		ck_assert_uint_eq(answered(s), 0);
		engine_run(s, 60 * NS_PER_S);
		no_fragments_left(s);
		ck_assert(!stack_tx_pending(s));
		fragment(s, 0, 1000);
		fragment(s, 1000, 1008);
		ck_assert_uint_eq(answered(s), 1);
		engine_free(s);
	}
}
END_TEST

START_TEST(B7_same_place_other_data)
{
	struct stack *s = engine_new_ready(NULL);

	make_message(2000);
	fragment(s, 0, 800);
	message[100] ^= 1;
	fragment(s, 0, 800);
	ck_assert_uint_eq(net_count(s, "reasm_overlap"), 1);
	message[100] ^= 1;
	fragment(s, 800, 1208);
	ck_assert_uint_eq(answered(s), 0);
}
END_TEST

START_TEST(B7_two_ends)
{
	struct stack *s = engine_new_ready(NULL);

	make_message(2000);
	fragment_of(s, (struct net_ip4){.id = 1}, 800, 400, false);
	fragment_of(s, (struct net_ip4){.id = 1}, 1600, 400, false);
	ck_assert_uint_eq(net_count(s, "reasm_overlap"), 1);
	fragment_of(s, (struct net_ip4){.id = 2}, 800, 400, false);
	fragment_of(s, (struct net_ip4){.id = 2}, 1600, 400, true);
	ck_assert_uint_eq(net_count(s, "reasm_overlap"), 2);
	fragment_of(s, (struct net_ip4){.id = 3}, 1600, 400, true);
	fragment_of(s, (struct net_ip4){.id = 3}, 800, 400, false);
	ck_assert_uint_eq(net_count(s, "reasm_overlap"), 3);
	ck_assert_uint_eq(s->reasm_bytes, 0);
}
END_TEST

START_TEST(B8_ping_of_death)
{
	struct stack *s = engine_new_ready(NULL);

	make_message(65000);
	fragment(s, 0, 1480);
	fragment_of(s, (struct net_ip4){.id = 77}, 65528, 8, false);
	ck_assert_uint_eq(net_count(s, "reasm_malformed"), 1);
	no_fragments_left(s);
	fragment_of(s, (struct net_ip4){.id = 78}, 65528, 1400, true);
	fragment_of(s, (struct net_ip4){.id = 78}, 64800, 800, false);
	ck_assert_uint_eq(net_count(s, "reasm_malformed"), 3);
	no_fragments_left(s);
	ck_assert(alive(s));
}
END_TEST

START_TEST(B9_tiny_fragments)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 tcp = {.proto = PROTO_TCP, .id = 5};

	make_message(100);
	fragment_of(s, tcp, 0, 8, true);
	fragment_of(s, tcp, 0, 16, true);
	fragment_of(s, tcp, 8, 8, true);
	fragment_of(s, tcp, 8, 80, false);
	ck_assert_uint_eq(net_count(s, "reasm_tiny"), 4);
	no_fragments_left(s);
	fragment_of(s, (struct net_ip4){.id = 6}, 0, 8, true);
	fragment_of(s, (struct net_ip4){.id = 6}, 8, 100, false);
	ck_assert_uint_eq(answered(s), 1);
}
END_TEST

START_TEST(B10_flood_of_first_fragments)
{
	struct stack *s = engine_new_ready(NULL);
	u32 n = getenv("LONG") ? 1000000 : 50000;

	make_message(2000);
	for (u32 i = 0; i < n; i++) {
		fragment_of(s,
			(struct net_ip4){.src = 0x0a100000 + i / 60000, .id = (u16)(i % 60000)},
			i % 3 * 8, 1000, true);
		ck_assert_uint_le(s->reasm_bytes, s->tunables.ipfrag_high_thresh);
		if (i % 1000 == 0) {
			u64 before = net_count(s, "icmp_echo_in");

			/* A datagram whose fragments come together gets through. */
			ck_assert(alive(s));
			fragment(s, 0, 1000);
			fragment(s, 1000, 1008);
			ck_assert_uint_eq(answered(s), before + 2);
		}
	}
	ck_assert_uint_gt(net_count(s, "reasm_evicted"), 0);
	engine_run(s, 60 * NS_PER_S);
	engine_frames_drop(s);
	no_fragments_left(s);
}
END_TEST

START_TEST(B10_flood_of_small_pieces)
{
	struct stack *s = engine_new_ready(NULL);
	struct random random;

	random_seed(&random, (const u8 *)"random order frag");
	make_message(65000);
	for (u32 i = 0; i < 50000; i++) {
		u32 offset = random_below(&random, 8000) * 8;

		fragment_of(s, (struct net_ip4){.id = (u16)(i / 2000)}, offset, 8, true);
		ck_assert_uint_le(s->reasm_bytes, s->tunables.ipfrag_high_thresh);
	}
	ck_assert_uint_gt(net_count(s, "reasm_too_many"), 0);
	ck_assert(alive(s));
}
END_TEST

START_TEST(B11_keys_do_not_mix)
{
	struct stack *s = engine_new_ready(NULL);
	struct net_ip4 a = {.id = 9, .src = NET_PEER}, b = {.id = 9, .src = NET_PEER + 10},
		       c = {.id = 9, .proto = 200};

	make_message(2000);
	fragment_of(s, a, 0, 1000, true);
	fragment_of(s, b, 1000, 1008, false);
	fragment_of(s, c, 1000, 1008, false);
	ck_assert_uint_eq(answered(s), 0);
	ck_assert_uint_eq(slab_in_use(s, SLAB_REASM), 3);
	fragment_of(s, a, 1000, 1008, false);
	ck_assert_uint_eq(answered(s), 1);
	fragment_of(s, b, 0, 1000, true);
	ck_assert_uint_eq(answered(s), 2);
}
END_TEST

START_TEST(B12_any_order_and_duplicates)
{
	static const u32 orders[][4] = {
		{0, 1, 2, 3}, {3, 2, 1, 0}, {3, 0, 2, 1}, {2, 3, 0, 1}, {1, 0, 3, 2}};

	make_message(2000);
	for (u32 i = 0; i < ARRAY_LEN(orders); i++) {
		struct stack *s = engine_new_ready(NULL);
		u32 len;
		const u8 *reply;

		s->netif[NETIF_DEVICE].mtu = 9000; /* the reply in one piece */
		for (u32 j = 0; j < 4; j++) {
			u32 at = orders[i][j] * 504;

			fragment(s, at, MIN(504u, message_len - at));
			if (j < 3)
				fragment(s, at, MIN(504u, message_len - at));
		}
		ck_assert_uint_eq(net_count(s, "reasm_duplicate"), 3);
		ck_assert_uint_eq(net_count(s, "reasm_ok"), 1);
		ck_assert_uint_gt(engine_frame_out(s, out, NULL), 0);
		reply = net_payload(out, NET_FRAME_MAX, PROTO_ICMP, &len);
		ck_assert_ptr_nonnull(reply);
		ck_assert_uint_eq(len, message_len);
		ck_assert_mem_eq(reply + 8, message + 8, len - 8);
		no_fragments_left(s);
		engine_free(s);
	}
}
END_TEST

START_TEST(B12_lengths)
{
	struct stack *s = engine_new_ready(NULL);

	make_message(2000);
	fragment_of(s, (struct net_ip4){.id = 1}, 0, 0, true);
	fragment_of(s, (struct net_ip4){.id = 1}, 800, 0, false);
	for (u32 len = 1; len < 8; len++)
		fragment_of(s, (struct net_ip4){.id = 1}, 0, 800 + len, true);
	ck_assert_uint_eq(net_count(s, "reasm_malformed"), 9);
	no_fragments_left(s);
	ck_assert(alive(s));
}
END_TEST

START_TEST(B13_timeout)
{
	struct stack *s = engine_new_ready(NULL);
	u32 len;
	const u8 *error;

	make_message(2000);
	fragment(s, 0, 1000);
	engine_run(s, 29 * NS_PER_S);
	ck_assert_uint_eq(slab_in_use(s, SLAB_REASM), 1);
	engine_run(s, 2 * NS_PER_S);
	ck_assert_uint_eq(net_count(s, "reasm_timeout"), 1);
	while (engine_frame_out(s, out, NULL) && get16(out + 12) != ETHERTYPE_IP4)
		;
	error = net_payload(out, NET_FRAME_MAX, PROTO_ICMP, &len);
	ck_assert_ptr_nonnull(error);
	ck_assert_uint_eq(error[0], 11);
	ck_assert_uint_eq(error[1], 1);
	ck_assert_uint_eq(get16(error + 8 + 4), 77);
	engine_frames_drop(s);
	no_fragments_left(s);
	/* Without the first: silence. */
	fragment(s, 1000, 1008);
	engine_run(s, 31 * NS_PER_S);
	ck_assert_uint_eq(net_count(s, "reasm_timeout"), 2);
	ck_assert_uint_eq(net_count(s, "icmp_time_out"), 1);
	no_fragments_left(s);
}
END_TEST

START_TEST(B14_ecn)
{
	static const struct {
		u8 first, second;
		int result; /* -1: discarded */
	} cases[] = {{0, 0, 0}, {2, 2, 2}, {1, 1, 1}, {3, 3, 3}, {2, 3, 3}, {3, 2, 3}, {1, 3, 3},
		{0, 3, -1}, {3, 0, -1}};

	make_message(1000);
	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct stack *s = engine_new_ready(NULL);

		fragment_of(s, (struct net_ip4){.id = 1, .tos = cases[i].first}, 0, 504, true);
		fragment_of(s, (struct net_ip4){.id = 1, .tos = cases[i].second}, 504, 504, false);
		ck_assert_uint_eq(net_count(s, "icmp_echo_in"), cases[i].result >= 0);
		ck_assert_uint_eq(net_count(s, "reasm_ecn"), cases[i].result < 0);
		if (cases[i].result >= 0) {
			ck_assert_uint_gt(engine_frame_out(s, out, NULL), 0);
			ck_assert_uint_eq(out[IP + 1] & 3, (u32)cases[i].result);
		}
		engine_free(s);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, B1_version_and_lengths);
	tcase_add_test(tc, B1_padding_is_trimmed);
	tcase_add_test(tc, B2_header_checksum);
	tcase_add_test(tc, B3_impossible_sources);
	tcase_add_test(tc, B4_destinations_of_others);
	tcase_add_test(tc, B5_malformed_options);
	tcase_add_test(tc, B5_parameter_problems_are_limited);
	tcase_add_test(tc, B5_good_and_unknown_options);
	tcase_add_test(tc, B5_source_routes_are_refused);
	tcase_add_test(tc, B5_every_option_byte);
	tcase_add_test(tc, B6_protocols_not_spoken);
	tcase_add_test(tc, B7_overlaps);
	tcase_add_test(tc, B7_same_place_other_data);
	tcase_add_test(tc, B7_two_ends);
	tcase_add_test(tc, B8_ping_of_death);
	tcase_add_test(tc, B9_tiny_fragments);
	tcase_add_test(tc, B10_flood_of_first_fragments);
	tcase_add_test(tc, B10_flood_of_small_pieces);
	tcase_add_test(tc, B11_keys_do_not_mix);
	tcase_add_test(tc, B12_any_order_and_duplicates);
	tcase_add_test(tc, B12_lengths);
	tcase_add_test(tc, B13_timeout);
	tcase_add_test(tc, B14_ecn);
}

int main(void)
{
	return check_lines_case("ip", 0, add_tests);
}
