/*
 * Connections that are made to hold what a host has: rows J4, J6, J9 and J11 of README.md. LONG=1 makes 100,000 of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { IP = 14, TCP = IP + 20, LISTEN_PORT = 80, HONEST_PORT = 9000 };

#define STRANGERS 0x0b000000u

static u8 data[70000], frame[NET_FRAME_MAX], got[NET_FRAME_MAX];

/* One end of an attacker. */
struct stranger {
	u32 addr, seq, ack;
	u16 port, window;
	ref sk;
};

static struct stack *host(u64 memory, u32 backlog, ref *listener)
{
	struct stack_config config = net_config();
	struct addr gateway = addr_v4(NET_PEER);
	struct stack *s;

	config.tunables.somaxconn = config.tunables.tcp_max_syn_backlog = 1 << 20;
	s = engine_new_sized(&config, memory);
	engine_run(s, 10 * NS_PER_S);
	engine_frame_in(s, frame, net_arp(frame, net_host_mac, 1, net_peer_mac, NET_PEER, net_host_mac, NET_HOST));
	neigh_confirm(s, &gateway);
	engine_frames_drop(s);
	*listener = sock_lib_open(s, LX_SOCK_STREAM);
	ck_assert_int_eq(sock_lib_bind(s, *listener, 0, LISTEN_PORT), 0);
	ck_assert_int_eq(sock_listen(s, *listener, (int)backlog), 0);
	return s;
}

static void say(struct stack *s, struct stranger *x, u16 flags, const void *text, u32 len, u32 tsval)
{
	struct net_ip4 ip = {.src = x->addr};
	u8 options[] = {1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0};
	struct net_tcp tcp = {.sport = x->port, .dport = LISTEN_PORT, .seq = x->seq, .ack = flags & PEER_ACK ? x->ack : 0, .flags = flags,
		.window = x->window, .options = options, .options_len = tsval ? sizeof(options) : 0};

	put32(options + 4, tsval);
	engine_frame_in(s, frame, net_tcp(frame, &ip, &tcp, text, len));
	x->seq += len + !!(flags & PEER_SYN) + !!(flags & PEER_FIN);
}

/* The next segment of the host to whom it may concern: its header, or NULL. ARP is answered. */
static const u8 *next_segment(struct stack *s, u32 *to, u32 *text)
{
	u32 len;

	while ((len = engine_frame_out(s, got, NULL))) {
		if (get16(got + 12) == ETHERTYPE_ARP && len >= 42 && get16(got + 20) == 1) {
			engine_frame_in(s, frame, net_arp(frame, net_host_mac, 2, net_peer_mac, NET_PEER, net_host_mac, NET_HOST));
		} else if (len >= TCP + 20 && got[IP + 9] == PROTO_TCP) {
			*to = get32(got + IP + 16);
			*text = get16(got + IP + 2) - 20u - (got[TCP + 12] >> 4) * 4u;
			return got + TCP;
		}
	}
	return NULL;
}

/* The handshake of a stranger; false when the host does not answer or has no socket for it. */
static bool meets(struct stack *s, ref listener, struct stranger *x, u32 tsval)
{
	const u8 *h;
	u32 to, text;
	int error;

	say(s, x, PEER_SYN, NULL, 0, tsval);
	do
		h = next_segment(s, &to, &text);
	while (h && (to != x->addr || get16(h + 2) != x->port || h[13] != (PEER_SYN | PEER_ACK)));
	if (!h)
		return false;
	x->ack = get32(h + 4) + 1;
	say(s, x, PEER_ACK, NULL, 0, tsval);
	x->sk = sock_accept(s, listener, &error);
	return x->sk != 0;
}

static struct peer honest(struct stack *s, ref listener, u16 port)
{
	struct peer p = peer_new(s);

	engine_frames_drop(s);
	p.port = port;
	p.listener = listener;
	peer_connect(&p);
	return p;
}

static void back_to(const struct stack *s, u32 sockets)
{
	static const enum slab_kind kinds[] = {SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_FRAME, SLAB_TCP_REQUEST,
		SLAB_TCP_TIMEWAIT};

	for (u32 i = 0; i < ARRAY_LEN(kinds); i++)
		ck_assert_msg(slab_in_use(s, kinds[i]) == 0, "%u objects of kind %u left", slab_in_use(s, kinds[i]), kinds[i]);
	ck_assert_uint_eq(slab_in_use(s, SLAB_SOCK), sockets);
	ck_assert_uint_eq(slab_in_use(s, SLAB_TCP), sockets);
	ck_assert_uint_eq(net_count(s, "invariant"), 0);
}

