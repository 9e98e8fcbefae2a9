/*
 * Text that comes in any order (tcp_receive.c), beside a model that has one entry for each byte:
 * the first copy of each is delivered, once and in order; each acknowledgement says what has come,
 * whatever overlaps whatever; what is stored is charged, and given back.
 */
#include <string.h>

#include "stack/linux.h"
#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/peer.h"
#include "tests/lib/sock_lib.h"

enum { SPAN = 20000, SEGMENT = 9000, BLOCKS = 4 };
enum {
	SMALL = PKT_SMALL_ROOM + sizeof(struct pkt),
	MEDIUM = PKT_MEDIUM_ROOM + sizeof(struct pkt)
}; /* what packets occupy */

/* The connection, and what the peer has sent of a stretch of SPAN bytes that begins at `base`. */
static struct {
	struct peer p;
	struct sock *sk;
	struct tcp *t;
	u32 base, nxt; /* from base on */
	u8 copy;       /* makes each copy of a byte another */
	bool have[SPAN];
	u8 byte[SPAN];
} m;

/* The last acknowledgement. */
static struct {
	u32 count, blocks;
	struct tcp_sack_block block[BLOCKS];
} answer;

static u64 random_state;

static u32 dice(u32 sides)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(random_state >> 33) % sides;
}

/* A connection with SACK and without timestamps, so that there is room for four blocks. */
static void begin(void)
{
	static const u8 options[] = {2, 4, 1460 >> 8, 1460 & 0xff, 1, 1, 4, 2};
	u8 frame[128];
	struct net_tcp syn = {.dport = 80,
		.flags = PEER_SYN,
		.window = 65535,
		.options = options,
		.options_len = sizeof(options)};
	struct peer_segment segment;
	int error;

	memset(&m, 0, sizeof(m));
	m.p = peer_new(engine_new_ready(NULL));
	peer_enter(&m.p, STAGE_LISTEN);
	syn.sport = m.p.port;
	syn.seq = m.p.seq++;
	engine_frame_in(m.p.s, frame, net_tcp(frame, &(struct net_ip4){0}, &syn, NULL, 0));
	ck_assert(peer_next(&m.p, &segment));
	m.p.ack = segment.seq + 1;
	peer_send(&m.p, PEER_ACK, NULL, 0);
	m.p.sk = sock_accept(m.p.s, m.p.listener, &error);
	m.sk = sock_get(m.p.s, m.p.sk);
	ck_assert_ptr_nonnull(m.sk);
	m.t = tcp_of(m.p.s, m.sk);
	m.base = m.p.seq;
}

static void over(void)
{
	ck_assert_uint_eq(net_count(m.p.s, "invariant"), 0);
	ck_assert_uint_eq(net_count(m.p.s, "stale_free"), 0);
	ck_assert_uint_eq(net_count(m.p.s, "no_memory"), 0);
	engine_free(m.p.s);
}

static void check(void)
{
	const char *why = tcp_check(m.p.s, m.sk);

	ck_assert_msg(!why, "%s", why);
}

static void parse_answer(const struct peer_segment *segment)
{
	u32 len;
	const u8 *h = net_payload(segment->frame, segment->frame_len, PROTO_TCP, &len);
	struct tcp_options opt;

	ck_assert(tcp_options_parse(&opt, h + 20, (u32)(segment->payload - h) - 20, false));
	answer.count++;
	answer.blocks = opt.flags & TCP_OPT_SACK ? opt.sack_count : 0;
	for (u32 i = 0; i < answer.blocks; i++)
		answer.block[i] = (struct tcp_sack_block){
			opt.sack[i].start - m.base, opt.sack[i].end - m.base};
	ck_assert_uint_eq(segment->ack - m.base, m.nxt);
	ck_assert_uint_eq(segment->len, 0);
}

