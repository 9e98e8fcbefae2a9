/*
 * Segments and SACK blocks that are chosen to be dear: rows I3 to I6 of README.md. The cost of a packet is its time; the cheapest of many
 * batches is taken for it, so that a busy machine does not count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { TENTHS = 10, BATCH = 64, OTHER_PORT = 5555, FLAT = 8 };

static u8 data[100000], frame[NET_FRAME_MAX];

static u32 chance(u32 *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static u64 clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (u64)t.tv_sec * NS_PER_S + (u64)t.tv_nsec;
}

static struct tcp *block(const struct peer *p)
{
	return tcp_of(p->s, sock_get(p->s, p->sk));
}

/* --- the cost of packets: the cheapest batch of each tenth of them --- */

struct cost {
	u64 since_ns, least_ns[TENTHS];
	u32 n, all;
};

static void cost_begin(struct cost *c, u32 all)
{
	memset(c, 0xff, sizeof(*c));
	c->n = 0;
	c->all = all;
	c->since_ns = clock_ns();
}

static void cost_packet(struct cost *c)
{
	u32 tenth = (u32)((u64)c->n * TENTHS / c->all);
	u64 now;

	if (++c->n % BATCH)
		return;
	now = clock_ns();
	c->least_ns[tenth] = MIN(c->least_ns[tenth], now - c->since_ns);
	c->since_ns = now;
}

static void cost_flat(const struct cost *c, const char *what)
{
	u64 first = c->least_ns[0] / BATCH, last = c->least_ns[TENTHS - 1] / BATCH;

	printf("# %s: %llu ns a packet in the first tenth, %llu ns in the last\n", what, (unsigned long long)first,
		(unsigned long long)last);
	ck_assert_msg(last <= FLAT * first + 2000, "%s: %llu ns a packet at first, %llu ns in the end", what, (unsigned long long)first,
		(unsigned long long)last);
}

/* What packets occupy. */
static u64 memory(const struct stack *s)
{
	return slab_in_use(s, SLAB_PKT_SMALL) * (u64)slab_of(s, SLAB_PKT_SMALL)->object_bytes +
	       slab_in_use(s, SLAB_PKT_MEDIUM) * (u64)slab_of(s, SLAB_PKT_MEDIUM)->object_bytes +
	       slab_in_use(s, SLAB_PKT_LARGE) * (u64)slab_of(s, SLAB_PKT_LARGE)->object_bytes +
	       slab_in_use(s, SLAB_PKT_HUGE) * (u64)slab_of(s, SLAB_PKT_HUGE)->object_bytes;
}

/* Reads so many bytes: a call takes no more packets than a plan has room for. */
static bool reads(struct peer *p, u32 len)
{
	while (len) {
		s64 n = sock_lib_recv(p->s, p->sk, data, len, 0, NULL);

		if (n <= 0)
			return false;
		len -= (u32)n;
	}
	return true;
}

static struct peer another(struct peer *p)
{
	struct peer other = peer_new(p->s);

	other.port = OTHER_PORT;
	other.listener = p->listener;
	peer_connect(&other);
	return other;
}

/* --- I3: SegmentSmack (CVE-2018-5390) --- */

enum order { FORWARD, REVERSE, RANDOM, MIDDLE, ORDERS };

/* One byte of the window, never one beside another. */
static u32 place(enum order order, u32 i, u32 n, u32 *seed)
{
	switch (order) {
	case FORWARD:
		return 2 * i + 1;
	case REVERSE:
		return 2 * (n - i) - 1;
	case MIDDLE: /* from the middle outwards */
		return i & 1 ? n + i : n - 1 - i;
	default:
		return 2 * (chance(seed) % n) + 1;
	}
}