static void close_all(struct stack *s, const struct stranger *x, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		if (x[i].sk)
			sock_close(s, x[i].sk);
	}
}

/* One more honest peer is served. */
static void serves(struct stack *s, ref listener, u16 port)
{
	struct peer p = honest(s, listener, port);

	ck_assert(peer_alive(&p));
	sock_close(s, p.sk);
}

/* The last connection ends; 100 minutes later there is but the listener. */
static void all_given_back(struct stack *s, const struct peer *last)
{
	sock_close(s, last->sk);
	for (u32 i = 0; i < 100; i++) {
		engine_run(s, 60 * NS_PER_S);
		engine_frames_drop(s);
	}
	back_to(s, 1);
}

/* --- J4: sockstress (CVE-2008-4609) --- */

/* Whatever the host sends is acknowledged with the stranger's window: probes are answered for ever. */
static void answer_all(struct stack *s, struct stranger *x, u32 n)
{
	const u8 *h;
	u32 to, text;

	while ((h = next_segment(s, &to, &text))) {
		struct stranger *y = &x[(to - STRANGERS) % n];

		if (to < STRANGERS || h[13] & PEER_RST || y->addr != to)
			continue;
		if (get32(h + 4) == y->ack)
			y->ack += MIN(text, y->window) + !!(h[13] & PEER_FIN);
		say(s, y, PEER_ACK, NULL, 0, 0);
	}
}

/* A host of so much memory has n connections whose windows are shut (or open for a byte) with an answer for each of them. */
static void stalled(u64 memory, u32 n, u16 window, bool all)
{
	ref listener;
	struct stack *s = host(memory, n, &listener);
	struct stranger *x = calloc(n, sizeof(*x));
	struct peer first = honest(s, listener, HONEST_PORT);
	u32 made = 0, spans, packets;

	for (u32 i = 0; i < n; i++) {
		x[i] = (struct stranger){.addr = STRANGERS + i, .port = 1024, .seq = i * 77777, .window = window};
		if (!meets(s, listener, &x[i], 0))
			continue;
		made++;
		if (i & 1)
			sock_lib_set(s, x[i].sk, LX_SOL_TCP, LX_TCP_USER_TIMEOUT, 30000);
		sock_lib_send(s, x[i].sk, 0, 0, data, 1000, LX_MSG_DONTWAIT);
		answer_all(s, x, n);
	}
	ck_assert_msg(made == n || !all, "%u of %u connections", made, n);
	printf("# %u of %u connections in %u of %llu MiB\n", made, n, s->spans_used, (unsigned long long)(memory >> 20));
	spans = s->spans_used;
	packets = slab_in_use(s, SLAB_PKT_SMALL) + slab_in_use(s, SLAB_PKT_MEDIUM) + slab_in_use(s, SLAB_PKT_LARGE);
	ck_assert_uint_le(packets, 3 * made + 100);
	ck_assert(!all || peer_alive(&first));
	for (u32 i = 0; i < 120; i++) {
		engine_run(s, NS_PER_S);
		answer_all(s, x, n);
	}
	ck_assert_uint_le(s->spans_used, spans + 2); /* stalled connections cost nothing more */
	ck_assert(peer_alive(&first));
	/* The program's own limit has ended its half of them, if the window is shut. */
	for (u32 i = 1; i < n && !window && all; i += 2)
		ck_assert(!x[i].sk || sock_get(s, x[i].sk)->state == SOCK_DEAD);
	if (all)
		serves(s, listener, HONEST_PORT + 1);
	/* Once the program has closed them they are given up, though their probes are answered. */
	close_all(s, x, n);
	for (u32 i = 0; i < 3600; i++) {
		engine_run(s, NS_PER_S);
		answer_all(s, x, n);
	}
	serves(s, listener, HONEST_PORT + 2);
	all_given_back(s, &first);
	free(x);
	engine_free(s);
}

START_TEST(J4_windows_that_stay_shut)
{
	bool large = getenv("LONG") != NULL;

	stalled(large ? 1500ull << 20 : 64ull << 20, large ? 100000 : 2000, 0, true);
}
END_TEST

START_TEST(J4_windows_of_a_byte)
{
	stalled(64u << 20, 300, 1, true);
}
END_TEST

