/*
 * RACK (RFC 8985 6.2) on a connection made for it: which segment counts as the newest that has arrived, what tells of reordering, how
 * wide the window is, and what is lost or waits. Every time is exact.
 */
#include <string.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

#define MSS    1000u
#define START  0xfffff000u /* of the sequence numbers: they wrap */
#define MIN_US 100000u	   /* the least round trip */
#define QUARTER_US 25000u  /* of it: the reordering window */

static struct stack *s;
static struct tcp t;
static struct tcp_sent *r;
static struct tcp_segment ack;
static u64 origin_ns;

static u32 at(u32 segment)
{
	return START + segment * MSS;
}

/* Microseconds since the begin; those of the record wrap at 5 s. */
static void at_us(u32 us)
{
	s->now_ns = origin_ns + us * NS_PER_US;
}

static u32 us_of(u32 us)
{
	return (u32)(origin_ns / NS_PER_US) + us;
}

static void setup(void)
{
	s = engine_new(NULL);
	origin_ns = ((1ull << 33) - 5000000) * NS_PER_US;
	at_us(0);
	memset(&t, 0, sizeof(t));
	memset(&ack, 0, sizeof(ack));
	t.state = TCP_ESTABLISHED;
	t.flags = TCPF_SACK;
	t.mss = MSS;
	t.reo_mult = 1;
	t.dup_thresh = 3;
	t.rtt.min_ns = MIN_US * NS_PER_US;
	t.rtt.srtt_ns = 2 * t.rtt.min_ns;
	t.snd_una = t.snd_nxt = t.fack = START;
	r = tcp_record_make(s, &t);
	ck_assert_ptr_nonnull(r);
}

static void teardown(void)
{
	tcp_record_clear(s, &t);
	engine_free(s);
}

/* The next segment goes out. */
static void sent(u32 us)
{
	struct tcp_sent_run run = {.start = t.snd_nxt, .end = t.snd_nxt + MSS, .sent_us = us_of(us)};

	tcp_sent_add(r, &run);
	t.snd_nxt += MSS;
	t.lost_hint = t.snd_nxt;
	ck_assert_uint_eq(tcp_sent_at(r, r->count - 1)->start, run.start);
}

/* That one goes out again. */
static void sent_again(u32 i, u32 us)
{
	tcp_sent_mark(r, i, SENT_LOST | SENT_AGAIN | SENT_TWICE, 0);
	tcp_sent_at(r, i)->sent_us = us_of(us);
}

/* The peer has it. */
static void arrives(u32 i, u32 us)
{
	at_us(us);
	tcp_rack_delivered(s, &t, &ack, tcp_sent_at(r, i));
	tcp_sent_mark(r, i, SENT_SACKED, SENT_LOST | SENT_AGAIN);
}

static bool is_lost(u32 i)
{
	return tcp_sent_at(r, i)->flags & SENT_LOST;
}

/* How long detection waits from now on; 0: it does not. */
static u32 waits_us(void)
{
	tcp_rack_detect(s, &t);
	return t.reo_at == NEVER ? 0 : (u32)((t.reo_at - s->now_ns) / NS_PER_US);
}

/* Step 2: the newest is the one that was sent last, of those sent at once the last one. */
START_TEST(tcp_rack_newest)
{
	static const struct {
		u32 first_us, second_us;
		u32 first, second, newest;
	} cases[] = {
		{10, 11, 1, 0, 0},
		{11, 10, 0, 1, 0},
		{10, 10, 0, 1, 1},
		{10, 10, 1, 0, 1},
		{4999999, 5000001, 0, 1, 1}, /* the clock wraps */
		{5000001, 4999999, 0, 1, 0},
	};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct tcp_sent_run first = {.start = at(cases[i].first), .end = at(cases[i].first + 1)};
		struct tcp_sent_run second = {.start = at(cases[i].second), .end = at(cases[i].second + 1)};
		u32 newest_us = cases[i].newest == cases[i].first ? cases[i].first_us : cases[i].second_us;

		t.rack_known = false;
		first.sent_us = us_of(cases[i].first_us);
		second.sent_us = us_of(cases[i].second_us);
		at_us(5100000);
		tcp_rack_delivered(s, &t, &ack, &first);
		ck_assert_uint_eq(t.rack_end, first.end);
		ck_assert_uint_eq(t.rack_sent_us, first.sent_us);
		tcp_rack_delivered(s, &t, &ack, &second);
		ck_assert_msg(t.rack_end == at(cases[i].newest + 1), "case %u", i);
		ck_assert_uint_eq(t.rack_sent_us, us_of(newest_us));
		ck_assert_uint_eq(t.rack_rtt_us, 5100000 - cases[i].second_us);
	}
}
END_TEST