START_TEST(I3_single_bytes)
{
	static const char *const names[ORDERS] = {"I3 forward", "I3 reverse", "I3 random", "I3 from the middle"};
	struct peer p = peer_new(engine_new_ready(NULL)), other;
	u32 rounds = getenv("LONG") ? 20 : 1, seed = 1, n, most = 0;
	u64 before, highest = 0;
	struct cost cost;
	struct tcp *t;
	struct sock *sk;

	peer_enter(&p, STAGE_ESTABLISHED);
	peer_ack(&p);
	other = another(&p);
	engine_frames_drop(p.s);
	sk = sock_get(p.s, p.sk);
	t = block(&p);
	n = tcp_rcv_window(t) / 2;
	before = memory(p.s);
	cost_begin(&cost, n * rounds);
	for (u32 i = 0; i < n * rounds; i++) {
		struct tcp_ranges *r;

		peer_send_at(&p, PEER_ACK, p.seq + place((enum order)_i, i % n, n, &seed), p.ack, "x", 1);
		r = tcp_ooo(p.s, t);
		most = MAX(most, r ? r->count : 0);
		highest = MAX(highest, memory(p.s) - before);
		engine_frames_drop(p.s);
		cost_packet(&cost);
		if (i % (n / 8) == 0) {
			ck_assert_ptr_null(tcp_check(p.s, sk));
			ck_assert(peer_alive(&other));
		}
	}
	cost_flat(&cost, names[_i]);
	ck_assert_uint_le(most, 1100);
	ck_assert_uint_le(highest, 2u * (u32)sk->rcvbuf + (64u << 10)); /* and the set of ranges itself */
	/* The window is as it was, and what is in order goes before. */
	for (u32 i = 0; i < 4; i++)
		peer_send(&p, PEER_ACK | PEER_PSH, data, 1000);
	ck_assert(reads(&p, 4000));
	ck_assert(peer_alive(&other));
	engine_free(p.s);
}
END_TEST

/* One segment over all holes: what is stored is split at each of them. */
START_TEST(I3_one_over_all_holes)
{
	struct peer p = peer_new(engine_new_ready(NULL));
	u32 rounds = 200, per_round = 200;
	struct cost cost;

	peer_enter(&p, STAGE_ESTABLISHED);
	peer_ack(&p);
	cost_begin(&cost, rounds * per_round);
	for (u32 k = 0; k < rounds; k++) {
		for (u32 i = 1; i < per_round; i++) {
			peer_send_at(&p, PEER_ACK, p.seq + 2 * i, p.ack, data, 1);
			cost_packet(&cost);
		}
		peer_send(&p, PEER_ACK, data, 1000);
		cost_packet(&cost);
		ck_assert(reads(&p, 1000));
		engine_frames_drop(p.s);
	}
	ck_assert_uint_eq(block(&p)->ooo_bytes, 0);
	cost_flat(&cost, "I3 over all holes");
	engine_free(p.s);
}
END_TEST

/* --- a host that sends far ahead in tiny segments --- */

static struct peer flooded(u32 mss, u32 features)
{
	struct stack_config config = net_config();
	u8 options[] = {2, 4, (u8)(mss >> 8), (u8)mss, 1, 1, 4, 2, 1, 3, 3, 14};
	struct net_tcp tcp = {.sport = 4242, .dport = 80, .seq = 1000000, .flags = PEER_SYN, .window = 65535, .options = options,
		.options_len = sizeof(options)};
	struct peer p;
	struct peer_segment segment;
	int error;

	config.features = features;
	config.tunables.tcp_wmem[1] = config.tunables.tcp_wmem[2] = 4 << 20;
	p = peer_new(engine_new_ready(&config));
	p.listener = sock_lib_open(p.s, LX_SOCK_STREAM);
	ck_assert_int_eq(sock_lib_bind(p.s, p.listener, 0, 80), 0);
	ck_assert_int_eq(sock_listen(p.s, p.listener, 10), 0);
	engine_frame_in(p.s, frame, net_tcp(frame, &(struct net_ip4){0}, &tcp, NULL, 0));
	ck_assert(peer_next(&p, &segment));
	p.seq++;
	p.ack = segment.seq + 1;
	engine_run(p.s, 10 * NS_PER_MS);
	peer_send(&p, PEER_ACK, NULL, 0);
	p.sk = sock_accept(p.s, p.listener, &error);
	ck_assert(p.sk);
	ck_assert_uint_eq(block(&p)->snd_wscale, 14);
	return p;
}

