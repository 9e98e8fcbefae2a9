/* The record of what is in flight, beside a model that has one entry for each sequence number. */
#include <stdlib.h>
#include <string.h>

#include "stack/tcp_sent.h"
#include "tests/lib/check_lines.h"

#define SPAN 400u

static _Alignas(8) u8 storage[sizeof(struct tcp_sent) + 40 * sizeof(struct tcp_sent_run)];
static struct tcp_sent *r = (struct tcp_sent *)(void *)storage;

static struct {
	u32 una, nxt;
	u32 sent_us[1u << 16];
	u8 flags[1u << 16];
} model;

static void begin(u32 seq)
{
	tcp_sent_init(r, sizeof(storage));
	model.una = model.nxt = seq;
}

static void send_new(u32 len, u32 now_us)
{
	struct tcp_sent_run run = {.start = model.nxt, .end = model.nxt + len, .sent_us = now_us};

	tcp_sent_add(r, &run);
	for (u32 i = 0; i < len; i++) {
		model.sent_us[(u16)(model.nxt + i)] = now_us;
		model.flags[(u16)(model.nxt + i)] = 0;
	}
	model.nxt += len;
}

/* Marks what is in start..end and has not been SACKed, and joins what is alike again. */
static void mark(u32 start, u32 end, u32 set, u32 clear)
{
	u32 i;

	if (r->count + 2 > r->max)
		return;
	ck_assert_uint_ne(tcp_sent_split(r, end), UINT32_MAX);
	i = tcp_sent_split(r, start);
	ck_assert_uint_ne(i, UINT32_MAX);
	for (; i < r->count && seq_lt(tcp_sent_at(r, i)->start, end); i++)
		if (!(tcp_sent_at(r, i)->flags & SENT_SACKED))
			tcp_sent_mark(r, i, set, clear);
	tcp_sent_join(r, 0, r->count);
	for (u32 seq = start; seq != end; seq++) {
		if (!(model.flags[(u16)seq] & SENT_SACKED))
			model.flags[(u16)seq] = (u8)((model.flags[(u16)seq] & ~clear) | set);
	}
}

static void compare(void)
{
	u32 sacked = 0, lost = 0, again = 0;

	ck_assert(tcp_sent_valid(r, model.una, model.nxt));
	for (u32 seq = model.una; seq != model.nxt; seq++) {
		u32 i = tcp_sent_find(r, seq);
		u8 flags = model.flags[(u16)seq];

		ck_assert_uint_lt(i, r->count);
		ck_assert_uint_eq(tcp_sent_at(r, i)->flags, flags);
		if (!(flags & SENT_SACKED)) /* of what the peer has the time does not matter */
			ck_assert_uint_eq(tcp_sent_at(r, i)->sent_us, model.sent_us[(u16)seq]);
		sacked += (flags & SENT_SACKED) != 0;
		lost += (flags & SENT_LOST) != 0;
		again += (flags & SENT_AGAIN) != 0;
	}
	ck_assert_uint_eq(r->sacked, sacked);
	ck_assert_uint_eq(r->lost, lost);
	ck_assert_uint_eq(r->again, again);
}

START_TEST(tcp_sent_as_its_model)
{
	srand((unsigned)_i);
	begin(_i % 2 ? 0xffffff00u : 0x7fffff00u);
	for (u32 step = 0; step < 1000; step++) {
		u32 flight = model.nxt - model.una, from, len;

		if (r->count + 3 < r->max && flight < SPAN && rand() % 2)
			send_new((u32)rand() % 20 + 1, step / 3);
		if (flight > 4 && rand() % 3) {
			from = model.una + (u32)rand() % (flight - 1);
			len = (u32)rand() % (model.nxt - from) + 1;
			switch (rand() % 3) {
			case 0:
				mark(from, from + len, SENT_SACKED, SENT_LOST | SENT_AGAIN);
				break;
			case 1:
				mark(from, from + len, SENT_LOST, SENT_AGAIN);
				break;
			default:
				mark(from, from + len, SENT_AGAIN, 0);
				break;
			}
		}
		if (flight && rand() % 4 == 0) {
			model.una += (u32)rand() % flight + 1;
			tcp_sent_cut(r, model.una);
		}
		compare();
	}
}
END_TEST