/* The first is taken whatever the clock shows. */
START_TEST(tcp_rack_first)
{
	sent(100);
	tcp_sent_at(r, 0)->sent_us = 0x80000001;
	arrives(0, 200);
	ck_assert(t.rack_known);
	ck_assert_uint_eq(t.rack_sent_us, 0x80000001);
}
END_TEST

/* Step 2: of what was sent twice the ACK may answer the first transmission. */
START_TEST(tcp_rack_which_transmission)
{
	enum { AGE_MS = 200, NONE = 9999 };
	static const struct {
		u32 agreed, option;
		s32 echo_ms; /* against when it was sent; NONE: there is none */
		u32 age_us;
		bool counts;
	} cases[] = {
		{TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, 0, AGE_MS * 1000, true},
		{TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, 1, AGE_MS * 1000, true},
		{TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, -1, AGE_MS * 1000, false},
		{TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, NONE, AGE_MS * 1000, true},
		{TCPF_TIMESTAMP, 0, -1, AGE_MS * 1000, true}, /* what is not there says nothing, */
		{0, TCP_OPT_TIMESTAMP, -1, AGE_MS * 1000, true}, /* nor what was not agreed */
		{0, 0, -1, AGE_MS * 1000, true},
		{0, 0, NONE, AGE_MS * 1000, true},
		{0, 0, NONE, MIN_US, true}, /* as fast as ever */
		{0, 0, NONE, MIN_US - 1, false},
		{TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, 0, MIN_US - 1000, false},
	};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct tcp_sent_run run = {.start = START, .end = at(1), .flags = SENT_TWICE};

		at_us(1000000);
		t.flags = TCPF_SACK | cases[i].agreed;
		t.rack_known = false;
		ack.opt.flags = (u8)cases[i].option;
		ack.opt.tsecr = cases[i].echo_ms == NONE
					? 0
					: tcp_clock(s, t.ts_offset) - cases[i].age_us / 1000 + (u32)cases[i].echo_ms;
		ck_assert_int_gt((s32)tcp_clock(s, t.ts_offset), 0); /* no echo seems to be long ago */
		run.sent_us = us_of(1000000 - cases[i].age_us);
		tcp_rack_delivered(s, &t, &ack, &run);
		ck_assert_msg(t.rack_known == cases[i].counts, "case %u", i);
		run.flags = 0; /* sent once it is clear */
		tcp_rack_delivered(s, &t, &ack, &run);
		ck_assert_msg(t.rack_known, "case %u", i);
	}
}
END_TEST

/* No round trip is known: none is too short. */
START_TEST(tcp_rack_no_round_trip_known)
{
	t.rtt.min_ns = NEVER;
	sent(0);
	sent_again(0, 50);
	arrives(0, 60);
	ck_assert(t.rack_known);
	sent(100);
	sent(110);
	arrives(2, 210); /* nor is there a window without one */
	ck_assert_uint_eq(tcp_rack_detect(s, &t), MSS);
}
END_TEST