static void send_all(struct peer *p)
{
	while (sock_lib_send(p->s, p->sk, 0, 0, data, sizeof(data), LX_MSG_DONTWAIT) > 0)
		engine_frames_drop(p->s);
	engine_frames_drop(p->s);
}

/* Grows the window until so many bytes are in flight. */
static void far_ahead(struct peer *p, u32 bytes)
{
	struct tcp *t = block(p);

	for (u32 i = 0; tcp_flight(t) < bytes; i++) {
		ck_assert_uint_lt(i, 1000000);
		send_all(p);
		if (tcp_flight(t) >= bytes)
			break;
		engine_run(p->s, NS_PER_MS);
		p->ack = t->snd_nxt;
		peer_send(p, PEER_ACK, NULL, 0);
		engine_frames_drop(p->s);
	}
	p->ack = t->snd_una;
}

static void sack(struct peer *p, u32 ack, const struct tcp_sack_block *blocks, u32 n)
{
	u8 options[40] = {1, 1, 5};
	struct net_tcp tcp = {.sport = p->port, .dport = p->host_port, .seq = p->seq, .ack = ack, .flags = PEER_ACK, .window = 65535,
		.options = options, .options_len = 4 + 8 * n};

	options[3] = (u8)(2 + 8 * n);
	for (u32 i = 0; i < n; i++) {
		put32(options + 4 + 8 * i, blocks[i].start);
		put32(options + 8 + 8 * i, blocks[i].end);
	}
	engine_frame_in(p->s, frame, net_tcp(frame, &(struct net_ip4){0}, &tcp, NULL, 0));
}

/* --- I5: SACK slowness (CVE-2019-11478, CVE-2019-5599) --- */

START_TEST(I5_alternating_blocks)
{
	struct peer p = flooded(_i < 3 ? 48 : 536, 0), other;
	struct sock *sk = sock_get(p.s, p.sk);
	struct tcp *t = block(&p);
	u32 n = getenv("LONG") ? 200000 : 8000, seed = 7, order = (u32)_i % 3, mss, most = 0, segments;
	struct tcp_sent *r;
	struct cost cost;
	u64 before;

	far_ahead(&p, _i < 3 ? 1 << 20 : 2 << 20);
	other = another(&p);
	mss = t->mss;
	segments = tcp_flight(t) / mss;
	before = memory(p.s);
	cost_begin(&cost, n);
	for (u32 i = 0; i < n; i++) {
		struct tcp_sack_block blocks[4];

		for (u32 k = 0; k < 4; k++) {
			/* Forward, backward, anywhere: every second segment. */
			u32 at = order == 0 ? i * 4 + k : order == 1 ? segments - 2 - i * 4 - k : chance(&seed);

			at = at % (segments / 2) * 2 + 1;
			blocks[k].start = t->snd_una + at * mss;
			blocks[k].end = blocks[k].start + mss;
		}
		sack(&p, t->snd_una, blocks, 4);
		engine_frames_drop(p.s);
		cost_packet(&cost);
		r = tcp_record(p.s, t);
		ck_assert_msg(r, "no record at ACK %u: error %d", i, sk->error);
		most = MAX(most, r->count);
		if (i % (n / 8) == 0) {
			ck_assert_ptr_null(tcp_check(p.s, sk));
			ck_assert(peer_alive(&other));
		}
	}
	cost_flat(&cost, order == 0 ? "I5 forward" : order == 1 ? "I5 backward" : "I5 random");
	ck_assert_uint_le(most, _i < 3 ? 2000 : 8000);
	ck_assert_uint_le(memory(p.s), before + 2 * PKT_HUGE_ROOM);
	/* All is well when the peer says so. */
	p.ack = t->snd_nxt;
	peer_send(&p, PEER_ACK, NULL, 0);
	ck_assert_uint_eq(t->snd_una, p.ack);
	ck_assert_ptr_null(tcp_check(p.s, sk));
	engine_free(p.s);
}
END_TEST