/* Text comes in, and the model takes it in; the answers are read. */
static void arrive(u32 start, u32 end)
{
	static u8 text[SEGMENT];
	struct peer_segment segment;

	m.copy = (u8)(m.copy + 37);
	for (u32 i = start; i < end; i++) {
		text[i - start] = (u8)(i * 7 + m.copy);
		if (i >= m.nxt && !m.have[i]) {
			m.have[i] = true;
			m.byte[i] = text[i - start];
		}
	}
	while (m.nxt < SPAN && m.have[m.nxt])
		m.nxt++;
	memset(&answer, 0, sizeof(answer));
	peer_send_at(&m.p, PEER_ACK, m.base + start, m.p.ack, text, end - start);
	while (peer_next(&m.p, &segment))
		parse_answer(&segment);
	check();
}

/* Everything that is in order is read, and is what came first. */
static void read_all(u32 from)
{
	static u8 text[SPAN];

	ck_assert_int_eq(sock_lib_recv(m.p.s, m.p.sk, text, SPAN, 0, NULL), m.nxt - from);
	for (u32 i = from; i < m.nxt; i++)
		ck_assert_msg(text[i - from] == m.byte[i], "byte %u", i);
	peer_skip(&m.p);
	check();
}

/* How many ranges wait behind a hole; *holds: the one with that byte. */
static u32 ranges(u32 byte, struct tcp_sack_block *holds)
{
	u32 count = 0, start = 0;

	for (u32 i = m.nxt; i < SPAN; i++) {
		if (!m.have[i])
			continue;
		if (!m.have[i - 1])
			start = i;
		if (i + 1 < SPAN && m.have[i + 1])
			continue;
		count++;
		if (start <= byte && byte <= i)
			*holds = (struct tcp_sack_block){start, i + 1};
	}
	return count;
}

static bool same(struct tcp_sack_block a, struct tcp_sack_block b)
{
	return a.start == b.start && a.end == b.end;
}

/* The blocks of the answer: the duplicate, the range with what came last, others, each whole and
 * once. */
static void check_blocks(u32 start, bool ahead, struct tcp_sack_block duplicate)
{
	struct tcp_sack_block range = {0, 0}, other;
	u32 count = ranges(start, &range), first = 0;

	if (duplicate.end) {
		ck_assert_uint_gt(answer.blocks, 0);
		ck_assert(same(answer.block[0], duplicate));
		first = 1;
	}
	ck_assert_uint_eq(answer.blocks, MIN(first + count, BLOCKS));
	if (ahead && range.end)
		ck_assert_msg(same(answer.block[first], range), "%u:%u is not first", range.start,
			range.end);
	for (u32 i = first; i < answer.blocks; i++) {
		ranges(answer.block[i].start, &other);
		ck_assert_msg(same(answer.block[i], other), "%u:%u is no range",
			answer.block[i].start, answer.block[i].end);
		for (u32 k = first; k < i; k++)
			ck_assert_uint_ne(answer.block[k].start, answer.block[i].start);
	}
}

/* What is due for that text, found out before it arrives: RFC 5681 4.2, RFC 2018 4, RFC 2883 4. */
static void arrive_and_check(u32 start, u32 end)
{
	struct tcp_sack_block duplicate = {0, 0}, ignored;
	u32 before = m.nxt, held = ranges(start, &ignored);
	u64 out_of_order = net_count(m.p.s, "tcp_ooo");

	/* The first bytes of it that are there: in order, or else of one range. */
	for (u32 i = start; i < end; i++) {
		if (i < m.nxt || (m.have[i] && start >= m.nxt)) {
			if (!duplicate.end)
				duplicate.start = i;
			duplicate.end = i + 1;
		} else if (duplicate.end) {
			break;
		}
	}
	arrive(start, end);
	ck_assert_uint_eq(
		net_count(m.p.s, "tcp_ooo") - out_of_order, end > before && m.nxt == before);
	ck_assert_uint_le(answer.count, 1);
	if (m.nxt == before || held || duplicate.end)
		ck_assert_uint_eq(answer.count, 1);
	if (answer.count)
		check_blocks(start, start > before, duplicate);
}

