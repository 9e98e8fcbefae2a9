/*
 * Frames that would be right in the state they come in, but for one to three changes: row L of README.md.
 *
 * For every TCP state a host is brought there, fed a few dozen mutated frames of all protocols with time passing in between, and
 * then asked: are the invariants of all sockets whole, does a new connection work, and is everything given back when all is
 * closed and an hour has passed. Most are given right checksums, so that they are not refused at the door.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/tcp.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { IP = 14, STREAM = 1, DATAGRAM = 2, BATCH = 40, UDP_PORT = 9, SPARE_PORT = 81 };

struct test {
	struct random random;
	struct peer p;
	ref udp, spare;
};

static u8 frame[NET_FRAME_MAX], data[4000];

static u32 pick(struct test *t, u32 bound)
{
	return random_below(&t->random, bound);
}

static void enter(struct test *t, enum peer_stage stage)
{
	peer_enter(&t->p, stage);
	if (stage == STAGE_ESTABLISHED || stage == STAGE_CLOSE_WAIT)
		sock_lib_send(t->p.s, t->p.sk, 0, 0, data, 3000, 0);
}

/* --- frames as they might come --- */

static u32 make_tcp(struct test *t)
{
	static const u16 flags[] = {PEER_ACK, PEER_ACK | PEER_PSH, PEER_ACK | PEER_FIN, PEER_RST, PEER_RST | PEER_ACK, PEER_SYN,
		PEER_SYN | PEER_ACK, PEER_ACK | PEER_URG, 0, 0x1ff};
	u8 options[] = {1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 5, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4};
	static const s32 deltas[] = {0, 0, 0, 0, 1, -1, 1000, -1000, 65535, -65536, 0x7fffffff};
	struct net_tcp tcp = {
		.sport = t->p.port,
		.dport = t->p.host_port,
		.seq = t->p.seq + (u32)deltas[pick(t, ARRAY_LEN(deltas))],
		.ack = t->p.ack + (u32)deltas[pick(t, ARRAY_LEN(deltas))],
		.flags = flags[pick(t, ARRAY_LEN(flags))],
		.window = (u16)(pick(t, 4) ? 65535 : pick(t, 3)),
		.urgent = (u16)pick(t, 2000),
		.options = options,
		.options_len = t->p.rich ? 12 : 0,
	};

	if (!pick(t, 3))
		tcp.options_len = 4 * pick(t, sizeof(options) / 4 + 1);
	put32(options + 4, (u32)(t->p.s->now_ns / NS_PER_MS) + 5000 - (pick(t, 8) ? 0 : 10000));
	put32(options + 8, t->p.ts_host);
	for (u32 i = 16; i < 32; i += 4)
		put32(options + i, t->p.ack - 1460 + 730 * pick(t, 8));
	return net_tcp(frame, &(struct net_ip4){0}, &tcp, data, pick(t, 2) ? 0 : pick(t, 1400));
}

static u32 make_error(struct test *t)
{
	static const u8 types[] = {3, 3, 3, 11, 12, 4, 5};
	struct net_ip4 quoted = {.src = NET_HOST, .dst = NET_PEER}, ip = {0};
	struct net_tcp tcp = {.sport = t->p.host_port, .dport = t->p.port, .seq = t->p.ack - pick(t, 2000), .ack = t->p.seq};
	u32 len = pick(t, 4) ? net_tcp(frame, &quoted, &tcp, data, 100) : net_udp(frame, &quoted, UDP_PORT, 4242, data, 100);
	u8 quote[200];

	len = MIN(len - IP, 28 + pick(t, 20));
	memcpy(quote, frame + IP, len);
	return net_icmp(frame, &ip, types[pick(t, ARRAY_LEN(types))], (u8)pick(t, 16), pick(t, 2000), quote, len);
}