/* More of them than there is memory for: it is not exceeded, the host hears what comes in, and works as soon as some have timed out. */
START_TEST(J4_more_than_there_is_room_for)
{
	stalled(28u << 20, 6000, 0, false);
}
END_TEST

/* Programs that never read: what is sent to them fills the memory, and no more. */
START_TEST(J4_never_read)
{
	ref listener;
	struct stack *s = host(32u << 20, 4000, &listener);
	u32 n = 1500, made = 0;
	struct stranger *x = calloc(n, sizeof(*x));
	struct peer first = honest(s, listener, HONEST_PORT);

	for (u32 i = 0; i < n; i++) {
		x[i] = (struct stranger){.addr = STRANGERS + i, .port = 1024, .seq = i * 77777, .window = 60000};
		if (!meets(s, listener, &x[i], 0))
			continue;
		made++;
		for (u32 k = 0; k < 40; k++)
			say(s, &x[i], PEER_ACK | PEER_PSH, data, 1460, 0);
		engine_frames_drop(s);
	}
	printf("# %u connections, %u text dropped for want of packets\n", made, (u32)net_count(s, "tcp_rcv_pruned"));
	ck_assert_uint_gt(net_count(s, "tcp_rcv_pruned"), 0); /* it was full */
	/* What comes in is heard, and closing them gives all back. */
	engine_frames_drop(s);
	ck_assert(engine_frame_in(s, frame, net_arp(frame, net_host_mac, 1, net_peer_mac, NET_PEER, net_host_mac, NET_HOST)));
	ck_assert_uint_eq(engine_frames_drop(s), 1);
	close_all(s, x, n);
	ck_assert(peer_alive(&first));
	serves(s, listener, HONEST_PORT + 1);
	all_given_back(s, &first);
	free(x);
	engine_free(s);
}
END_TEST

/* --- J6 --- */

/* Short connections that the host closes first, from few ports: TIME-WAIT is bounded, and each port serves again at once. */
START_TEST(J6_short_connections)
{
	ref listener;
	struct stack *s = host(64u << 20, 100, &listener);
	u32 n = getenv("LONG") ? 100000 : 10000, ports = 3000, most = 0, reused;

	s->tunables.tcp_max_tw_buckets = 1000;
	for (u32 i = 0; i < n; i++) {
		/* Sequence numbers that begin below those before: timestamps tell that it is new (RFC 6191). */
		struct stranger x = {.addr = STRANGERS, .port = (u16)(1024 + i % ports), .seq = 0u - i * 100, .window = 60000};
		u32 ts = 1000 + i, to, text;
		const u8 *h;

		if (i % 7 == 0)
			x.port = 1000; /* one is used again and again */
		ck_assert_msg(meets(s, listener, &x, ts), "connection %u", i);
		ck_assert_int_eq(sock_lib_send(s, x.sk, 0, 0, data, 100, 0), 100);
		sock_close(s, x.sk);
		while ((h = next_segment(s, &to, &text)))
			x.ack = get32(h + 4) + text + !!(h[13] & PEER_FIN);
		say(s, &x, PEER_ACK, NULL, 0, ts);
		say(s, &x, PEER_ACK | PEER_FIN, NULL, 0, ts);
		engine_frames_drop(s);
		most = MAX(most, slab_in_use(s, SLAB_TCP_TIMEWAIT));
		engine_run(s, NS_PER_MS);
	}
	reused = (u32)net_count(s, "tcp_timewait_reused");
	ck_assert_uint_eq(most, 1000);
	ck_assert_uint_gt(reused, n / 10);
	ck_assert_uint_gt(net_count(s, "tcp_timewait_overflow"), n / 10);
	engine_run(s, 61 * NS_PER_S);
	engine_frames_drop(s);
	back_to(s, 1);
	engine_free(s);
}
END_TEST

/* --- J9 --- */