static u32 small_in_use(void)
{
	return slab_of(m.p.s, SLAB_PKT_SMALL)->in_use;
}

/* Segments at random until all has come; `unit` divides their edges, so that they touch often. */
static void in_any_order(u32 unit, u32 most)
{
	u32 base_in_use, read = 0;

	begin();
	base_in_use = small_in_use();
	while (m.nxt < SPAN) {
		u32 low = m.nxt / unit > most ? m.nxt / unit - most : 0,
		    start = (low + dice(4 * most)) * unit,
		    end = MIN(start + (1 + dice(most)) * unit, SPAN);

		if (start >= SPAN)
			start = m.nxt;
		arrive_and_check(start, MIN(MAX(end, start + 1), SPAN));
		if (dice(8) == 0 && m.nxt > read) {
			read_all(read);
			read = m.nxt;
		}
	}
	if (m.nxt > read)
		read_all(read);
	ck_assert_uint_eq(m.sk->rx_charged, 0);
	ck_assert_uint_eq(small_in_use(), base_in_use);
	over();
}

START_TEST(tcp_order_model)
{
	static const struct {
		u32 unit, most;
	} of[] = {{100, 10}, {200, 7}, {1, 1460}, {10, 30}, {1460, 1}, {500, 6}, {60, 3}};

	random_state = (u64)_i;
	in_any_order(of[(u32)_i % ARRAY_LEN(of)].unit, of[(u32)_i % ARRAY_LEN(of)].most);
}
END_TEST

static const struct tcp_sack_block none;

/* Out of order, and it is dropped. */
static void forget(u32 start, u32 end)
{
	memset(m.have + start, 0, (end - start) * sizeof(m.have[0]));
}

/* Text goes into the room left behind the packet before it, if it is small; `at`: in order, or
 * behind a hole. */
START_TEST(tcp_order_joined)
{
	const u32 room = PKT_SMALL_ROOM - PKT_HEADROOM, at = _i ? 100 : 0;

	begin();
	arrive(at, at + 1000);
	arrive(at + 1000, at + room);
	ck_assert_uint_eq(m.sk->rx_charged, SMALL);
	arrive(at + room, at + room + 1);
	ck_assert_uint_eq(m.sk->rx_charged, 2 * SMALL);
	over();

	begin();
	arrive(at, at + 5000);
	ck_assert_uint_eq(m.sk->rx_charged, MEDIUM);
	arrive(at + 5000, at + 7048);
	ck_assert_uint_eq(m.sk->rx_charged, MEDIUM);
	arrive(at + 7048, at + 9097); /* a byte too many to be copied */
	ck_assert_uint_eq(m.sk->rx_charged, 2 * MEDIUM);
	over();
}
END_TEST

/* Two ranges, the second of which has been dropped. */
static void one_dropped(u32 start, u32 end)
{
	begin();
	arrive(1000, 1100);
	arrive(start, end);
	tcp_ooo_drop_last(m.p.s, m.sk, m.t);
	forget(start, end);
	check();
	ck_assert_uint_eq(m.sk->rx_charged, SMALL);
}

/* What is dropped to make room (RFC 2018 8) is gone: what touches its place touches nothing. */
START_TEST(tcp_order_dropped)
{
	one_dropped(2000, 2100);
	arrive_and_check(2100, 2200);
	over();
	one_dropped(2000, 2100);
	arrive_and_check(1900, 2000);
	over();
	one_dropped(2000, 2100);
	arrive_and_check(1100, 2000);
	over();
	one_dropped(4000, 4100);
	arrive_and_check(2000, 8000);
	ck_assert_uint_eq(m.sk->rx_charged, SMALL + MEDIUM);
	over();
}
END_TEST