/* Step 3: something arrives behind what was sent later, and it was sent once. */
START_TEST(tcp_rack_reordering)
{
	for (u32 i = 0; i < 4; i++)
		sent(i);
	arrives(1, MIN_US);
	ck_assert_uint_eq(t.fack, at(2));
	tcp_rack_delivered(s, &t, &ack, tcp_sent_at(r, 1)); /* its equal is not behind it */
	ck_assert(!t.reordering);
	sent_again(0, 4);
	arrives(0, 2 * MIN_US); /* nor does a retransmission tell */
	ck_assert(!t.reordering);
	ck_assert_uint_eq(t.fack, at(2));
	arrives(3, 2 * MIN_US);
	ck_assert_uint_eq(t.fack, at(4));
	ck_assert(!t.reordering);
	arrives(2, 2 * MIN_US);
	ck_assert(t.reordering);
	ck_assert_uint_eq(t.fack, at(4));
	ck_assert_uint_eq(t.totals.reord_seen, 1);
}
END_TEST

/* As Linux's tcp_check_sack_reordering: by how many segments it was behind, tcp_max_reordering at most, and never less than before. */
START_TEST(tcp_rack_reordering_degree)
{
	static const struct {
		u32 behind, before, most, after;
	} cases[] = {{3, 3, 300, 3}, {4, 3, 300, 4}, {9, 3, 5, 5}, {2, 3, 300, 3}, {10, 10, 5, 10}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct tcp_sent_run run = {.start = START, .end = at(1)};

		t.fack = at(cases[i].behind);
		t.dup_thresh = cases[i].before;
		s->tunables.tcp_max_reordering = cases[i].most;
		tcp_rack_delivered(s, &t, &ack, &run);
		ck_assert_msg(t.dup_thresh == cases[i].after, "case %u: %u", i, t.dup_thresh);
	}
}
END_TEST

/* Step 4: the window, seen by how long a segment waits that was sent 10 us before the one that has arrived. */
START_TEST(tcp_rack_window)
{
	static const struct {
		u32 recovery, sacked, mode, mult, srtt_us, window_us;
		bool reordering;
	} cases[] = {
		{TCP_OPEN, 1, 1, 1, MIN_US, QUARTER_US, false},
		{TCP_OPEN, 2, 1, 1, MIN_US, QUARTER_US, false},
		{TCP_OPEN, 3, 1, 1, MIN_US, 0, false}, /* DupThresh */
		{TCP_OPEN, 4, 1, 1, MIN_US, 0, false},
		{TCP_OPEN, 3, 1 | 4, 1, MIN_US, QUARTER_US, false}, /* which tcp_recovery can switch off */
		{TCP_RECOVERY, 1, 1, 1, MIN_US, 0, false},
		{TCP_LOSS, 1, 1, 1, MIN_US, 0, false},
		{TCP_OPEN, 3, 1, 1, MIN_US, QUARTER_US, true},
		{TCP_RECOVERY, 1, 1, 1, MIN_US, QUARTER_US, true},
		{TCP_LOSS, 4, 1, 1, MIN_US, QUARTER_US, true},
		{TCP_OPEN, 1, 1, 3, MIN_US, 3 * QUARTER_US, true},
		{TCP_OPEN, 1, 1 | 2, 3, MIN_US, QUARTER_US, true}, /* static */
		{TCP_OPEN, 1, 1, 5, MIN_US, MIN_US, true},	   /* bounded by SRTT */
		{TCP_OPEN, 1, 1, 1, 20000, 20000, true},
	};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		u32 waits;

		teardown();
		setup();
		sent(0);
		for (u32 k = 1; k <= cases[i].sacked; k++)
			sent(9 + k);
		for (u32 k = 1; k <= cases[i].sacked; k++)
			arrives(k, 9 + k + MIN_US);
		at_us(MIN_US + 10);
		t.rack_rtt_us = MIN_US;
		t.recovery = (u8)cases[i].recovery;
		t.reordering = cases[i].reordering;
		t.reo_mult = (u8)cases[i].mult;
		t.rtt.srtt_ns = cases[i].srtt_us * NS_PER_US;
		s->tunables.tcp_recovery = (u8)cases[i].mode;
		waits = waits_us();
		ck_assert_msg(is_lost(0) == !cases[i].window_us, "case %u", i);
		ck_assert_msg(waits == (cases[i].window_us ? cases[i].window_us - 10 : 0), "case %u: %u", i, waits);
	}
}
END_TEST