/* --- I4: SACK panic (CVE-2019-11477) --- */

/* Text in the smallest pieces, in super-frames and without: merged, split, SACKed and sent again in every way. */
START_TEST(I4_merged_and_split)
{
	struct peer p = flooded(48, _i & 1 ? DEVICE_CSUM | DEVICE_TSO4 : 0);
	struct sock *sk = sock_get(p.s, p.sk);
	struct tcp *t = block(&p);
	u32 seed = (u32)_i + 1;

	sock_lib_set(p.s, p.sk, LX_SOL_TCP, LX_TCP_NODELAY, 1);
	for (u32 round = 0; round < 60; round++) {
		for (u32 i = 0; i < 400; i++)
			sock_lib_send(p.s, p.sk, 0, 0, data, 1 + chance(&seed) % 40, chance(&seed) % 4 ? LX_MSG_MORE : 0);
		if (round % 8 == 0)
			send_all(&p);
		for (u32 i = 0; i < 20; i++) {
			struct tcp_sack_block blocks[4];
			u32 flight = tcp_flight(t);

			for (u32 k = 0; flight && k < 4; k++) {
				/* Not at the borders of segments, and of more than 64 KiB. */
				blocks[k].start = t->snd_una + chance(&seed) % flight;
				blocks[k].end = seq_min(t->snd_nxt, blocks[k].start + 1 + chance(&seed) % (i % 3 ? 300 : 200000));
			}
			if (flight)
				sack(&p, t->snd_una + (i % 7 ? 0 : chance(&seed) % (flight / 8 + 1)), blocks, 1 + chance(&seed) % 4);
			engine_run(p.s, chance(&seed) % 10 * NS_PER_MS);
			engine_frames_drop(p.s);
			ck_assert_ptr_null(tcp_check(p.s, sk));
		}
		if (round % 5 == 4) {
			engine_run(p.s, 2 * NS_PER_S); /* timeouts: all of it again */
			engine_frames_drop(p.s);
			ck_assert_ptr_null(tcp_check(p.s, sk));
		}
		p.ack = t->snd_una + tcp_flight(t) / 2;
		peer_send(&p, PEER_ACK, NULL, 0);
	}
	for (u32 i = 0; i < 200 && t->snd_una != t->snd_end; i++) {
		if (i % 10 == 0) /* what MSG_MORE keeps goes too */
			sock_lib_send(p.s, p.sk, 0, 0, data, 1, 0);
		engine_run(p.s, NS_PER_S);
		engine_frames_drop(p.s);
		p.ack = t->snd_nxt;
		peer_send(&p, PEER_ACK, NULL, 0);
	}
	ck_assert_uint_eq(t->snd_una, t->snd_end);
	ck_assert_uint_eq(sk->tx_charged, 0);
	ck_assert_uint_eq(net_count(p.s, "invariant"), 0);
	engine_free(p.s);
}
END_TEST

/* --- I6: blocks that say what cannot be --- */

enum { EDGES = 12 };

static u32 edge(const struct tcp *t, u32 i)
{
	const u32 values[EDGES] = {t->snd_una, t->snd_una - 1, t->snd_una + 1, t->snd_una - 100000, t->snd_nxt, t->snd_nxt - 1,
		t->snd_nxt + 1, t->snd_nxt + 100000, t->snd_una + 0x80000000u, t->snd_una - 0x80000001u, 0, UINT32_MAX};

	return values[i];
}

static bool possible(const struct tcp *t, const struct tcp_sack_block *b)
{
	return seq_lt(b->start, b->end) && seq_geq(b->start, t->snd_una) && seq_leq(b->end, t->snd_nxt) &&
	       b->end - b->start <= tcp_flight(t);
}

/* RFC 2883 4: then the first reports a duplicate. */
static bool within(const struct tcp_sack_block *b)
{
	return seq_geq(b[0].start, b[1].start) && seq_leq(b[0].end, b[1].end);
}