START_TEST(tcp_sent_together_is_one_run)
{
	begin(1);
	for (u32 i = 0; i < 100; i++)
		send_new(1000, 7);
	ck_assert_uint_eq(r->count, 1);
	send_new(1000, 8);
	ck_assert_uint_eq(r->count, 2);
}
END_TEST

/* Without room the last run takes what follows, as sent now; what can't be split is not. */
START_TEST(tcp_sent_full)
{
	begin(1);
	for (u32 i = 0; i < 60; i++)
		send_new(10, i);
	ck_assert_uint_eq(r->count, r->max);
	ck_assert(tcp_sent_valid(r, model.una, model.nxt));
	ck_assert_uint_eq(tcp_sent_at(r, r->count - 1)->sent_us, 59);
	ck_assert_uint_eq(tcp_sent_split(r, 6), UINT32_MAX);
	ck_assert_uint_eq(tcp_sent_split(r, 11), 1);
	ck_assert_uint_eq(tcp_sent_split(r, 0), 0);
	ck_assert_uint_eq(tcp_sent_split(r, model.nxt), r->count);
	tcp_sent_cut(r, 31);
	ck_assert_uint_eq(tcp_sent_split(r, 36), 1);
	ck_assert(tcp_sent_valid(r, 31, model.nxt));
}
END_TEST

START_TEST(tcp_sent_in_a_larger_place)
{
	static _Alignas(8) u8 larger[2 * sizeof(storage)];
	struct tcp_sent *to = (struct tcp_sent *)(void *)larger;

	begin(1);
	for (u32 i = 0; i < 30; i++)
		send_new(10, i);
	mark(11, 25, SENT_LOST, 0);
	tcp_sent_cut(r, 8);
	tcp_sent_init(to, sizeof(larger));
	tcp_sent_copy(to, r);
	ck_assert(tcp_sent_valid(to, 8, model.nxt));
	ck_assert_uint_eq(to->lost, 14);
	ck_assert_uint_gt(to->max, r->max);
}
END_TEST

/* A record of its own, of max runs; what lies behind it stays as it is. */
#define LARGE 1024u

static struct {
	_Alignas(8) u8 bytes[sizeof(struct tcp_sent) + (LARGE + 1) * sizeof(struct tcp_sent_run)];
} large;
static struct tcp_sent *l = (struct tcp_sent *)(void *)&large;
static struct tcp_sent_run behind = {.start = 0xdeadbeef, .end = 0xdeadbeef};

static void begin_large(u32 max)
{
	tcp_sent_init(l, (u32)(sizeof(*l) + max * sizeof(l->run[0])));
	ck_assert_uint_eq(l->max, max);
	l->run[max] = behind;
}

/* Goes out behind the rest; how many runs there are then. */
static u32 added(u32 len, u32 now_us, u32 flags)
{
	u32 end = l->count ? tcp_sent_at(l, l->count - 1)->end : 1;
	struct tcp_sent_run run = {.start = end, .end = end + len, .sent_us = now_us, .flags = flags};

	tcp_sent_add(l, &run);
	ck_assert(tcp_sent_valid(l, tcp_sent_at(l, 0)->start, end + len));
	ck_assert_int_eq(memcmp(&l->run[l->max], &behind, sizeof(behind)), 0);
	return l->count;
}

/* 256 runs, of 28150 bytes; more than that are a quarter of a large record. */
static void begin_quarter(u32 max)
{
	begin_large(max);
	ck_assert_uint_eq(added(25600, 1, 0), 1);
	for (u32 i = 2; i <= 256; i++)
		ck_assert_uint_eq(added(10, i, 0), i);
}