/* Step 4: one more for a round trip with a duplicate, for 16 recoveries. */
START_TEST(tcp_rack_duplicates)
{
	t.dsack_round = t.snd_una;
	t.snd_nxt = at(10);
	tcp_rack_dsack(&t); /* SND.UNA has reached the mark */
	ck_assert_uint_eq(t.reo_mult, 2);
	ck_assert_uint_eq(t.dsack_round, at(10));
	tcp_rack_dsack(&t); /* the same round trip, though nothing has been sent since, */
	t.snd_nxt = at(20); /* ... or something has */
	tcp_rack_dsack(&t);
	t.snd_una = at(10) - 1;
	tcp_rack_dsack(&t);
	ck_assert_uint_eq(t.reo_mult, 2);
	t.snd_una = at(10);
	tcp_rack_dsack(&t);
	ck_assert_uint_eq(t.reo_mult, 3);
	ck_assert_uint_eq(t.dsack_round, at(20));
	t.dsack_round = t.snd_nxt + 1; /* nothing that was sent: a mark from half the numbers ago */
	tcp_rack_dsack(&t);
	ck_assert_uint_eq(t.reo_mult, 4);
	t.snd_una = t.snd_nxt = t.dsack_round - 1;
	for (u32 i = 0; i < 300; i++) {
		u32 expected = MIN(t.reo_mult + 1u, 254u);

		t.dsack_round = t.snd_una;
		tcp_rack_dsack(&t);
		ck_assert_uint_eq(t.reo_mult, expected);
	}
	for (u32 i = 0; i < 15; i++) {
		tcp_rack_recovered(&t);
		ck_assert_uint_eq(t.reo_mult, 254);
	}
	tcp_rack_recovered(&t);
	ck_assert_uint_eq(t.reo_mult, 1);
	tcp_rack_recovered(&t);
	ck_assert_uint_eq(t.reo_persist, 0);
}
END_TEST

/* Step 5: what was sent before the newest that has arrived is lost when its time is over, and not a microsecond earlier. */
START_TEST(tcp_rack_lost_in_time)
{
	sent(0);
	sent(4);
	sent(10);
	sent(20);
	arrives(2, MIN_US + 10);
	ck_assert_uint_eq(waits_us(), QUARTER_US - 6); /* until the last of them is due */
	at_us(MIN_US + QUARTER_US - 1);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), 0);
	at_us(MIN_US + QUARTER_US);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), MSS);
	ck_assert(is_lost(0) && !is_lost(1));
	ck_assert_uint_eq(t.lost_hint, START);
	ck_assert_uint_eq(t.reo_at, s->now_ns + 4 * NS_PER_US);
	at_us(MIN_US + QUARTER_US + 4);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), MSS); /* not the first once more */
	ck_assert_uint_eq(t.reo_at, NEVER);
	ck_assert(is_lost(1) && !is_lost(2) && !is_lost(3));
	ck_assert_uint_eq(t.lost_hint, START);
	ck_assert_uint_eq(r->lost, 2 * MSS);
	ck_assert_uint_eq(t.lost, 2 * MSS);
}
END_TEST

/* A retransmission is judged by its own time, and lost again when something was sent after it and arrives. */
START_TEST(tcp_rack_retransmission_lost)
{
	t.recovery = TCP_RECOVERY;
	sent(0);
	sent(10);
	sent(20);
	arrives(1, MIN_US + 10);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), MSS);
	sent_again(0, MIN_US + 10);
	arrives(2, MIN_US + 20);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), 0); /* what has arrived was sent before it */
	sent(MIN_US + 30);
	arrives(3, 2 * MIN_US + 30);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), MSS);
	ck_assert_uint_eq(tcp_sent_at(r, 0)->flags, SENT_LOST | SENT_TWICE);
	ck_assert_uint_eq(r->again, 0);
}
END_TEST