/* What two blocks SACK that do not overlap in part. */
static u32 expected_sacked(const struct tcp *t, const struct tcp_sack_block *b, u32 n)
{
	u32 sacked = 0;

	if (!possible(t, &b[n - 1]))
		return n == 2 && !within(b) ? b[0].end - b[0].start : 0;
	sacked = b[n - 1].end - b[n - 1].start;
	if (n == 2 && !within(b))
		sacked += b[0].end - b[0].start;
	return sacked;
}

/* Every pair of edges, alone and behind a right block: what lies in flight is taken, nothing else. */
START_TEST(I6_edges)
{
	for (u32 i = 0; i < EDGES * EDGES * 2; i++) {
		struct peer p = flooded(1460, 0);
		struct tcp *t = block(&p);
		struct tcp_sack_block blocks[2];
		u32 last = i & 1, sacked;
		struct tcp_sent *r;

		far_ahead(&p, 8 * 1460);
		blocks[0] = (struct tcp_sack_block){t->snd_una + 1460, t->snd_una + 2 * 1460};
		blocks[last].start = edge(t, i / 2 % EDGES);
		blocks[last].end = edge(t, i / 2 / EDGES);
		sacked = expected_sacked(t, blocks, last + 1);
		sack(&p, t->snd_una, blocks, last + 1);
		r = tcp_record(p.s, t);
		ck_assert_ptr_nonnull(r);
		ck_assert_msg(r->sacked == sacked, "%s edges %u and %u: %u bytes SACKed, not %u", last ? "second," : "alone,", i / 2 % EDGES,
			i / 2 / EDGES, r->sacked, sacked);
		ck_assert_ptr_null(tcp_check(p.s, sock_get(p.s, p.sk)));
		p.ack = t->snd_nxt;
		peer_send(&p, PEER_ACK, NULL, 0);
		ck_assert_uint_eq(t->snd_una, p.ack);
		engine_free(p.s);
	}
}
END_TEST

/* Reports of duplicates that cannot be take nothing back: the window stays reduced. */
START_TEST(I6_duplicates_that_cannot_be)
{
	static const s32 offsets[][2] = {{-1, -2}, {-1, INT32_MAX}, {-100000, -1}, {-1, 1}, {-2000000000, 0}, {-1, 2000000000},
		{INT32_MIN, 0}};
	struct peer p = flooded(1460, 0);
	struct tcp *t = block(&p);
	struct tcp_sack_block b;
	u32 threshold;

	far_ahead(&p, 60 * 1460);
	engine_run(p.s, 20 * NS_PER_MS);
	b = (struct tcp_sack_block){t->snd_una + 1460, t->snd_una + 20 * 1460};
	sack(&p, t->snd_una, &b, 1);
	engine_run(p.s, 20 * NS_PER_MS);
	engine_frames_drop(p.s);
	ck_assert_int_eq(t->recovery, TCP_RECOVERY);
	ck_assert_uint_gt(t->undo_again, 0);
	threshold = t->ssthresh;
	for (u32 i = 0; i < ARRAY_LEN(offsets); i++) {
		u32 again = t->undo_again;

		b.start = t->snd_una + (u32)offsets[i][0];
		b.end = t->snd_una + (u32)offsets[i][1];
		sack(&p, t->snd_una, &b, 1);
		ck_assert_msg(t->undo_again == again, "case %u was believed", i);
		ck_assert_uint_eq(t->ssthresh, threshold);
		ck_assert_int_eq(t->recovery, TCP_RECOVERY);
	}
	ck_assert_uint_eq(net_count(p.s, "tcp_full_undo"), 0);
	engine_free(p.s);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, I3_single_bytes, 0, ORDERS);
	tcase_add_test(tc, I3_one_over_all_holes);
	tcase_add_loop_test(tc, I5_alternating_blocks, 0, 6);
	tcase_add_loop_test(tc, I4_merged_and_split, 0, 6);
	tcase_add_test(tc, I6_edges);
	tcase_add_test(tc, I6_duplicates_that_cannot_be);
}

int main(void)
{
	return check_lines_case("smack", 300, add_tests);
}