static u32 make_fragment(struct test *t)
{
	struct net_ip4 ip = {
		.proto = (u8)(pick(t, 2) ? PROTO_UDP : PROTO_TCP),
		.id = (u16)pick(t, 3),
		.fragment = (u16)(pick(t, 4) * 100 | (pick(t, 3) ? 0x2000 : 0)),
	};

	return net_ip4(frame, &ip, data, 800);
}

static u32 make_frame(struct test *t)
{
	struct net_ip4 ip = {0};

	switch (pick(t, 16)) {
	case 0:
		return net_udp(frame, &ip, 4242, UDP_PORT, data, pick(t, 1400));
	case 1:
		return net_icmp(frame, &ip, 8, 0, 1, data, pick(t, 1400));
	case 2:
		return net_arp(frame, net_host_mac, (u16)(1 + pick(t, 2)), net_peer_mac, NET_PEER, net_host_mac, NET_HOST);
	case 3:
	case 4:
		return make_error(t);
	case 5:
		return make_fragment(t);
	default:
		return make_tcp(t);
	}
}

/* --- changes --- */

static u32 mutate_once(struct test *t, u32 len)
{
	static const u16 edges[] = {0, 1, 2, 3, 4, 7, 8, 19, 20, 21, 40, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff};
	/* Mostly in the headers. */
	u32 at = IP + pick(t, pick(t, 4) ? 44 : MAX(len, 64u));

	switch (pick(t, 8)) {
	case 0:
		return pick(t, len + 1);
	case 1:
		memset(frame + len, (int)pick(t, 256), 64);
		return len + pick(t, 64);
	case 2:
	case 3:
		put16(frame + at, edges[pick(t, ARRAY_LEN(edges))]);
		return len;
	case 4:
		frame[at] = (u8)edges[pick(t, ARRAY_LEN(edges))];
		return len;
	case 5:
		frame[at] ^= (u8)(1 << pick(t, 8));
		return len;
	case 6:
		put16(frame + at, (u32)get16(frame + at) + pick(t, 5) - 2);
		return len;
	default:
		frame[pick(t, IP)] ^= (u8)(pick(t, 8) ? 0 : 1 << pick(t, 8));
		return len;
	}
}

/* Makes the checksums right again, as far as the lengths allow. */
static void fix_sums(u32 len)
{
	static const u8 places[256] = {[PROTO_TCP] = 16, [PROTO_UDP] = 6, [PROTO_ICMP] = 2};
	u8 *h = frame + IP;
	u32 header_len = (h[0] & 15u) * 4, total = get16(h + 2), place = places[h[9]], sum;
	struct addr src = addr_v4(get32(h + 12)), dst = addr_v4(get32(h + 16));

	if (len < IP + 20 || header_len < 20 || header_len > len - IP)
		return;
	net_fix_ip4(frame);
	if (!place || total > len - IP || total < header_len + place + 2 || get16(h + 6) & 0x3fff)
		return;
	put16(h + header_len + place, 0);
	sum = h[9] == PROTO_ICMP ? 0 : checksum_pseudo(&src, &dst, h[9], total - header_len);
	put16(h + header_len + place, checksum_finish(checksum_add(sum, h + header_len, total - header_len)));
}

static void feed(struct test *t)
{
	u32 len = make_frame(t);

	for (u32 n = pick(t, 4); n; n--)
		len = mutate_once(t, len);
	if (pick(t, 8))
		fix_sums(len);
	engine_frame_in(t->p.s, frame, len);
	/* What a program does meanwhile. */
	if (t->p.sk && !pick(t, 8))
		sock_lib_recv(t->p.s, t->p.sk, data, sizeof(data), 0, NULL);
	if (t->p.sk && !pick(t, 16))
		sock_lib_send(t->p.s, t->p.sk, 0, 0, data, pick(t, 3000), 0);
	if (!pick(t, 8))
		engine_run(t->p.s, pick(t, 300) * NS_PER_MS);
	if (!pick(t, 4))
		engine_frames_drop(t->p.s);
}