/* What was sent again later than the newest that has arrived does not hide what lies behind it. */
START_TEST(tcp_rack_behind_a_retransmission)
{
	t.reordering = true;
	t.recovery = TCP_LOSS;
	for (u32 i = 0; i < 4; i++)
		sent(i == 3 ? 50000 : i);
	sent_again(0, 60000); /* after a timeout that spared the fourth */
	tcp_sent_mark(r, 1, SENT_LOST, 0);
	tcp_sent_mark(r, 2, SENT_LOST, 0);
	arrives(0, 60000 + MIN_US);
	t.snd_una = at(1);
	tcp_sent_cut(r, at(1));
	ck_assert_uint_eq(t.fack, at(1));
	ck_assert_uint_eq(waits_us(), 15000);
	sent_again(0, 60000 + MIN_US);
	at_us(75000 + MIN_US);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), MSS);
	ck_assert(is_lost(2));
}
END_TEST

/* A peer that has forgotten what it reported: the newest is not older than itself. */
START_TEST(tcp_rack_reneged)
{
	sent(0);
	sent(10);
	arrives(1, MIN_US + 10);
	tcp_sent_mark(r, 1, 0, SENT_SACKED);
	at_us(10 * MIN_US);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), MSS);
	ck_assert(is_lost(0) && !is_lost(1));
}
END_TEST

/* Without anything to go by nothing is lost; and what once stood behind the last run is none. */
START_TEST(tcp_rack_nothing_known)
{
	sent(0);
	sent(10);
	at_us(10 * MIN_US);
	t.rack_sent_us = us_of(20);
	t.rack_end = at(2);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), 0); /* nothing has arrived */
	t.rack_known = true;
	t.flags = 0;
	ck_assert_uint_eq(tcp_rack_detect(s, &t), 0); /* there is no SACK */
	t.flags = TCPF_SACK;
	tcp_sent_mark(r, 0, SENT_SACKED, 0);
	r->count = 1;
	ck_assert_uint_eq(tcp_rack_detect(s, &t), 0);
	ck_assert_uint_eq(r->lost, 0);
	tcp_record_clear(s, &t);
	ck_assert_uint_eq(tcp_rack_detect(s, &t), 0); /* nothing is in flight */
	ck_assert_uint_eq(t.reo_at, NEVER);
}
END_TEST

/* 6.3: at a timeout what was sent within the last round trip, and a window, waits. */
START_TEST(tcp_rack_waits_at_timeout)
{
	struct tcp_sent_run run = {.start = at(2), .end = at(3), .sent_us = us_of(1000)};

	sent(0);
	sent(10);
	arrives(1, MIN_US + 10);
	at_us(1000 + MIN_US + QUARTER_US - 1);
	ck_assert(tcp_rack_waits(s, &t, &run));
	t.rack_known = false;
	ck_assert(!tcp_rack_waits(s, &t, &run));
	t.rack_known = true;
	t.flags = 0;
	ck_assert(!tcp_rack_waits(s, &t, &run));
	t.flags = TCPF_SACK;
	at_us(1000 + MIN_US + QUARTER_US);
	ck_assert(!tcp_rack_waits(s, &t, &run));
	at_us(1000);
	tcp_record_clear(s, &t);
	ck_assert(!tcp_rack_waits(s, &t, &run));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, tcp_rack_newest);
	tcase_add_test(tc, tcp_rack_first);
	tcase_add_test(tc, tcp_rack_which_transmission);
	tcase_add_test(tc, tcp_rack_no_round_trip_known);
	tcase_add_test(tc, tcp_rack_reordering);
	tcase_add_test(tc, tcp_rack_reordering_degree);
	tcase_add_test(tc, tcp_rack_window);
	tcase_add_test(tc, tcp_rack_duplicates);
	tcase_add_test(tc, tcp_rack_lost_in_time);
	tcase_add_test(tc, tcp_rack_retransmission_lost);
	tcase_add_test(tc, tcp_rack_behind_a_retransmission);
	tcase_add_test(tc, tcp_rack_reneged);
	tcase_add_test(tc, tcp_rack_nothing_known);
	tcase_add_test(tc, tcp_rack_waits_at_timeout);
}

int main(void)
{
	return check_lines_case("tcp_rack", 0, add_tests);
}