/* Tuples whose addresses and ports give one sum, one exclusive or and one product of 31: they fall evenly, and a look-up stays short. */
START_TEST(J9_tuples_that_collide)
{
	ref listener;
	u32 n = getenv("LONG") ? 100000 : 20000, count[256] = {0}, longest = 0, buckets = 1;
	struct stack *s = host(256u << 20, n, &listener);
	u8 *chain;
	double mean = n / 256.0, chi = 0;

	s->tunables.tcp_syncookies = 0;
	while (buckets < n)
		buckets *= 2;
	chain = calloc(buckets, 1);
	for (u32 i = 0; i < n; i++) {
		/* The port takes back what the address adds, in steps of the multiplier. */
		u32 low = i % 2000, high = i / 2000;
		struct stranger x = {.addr = STRANGERS + (high << 16 | high << 8) + low, .port = (u16)(64000 - low * 31), .seq = i, .window = 1000};

		say(s, &x, PEER_SYN, NULL, 0, 0);
		engine_frames_drop(s);
	}
	ck_assert_uint_ge(slab_in_use(s, SLAB_TCP_REQUEST), n * 7 / 10);
	n = slab_in_use(s, SLAB_TCP_REQUEST);
	mean = n / 256.0;
	for (u32 i = 0; i < slab_touched(s, SLAB_TCP_REQUEST); i++) {
		struct conn *c = slab_at(s, SLAB_TCP_REQUEST, i);

		if (!c)
			continue;
		count[c->by_tuple.hash & 255]++;
		longest = MAX(longest, ++chain[c->by_tuple.hash & (buckets - 1)]);
	}
	for (u32 i = 0; i < 256; i++)
		chi += (count[i] - mean) * (count[i] - mean) / mean;
	ck_assert_msg(chi > 175 && chi < 350, "chi square %f", chi); /* by chance once in 10,000 */
	ck_assert_uint_le(longest, 12);
	free(chain);
	engine_free(s);
}
END_TEST

/* --- J11 --- */

static void fill_reassembly(struct stack *s, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		struct net_ip4 ip = {.src = STRANGERS + i / 60000, .proto = PROTO_UDP, .id = (u16)i, .fragment = 0x2000};

		engine_frame_in(s, frame, net_ip4(frame, &ip, data, 1400));
	}
}

/* Everything that may hold packets does: a connection from before still moves bytes both ways. */
START_TEST(J11_everything_full)
{
	enum { N = 400 };
	static struct stranger x[N];
	ref listener;
	struct stack *s = host(28u << 20, 1000, &listener);
	struct peer p = honest(s, listener, HONEST_PORT);
	u32 sent = 0, received = 0, begin = p.ack, turns = 0;

	for (u32 i = 0; i < N; i++) {
		x[i] = (struct stranger){.addr = STRANGERS + i, .port = 1024, .seq = i * 77777, .window = 60000};
		meets(s, listener, &x[i], 0);
	}
	for (u32 i = 0; i < N; i++) {
		if (!x[i].sk)
			continue;
		if (i & 1) { /* out of order */
			x[i].seq += 10;
			for (u32 k = 0; k < 40; k++)
				say(s, &x[i], PEER_ACK, data, 1400, 0);
		} else { /* nobody acknowledges it */
			while (sock_lib_send(s, x[i].sk, 0, 0, data, sizeof(data), LX_MSG_DONTWAIT) > 0)
				;
		}
		engine_frames_drop(s);
		if (i % 4 == 0)
			fill_reassembly(s, 100);
	}
	ck_assert(tcp_memory_tight(s));
	while (sent < 300000 || received < 300000) {
		s64 n = sock_lib_send(s, p.sk, 0, 0, data, MIN(300000 - sent, 20000u), LX_MSG_DONTWAIT);

		ck_assert_uint_lt(turns++, 2000);
		if (n > 0)
			sent += (u32)n;
		if (received < 300000) {
			peer_send(&p, PEER_ACK | PEER_PSH, data, 1000);
			n = sock_lib_recv(s, p.sk, data, 1000, LX_MSG_DONTWAIT, NULL);
			if (n > 0)
				received += (u32)n;
			else
				p.seq -= 1000; /* it was dropped: again */
		}
		engine_run(s, 5 * NS_PER_MS);
		peer_ack(&p);
	}
	for (u32 i = 0; i < 100 && p.ack - begin < sent; i++) {
		engine_run(s, 100 * NS_PER_MS);
		peer_ack(&p);
	}
	ck_assert_uint_eq(p.ack - begin, sent);
	printf("# %u turns\n", turns);
	ck_assert_uint_eq(net_count(s, "invariant"), 0);
	engine_free(s);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, J4_windows_that_stay_shut);
	tcase_add_test(tc, J4_windows_of_a_byte);
	tcase_add_test(tc, J4_more_than_there_is_room_for);
	tcase_add_test(tc, J4_never_read);
	tcase_add_test(tc, J6_short_connections);
	tcase_add_test(tc, J9_tuples_that_collide);
	tcase_add_test(tc, J11_everything_full);
}

int main(void)
{
	return check_lines_case("exhaust", getenv("LONG") ? 1800 : 240, add_tests);
}
