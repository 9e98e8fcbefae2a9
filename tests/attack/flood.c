/*
 * Floods at a listener and what an attacker could foretell: rows J1 and J2 of README.md, and H6, H7, H9.
 * LONG=1 sends a million SYNs.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/sock_lib.h"

enum { IP = 14, TCP = IP + 20, SYN = 2, RST = 4, ACK = 16, PORT = 80, BACKLOG = 128 };

static u8 frame[NET_FRAME_MAX], got[NET_FRAME_MAX];
static u64 dice = 88172645463325252ull;

static u32 roll(void)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (u32)(dice >> 16);
}

static ref listener_new(struct stack *s)
{
	struct endpoint local = {.addr = addr_v4(0), .port = PORT};
	int error;
	ref sk = sock_open(s, FAMILY_INET, LX_SOCK_STREAM, 0, &error);

	ck_assert_int_eq(sock_bind(s, sk, &local), 0);
	ck_assert_int_eq(sock_listen(s, sk, BACKLOG), 0);
	return sk;
}

static const u8 syn_options[] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 3, 232, 0, 0, 0, 0, 1, 3, 3, 7};

/* A SYN from anywhere that is none of our network. */
static void spoof(struct stack *s)
{
	struct net_ip4 ip = {.src = 0x0b000000u | (roll() & 0xffffff)};
	struct net_tcp tcp = {.sport = (u16)(1024 + roll() % 60000), .dport = PORT, .seq = roll(), .flags = SYN, .window = 65535,
		.options = syn_options, .options_len = sizeof(syn_options)};

	engine_frame_in(s, frame, net_tcp(frame, &ip, &tcp, NULL, 0));
}

/* The SYN-ACK for the port, among all that is sent: its header, or NULL. */
static const u8 *syn_ack(struct stack *s, u16 port)
{
	static u8 kept[60];
	const u8 *found = NULL;
	u32 len;

	while ((len = engine_frame_out(s, got, NULL))) {
		if (len < TCP + 40 || get16(got + TCP + 2) != port || got[TCP + 13] != (SYN | ACK) || get32(got + IP + 16) != NET_PEER)
			continue;
		memcpy(kept, got + TCP, 40);
		found = kept;
	}
	return found;
}

/* An honest client: true when its connection is accepted and carries a byte. */
static bool honest(struct stack *s, ref listener, u16 port)
{
	u8 options[12] = {1, 1, 8, 10}, byte;
	struct net_tcp tcp = {.sport = port, .dport = PORT, .seq = roll(), .flags = SYN, .window = 65535, .options = syn_options,
		.options_len = sizeof(syn_options)};
	const u8 *h;
	int error;
	ref sk;

	engine_frames_drop(s);
	engine_frame_in(s, frame, net_tcp(frame, &(struct net_ip4){0}, &tcp, NULL, 0));
	h = syn_ack(s, port);
	if (!h)
		return false;
	put32(options + 4, 2000);
	memcpy(options + 8, h + 28, 4); /* TSval: behind MSS and SACK-permitted */
	tcp.seq++;
	tcp.ack = get32(h + 4) + 1;
	tcp.flags = ACK;
	tcp.options = options;
	tcp.options_len = sizeof(options);
	engine_run(s, 20 * NS_PER_MS);
	for (u32 i = 0; i < 50; i++)
		spoof(s);
	engine_frame_in(s, frame, net_tcp(frame, &(struct net_ip4){0}, &tcp, "x", 1));
	sk = sock_accept(s, listener, &error);
	if (!sk)
		return false;
	ck_assert_int_eq(sock_lib_recv(s, sk, &byte, 1, 0, NULL), 1);
	sock_close(s, sk);
	tcp.flags = RST;
	tcp.seq++;
	engine_frame_in(s, frame, net_tcp(frame, &(struct net_ip4){0}, &tcp, NULL, 0));
	return true;
}