/* With the last range goes the packet that holds the set. */
START_TEST(tcp_order_dropped_all)
{
	u32 before;

	begin();
	before = small_in_use();
	arrive(1000, 1100);
	ck_assert_uint_eq(small_in_use(), before + 2);
	tcp_ooo_drop_last(m.p.s, m.sk, m.t);
	ck_assert_uint_eq(small_in_use(), before);
	ck_assert_uint_eq(m.sk->rx_charged, 0);
	forget(1000, 1100);
	arrive_and_check(1000, 1100);
	arrive_and_check(0, 1000);
	read_all(0);
	over();
}
END_TEST

/* A full set: what is new takes the place of the furthest range, unless it is that itself; what
 * touches another needs none. */
START_TEST(tcp_order_full)
{
	const u32 max = (PKT_MEDIUM_ROOM - sizeof(struct tcp_ranges)) / sizeof(struct tcp_range),
		  behind = 4 * max + 2;

	begin();
	m.sk->rcvbuf = 8u << 20;
	for (u32 i = 0; i < max; i++)
		arrive(4 * i + 2, 4 * i + 3);
	ck_assert_uint_eq(tcp_ooo(m.p.s, m.t)->count, max);
	ck_assert_uint_eq(net_count(m.p.s, "tcp_ooo_full"), 0);

	arrive(behind, behind + 1);
	forget(behind, behind + 1);
	ck_assert_uint_eq(net_count(m.p.s, "tcp_ooo_full"), 1);
	ck_assert_uint_eq(net_count(m.p.s, "tcp_ooo_drop"), 1);
	ck_assert_uint_eq(m.sk->rx_charged, max * SMALL);

	arrive_and_check(4 * max - 3, 4 * max - 2); /* before the last, with nothing between */
	arrive_and_check(4 * max - 1, 4 * max);	    /* behind it */
	ck_assert_uint_eq(net_count(m.p.s, "tcp_ooo_full"), 1);
	ck_assert_uint_eq(m.t->ooo_bytes, max + 2);

	arrive(4, 5);
	forget(4 * max - 3, 4 * max);
	check_blocks(4, true, none);
	ck_assert_uint_eq(net_count(m.p.s, "tcp_ooo_full"), 2);
	ck_assert_uint_eq(tcp_ooo(m.p.s, m.t)->count, max);
	over();
}
END_TEST

/* What lies out of order is bounded by the receive buffer, to a packet: a segment that fills
 * several holes takes one more at most. */
START_TEST(tcp_order_buffer)
{
	begin();
	arrive(1000, 1100);
	m.sk->rcvbuf = SMALL;
	arrive_and_check(1300, 1400); /* what is charged fills the buffer, and does not exceed it */
	ck_assert_uint_eq(m.sk->rx_charged, 2 * SMALL);

	m.sk->rcvbuf = 2 * SMALL;
	arrive_and_check(1150, 1400); /* the rest of it is there: nothing of it is dropped */
	ck_assert_uint_eq(m.sk->rx_charged, 3 * SMALL);
	ck_assert_uint_eq(net_count(m.p.s, "tcp_ooo_drop"), 0);

	m.sk->rcvbuf = 3 * SMALL;
	arrive(1120, 1500);
	forget(1400, 1500);
	check_blocks(1120, true, (struct tcp_sack_block){1150, 1400});
	ck_assert_uint_eq(m.sk->rx_charged, 4 * SMALL);
	ck_assert_uint_eq(net_count(m.p.s, "tcp_ooo_drop"), 1);
	over();
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, tcp_order_joined, 0, 2);
	tcase_add_test(tc, tcp_order_dropped);
	tcase_add_test(tc, tcp_order_dropped_all);
	tcase_add_test(tc, tcp_order_full);
	tcase_add_test(tc, tcp_order_buffer);
	tcase_add_loop_test(tc, tcp_order_model, 0, 14);
}

int main(void)
{
	return check_lines_case("tcp_order", 0, add);
}