/* What is small beside the whole flight's part of a quarter of the runs joins the last one, when that is exceeded. */
START_TEST(tcp_sent_coarse)
{
	begin_quarter(LARGE);
	ck_assert_uint_eq(added(10, 300, 0), 257); /* not until then */
	ck_assert_uint_eq(added(100, 301, 0), 257); /* 10 and 100 are (28160 + 100) / 256 */
	ck_assert_uint_eq(tcp_sent_at(l, 256)->sent_us, 301);
	ck_assert_uint_eq(tcp_sent_at(l, 256)->end - tcp_sent_at(l, 256)->start, 110);

	begin_quarter(LARGE);
	added(10, 300, 0);
	ck_assert_uint_eq(added(101, 301, 0), 258);
	ck_assert_uint_eq(added(10, 302, SENT_LIMITED), 259); /* it was sent in another state, */
	ck_assert_uint_eq(added(10, 303, 0), 260);
	tcp_sent_mark(l, 0, SENT_LOST, 0); /* ... or while something is to be sent again, */
	ck_assert_uint_eq(added(10, 304, 0), 261);
	tcp_sent_mark(l, 0, SENT_AGAIN, SENT_LOST);
	ck_assert_uint_eq(added(10, 305, 0), 262);
	tcp_sent_mark(l, 0, 0, SENT_AGAIN);
	ck_assert_uint_eq(added(10, 306, 0), 262);

	begin_quarter(LARGE - 1); /* ... or the record can still grow */
	ck_assert_uint_eq(added(10, 300, 0), 257);
	ck_assert_uint_eq(added(10, 301, 0), 258);
}
END_TEST

/* What was cut off in front makes room behind. */
START_TEST(tcp_sent_room_in_front)
{
	begin_large(4);
	for (u32 i = 1; i <= 4; i++)
		ck_assert_uint_eq(added(10, i, 0), i);
	tcp_sent_cut(l, 11);
	ck_assert_uint_eq(l->first, 1);
	ck_assert_uint_eq(added(10, 5, 0), 4);
	ck_assert_uint_eq(tcp_sent_at(l, 3)->sent_us, 5);
	ck_assert_uint_eq(l->first, 0);
}
END_TEST

/* A split moves the side that has less to move, if there is room on both, and leaves the rest of memory alone. */
START_TEST(tcp_sent_split_moves_less)
{
	static const struct {
		u32 max, seq, i, first;
	} cases[] = {
		{8, 16, 1, 0},
		{8, 26, 2, 0}, /* the second of four: two in front, three behind */
		{8, 36, 3, 1}, /* the third: three, and two */
		{8, 46, 4, 1},
		{5, 46, 4, 0}, /* no room behind */
	};

	for (u32 k = 0; k < ARRAY_LEN(cases); k++) {
		begin_large(cases[k].max);
		for (u32 i = 1; i <= 5; i++)
			added(10, i, 0);
		tcp_sent_cut(l, 11);
		ck_assert_uint_eq(l->first, 1);
		ck_assert_uint_eq(tcp_sent_split(l, cases[k].seq), cases[k].i);
		ck_assert_msg(l->first == cases[k].first, "case %u: %u", k, l->first);
		ck_assert(tcp_sent_valid(l, 11, 51));
		ck_assert_int_eq(memcmp(&l->run[l->max], &behind, sizeof(behind)), 0);
	}
}
END_TEST

/* Neighbours that have fared alike become one; there are none behind the last. */
START_TEST(tcp_sent_joined)
{
	begin_large(8);
	for (u32 i = 1; i <= 4; i++)
		added(10, i, 0);
	tcp_sent_join(l, 0, 4);
	ck_assert_uint_eq(l->count, 4);
	tcp_sent_mark(l, 1, SENT_SACKED, 0);
	tcp_sent_mark(l, 2, SENT_SACKED, 0);
	tcp_sent_join(l, 4, 4);
	tcp_sent_join(l, 5, 9);
	ck_assert_uint_eq(l->count, 4);
	tcp_sent_join(l, 2, 3);
	ck_assert_uint_eq(l->count, 4);
	tcp_sent_join(l, 1, 4);
	ck_assert_uint_eq(l->count, 3);
	ck_assert_uint_eq(tcp_sent_at(l, 1)->end, 31);
	ck_assert(tcp_sent_valid(l, 1, 41));
	tcp_sent_cut(l, 41);
	tcp_sent_join(l, 0, 0);
	ck_assert_uint_eq(l->count, 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, tcp_sent_as_its_model, 0, 8);
	tcase_add_test(tc, tcp_sent_together_is_one_run);
	tcase_add_test(tc, tcp_sent_full);
	tcase_add_test(tc, tcp_sent_in_a_larger_place);
	tcase_add_test(tc, tcp_sent_coarse);
	tcase_add_test(tc, tcp_sent_room_in_front);
	tcase_add_test(tc, tcp_sent_split_moves_less);
	tcase_add_test(tc, tcp_sent_joined);
}

int main(void)
{
	return check_lines_case("tcp_sent", 0, add_tests);
}