START_TEST(J1_syn_flood)
{
	u32 n = getenv("LONG") ? 1000000 : 30000, every = n / 300, tried = 0, good = 0, most = 0, spans = 0;
	struct stack *s = engine_new_ready(NULL);
	ref listener = listener_new(s);

	for (u32 i = 0; i < n; i++) {
		spoof(s);
		most = MAX(most, slab_in_use(s, SLAB_TCP_REQUEST));
		if (i % 100 == 99) { /* 100,000 a second */
			engine_run(s, NS_PER_MS);
			engine_frames_drop(s);
		}
		if (i % every == every - 1)
			good += honest(s, listener, (u16)(10000 + tried++));
		if (i == n / 10)
			spans = s->spans_used;
	}
	ck_assert_msg(good * 100 >= tried * 99, "%u of %u honest connections", good, tried);
	ck_assert_uint_le(most, BACKLOG + 2);
	ck_assert_uint_le(s->spans_used, spans + 1); /* no memory after the first tenth */
	ck_assert_uint_gt(net_count(s, "tcp_cookie_sent"), n / 2);
	ck_assert_uint_eq(net_count(s, "invariant"), 0);
	engine_free(s);
}
END_TEST

START_TEST(J1_flood_without_cookies)
{
	struct stack_config config = net_config();
	struct stack *s;

	config.tunables.tcp_syncookies = 0;
	s = engine_new_ready(&config);
	listener_new(s);
	for (u32 i = 0; i < 20000; i++) {
		spoof(s);
		if (i % 100 == 99)
			engine_frames_drop(s);
	}
	ck_assert_uint_le(slab_in_use(s, SLAB_TCP_REQUEST), BACKLOG + 1);
	engine_run(s, 200 * NS_PER_S); /* they are given up, one by one */
	ck_assert_uint_eq(slab_in_use(s, SLAB_TCP_REQUEST), 0);
	engine_free(s);
}
END_TEST

START_TEST(J2_guessed_cookies)
{
	u32 n = getenv("LONG") ? 1000000 : 50000, sockets;
	struct stack_config config = net_config();
	struct stack *s;
	int error;
	ref listener;

	config.tunables.tcp_syncookies = 2;
	s = engine_new_ready(&config);
	listener = listener_new(s);
	spoof(s); /* cookies are being given out */
	sockets = slab_in_use(s, SLAB_SOCK);
	for (u32 i = 0; i < n; i++) {
		struct net_ip4 ip = {.src = 0x0b000000u | (roll() & 0xffffff)};
		struct net_tcp tcp = {.sport = 5000, .dport = PORT, .seq = roll(), .ack = roll(), .flags = ACK, .window = 65535};

		engine_frame_in(s, frame, net_tcp(frame, &ip, &tcp, NULL, 0));
		if (i % 100 == 99)
			engine_frames_drop(s);
	}
	ck_assert_uint_eq(net_count(s, "tcp_cookie_failed"), n); /* one in 2^29 would pass */
	ck_assert_uint_eq(slab_in_use(s, SLAB_SOCK), sockets);
	ck_assert_uint_eq(slab_in_use(s, SLAB_TCP_REQUEST), 0);
	ck_assert_uint_eq(sock_accept(s, listener, &error), 0);
	engine_free(s);
}
END_TEST

/* --- what can be foretold --- */

/* Chi square of 256 classes: beyond these bounds by chance once in 10,000. */
static void even(const u32 *count, u32 n)
{
	double mean = n / 256.0, chi = 0;

	for (u32 i = 0; i < 256; i++)
		chi += (count[i] - mean) * (count[i] - mean) / mean;
	ck_assert_msg(chi > 175 && chi < 350, "chi square %f", chi);
}