/* --- questions --- */

static void check_invariants(struct stack *s)
{
	ck_assert_uint_eq(net_count(s, "invariant"), 0);
	ck_assert_uint_eq(net_count(s, "stale_free"), 0);
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);
		const char *broken = sk ? tcp_check(s, sk) : NULL;

		ck_assert_msg(!broken, "%s", broken);
	}
}

static void check_new_connection(struct test *t)
{
	struct peer other = peer_new(t->p.s);
	struct addr addr = addr_v4(NET_PEER);

	/* Whatever the frames made of the neighbour: it is there. */
	engine_frames_drop(t->p.s);
	engine_frame_in(t->p.s, frame, net_arp(frame, net_host_mac, 1, net_peer_mac, NET_PEER, net_host_mac, NET_HOST));
	neigh_confirm(t->p.s, &addr);
	engine_frames_drop(t->p.s);
	other.listener = t->spare;
	other.host_port = SPARE_PORT;
	other.port = 50000;
	other.seq = (u32)random_u64(&t->random);
	peer_connect(&other);
	ck_assert(peer_alive(&other));
	sock_close(t->p.s, other.sk);
	peer_send(&other, PEER_RST | PEER_ACK, NULL, 0);
}

static void check_all_given_back(struct test *t)
{
	struct stack *s = t->p.s;
	static const enum slab_kind kinds[] = {SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_FRAME, SLAB_SOCK, SLAB_TCP,
		SLAB_TCP_REQUEST, SLAB_TCP_TIMEWAIT, SLAB_REASM, SLAB_PORT};

	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk && !(sk->flags & SOCK_ORPHAN))
			sock_close(s, sk->conn.slab.self);
	}
	stack_run_loopback(s);
	for (u32 minute = 0; minute < 60; minute++) {
		engine_run(s, 60 * NS_PER_S);
		engine_frames_drop(s);
	}
	for (u32 i = 0; i < ARRAY_LEN(kinds); i++)
		ck_assert_msg(!slab_in_use(s, kinds[i]), "%u objects of kind %u left", slab_in_use(s, kinds[i]), kinds[i]);
	ck_assert(stack_idle(s));
}

static void one_batch(struct test *t, enum peer_stage stage)
{
	struct stack *s = engine_new_ready(NULL);

	t->p = peer_new(s);
	t->p.seq = (u32)random_u64(&t->random);
	t->p.rich = pick(t, 2);
	t->udp = sock_lib_open(s, DATAGRAM);
	t->spare = sock_lib_open(s, STREAM);
	ck_assert_int_eq(sock_lib_bind(s, t->udp, 0, UDP_PORT), 0);
	ck_assert_int_eq(sock_lib_bind(s, t->spare, 0, SPARE_PORT), 0);
	ck_assert_int_eq(sock_listen(s, t->spare, 100), 0);
	enter(t, stage);
	engine_frames_drop(s);
	for (u32 i = 0; i < BATCH; i++)
		feed(t);
	check_invariants(s);
	check_new_connection(t);
	check_all_given_back(t);
	check_invariants(s);
	engine_free(s);
}

START_TEST(L_mutated_frames_in_state)
{
	u32 batches = (getenv("LONG") ? 5000000u : 200000u) / STAGES / BATCH;
	u8 seed[16] = {(u8)_i, 'm', 'u', 't', 'a', 't', 'e'};
	struct test t = {0};

	random_seed(&t.random, seed);
	for (u32 i = 0; i < batches; i++)
		one_batch(&t, (enum peer_stage)_i);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("mutate");
	TCase *tc = tcase_create("mutate");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, getenv("LONG") ? 1800 : 120);
	tcase_add_loop_test(tc, L_mutated_frames_in_state, STAGE_NONE, STAGES);
	return suite;
}

int main(void)
{
	return check_lines_main(suite);
}