START_TEST(H6_isn_across_restarts)
{
	/* Hosts that differ in their secret alone give unrelated numbers to the same tuple. */
	struct endpoint l = {.addr = addr_v4(NET_HOST), .port = PORT}, r = {.addr = addr_v4(NET_PEER), .port = 4242};
	u32 upper[256] = {0}, lower[256] = {0}, n = 4096, last = 0;
	struct stack_config config = net_config();
	struct stack *s = engine_new(NULL);

	for (u32 i = 0; i < n; i++) {
		u32 now;

		config.seed[0] = (u8)i;
		config.seed[1] = (u8)(i >> 8);
		random_seed(&s->random, config.seed);
		s->hash_key.k[0] = random_u64(&s->random);
		s->isn_key.k[0] = random_u64(&s->random);
		s->isn_key.k[1] = random_u64(&s->random);
		now = tcp_isn(s, &l, &r);
		upper[(now - last) >> 24]++;
		lower[(now - last) & 0xff]++;
		last = now;
	}
	even(upper, n);
	even(lower, n);
	ck_assert(s->isn_key.k[0] != s->hash_key.k[0]); /* RFC 6528: a secret of its own */
	engine_free(s);
}
END_TEST

START_TEST(H7_ports)
{
	/* Ports of connections to one place: even over the range, and so are the steps between them (RFC 6056). */
	struct endpoint remote = {.addr = addr_v4(NET_PEER), .port = 443}, local;
	u32 count[256] = {0}, step[256] = {0}, n = 8192, low = 32768, width = 28232;
	struct stack *s = engine_new_ready(NULL);
	u16 last = 0;

	for (u32 i = 0; i < n; i++) {
		int error;
		ref sk = sock_open(s, FAMILY_INET, LX_SOCK_STREAM, 0, &error);

		ck_assert_int_eq(sock_connect(s, sk, &remote), -EINPROGRESS);
		sock_name(s, sk, &local);
		ck_assert(local.port >= low && local.port < low + width);
		count[(local.port - low) * 256 / width]++;
		step[(u32)(local.port + width - (last ? last : low)) % width * 256 / width]++;
		last = local.port;
		sock_close(s, sk);
		engine_frames_drop(s);
	}
	even(count, n);
	even(step, n);
	engine_free(s);
}
END_TEST

START_TEST(H9_timestamp_offsets)
{
	/* The clock of each tuple begins elsewhere. */
	struct endpoint l = {.addr = addr_v4(NET_HOST), .port = PORT}, r = {.addr = addr_v4(NET_PEER)};
	u32 upper[256] = {0}, lower[256] = {0}, n = 60000, last = 0;
	struct stack *s = engine_new(NULL);

	for (u32 i = 0; i < n; i++) {
		u32 now;

		r.port = (u16)(1000 + i);
		now = tcp_clock(s, tcp_ts_offset(s, &l, &r));
		upper[(now - last) >> 24]++;
		lower[(now - last) & 0xff]++;
		last = now;
	}
	even(upper, n);
	even(lower, n);
	engine_free(s);
}
END_TEST

START_TEST(H9_cookies_keep_the_clock)
{
	/* A cookie's timestamp is at most 64 ms behind the tuple's clock, and never ahead. */
	struct endpoint l = {.addr = addr_v4(NET_HOST), .port = PORT}, r = {.addr = addr_v4(NET_PEER), .port = 4242};
	struct tcp_request req = {.flags = TCP_OPT_TIMESTAMP | TCP_OPT_SACK_OK | TCP_OPT_WSCALE};
	struct stack *s = engine_new(NULL);

	req.ts_offset = tcp_ts_offset(s, &l, &r);
	for (u32 i = 0; i < 1000; i++) {
		u32 behind;

		req.snd_wscale = (u8)(i % 15);
		behind = tcp_clock(s, req.ts_offset) - tcp_cookie_clock(s, &req);
		ck_assert_uint_lt(behind, 64);
		stack_clock(s, s->now_ns + NS_PER_MS);
	}
	engine_free(s);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, J1_syn_flood);
	tcase_add_test(tc, J1_flood_without_cookies);
	tcase_add_test(tc, J2_guessed_cookies);
	tcase_add_test(tc, H6_isn_across_restarts);
	tcase_add_test(tc, H7_ports);
	tcase_add_test(tc, H9_timestamp_offsets);
	tcase_add_test(tc, H9_cookies_keep_the_clock);
}

int main(void)
{
	return check_lines_case("flood", 300, add_tests);
}
