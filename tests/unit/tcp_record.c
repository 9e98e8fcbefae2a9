/* The record of what is in flight, on a connection: its growth, what ACKs, SACK blocks and
 * duplicates make of it, and what is sent again from it. */
#include <stdlib.h>

#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"
#include "tests/lib/tcp_prepared.h"

static struct prepared c;

static void teardown(void)
{
	prepared_end(&c);
}

/* Also for the next case of a test. */
static void setup(void)
{
	prepared_begin(&c);
}

/* Splits what is in flight until the record has so many runs. */
static struct tcp_sent *split_to(u32 count)
{
	struct tcp_sent *r = tcp_record(c.s, c.t);

	while (r->count < count)
		ck_assert_uint_ne(
			tcp_sent_split(r, tcp_sent_at(r, r->count - 1)->start + 1), UINT32_MAX);
	return r;
}

/* The kind of packet that a record with that many runs less than it has room for goes on in. */
static enum slab_kind kind_with_left(u32 left)
{
	struct tcp_sent *r = tcp_record(c.s, c.t);

	split_to(r->max - left);
	r = tcp_record_make(c.s, c.t);
	ck_assert(r == tcp_record(c.s, c.t));
	prepared_check(&c);
	return (enum slab_kind)ref_kind(c.t->sent);
}

/* A SACK block makes two runs more: with less room than that the next larger packet is taken. */
START_TEST(tcp_record_grows)
{
	static const enum slab_kind kinds[] = {
		SLAB_PKT_SMALL, SLAB_PKT_MEDIUM, SLAB_PKT_LARGE, SLAB_PKT_HUGE, SLAB_PKT_HUGE};
	ref huge;

	c.t->mss = TCP_MSS_DEFAULT;
	prepared_send(&c, 100);
	for (u32 i = 0; i + 1 < ARRAY_LEN(kinds); i++) {
		ck_assert_uint_eq(ref_kind(c.t->sent), kinds[i]);
		ck_assert_uint_eq(kind_with_left(2), kinds[i]);
		huge = c.t->sent;
		ck_assert_uint_eq(kind_with_left(1), kinds[i + 1]);
	}
	ck_assert_uint_eq(c.t->sent, huge); /* the same as before */
	ck_assert_uint_eq(kind_with_left(0), SLAB_PKT_HUGE);
	ck_assert_uint_eq(net_count(c.s, "no_memory"), 0); /* nor was another one asked for */
}
END_TEST

/* CVE-2019-11478: the largest is not for a peer that asks for tiny segments. */
START_TEST(tcp_record_tiny_segments)
{
	ref large;

	c.t->mss = TCP_MSS_DEFAULT - 1;
	prepared_send(&c, 100);
	ck_assert_uint_eq(kind_with_left(1), SLAB_PKT_MEDIUM);
	ck_assert_uint_eq(kind_with_left(1), SLAB_PKT_LARGE);
	large = c.t->sent;
	ck_assert_uint_eq(kind_with_left(1), SLAB_PKT_LARGE);
	ck_assert_uint_eq(c.t->sent, large);
	c.t->mss = TCP_MSS_DEFAULT;
	ck_assert_uint_eq(kind_with_left(1), SLAB_PKT_HUGE);
}
END_TEST

/* What is taken for lost counts once, and again if it is lost when it was sent again. */
START_TEST(tcp_record_lost_once)
{
	struct tcp_sent *r;

	prepared_send(&c, 3);
	r = tcp_record(c.s, c.t);
	tcp_record_lose(c.s, c.t, r, 0);
	tcp_record_lose(c.s, c.t, r, 0);
	ck_assert_uint_eq(c.t->lost, 3000);
	prepared_send_again(&c, 0, 3000);
	ck_assert_uint_eq(prepared_flags(&c, 0), SENT_LOST | SENT_AGAIN | SENT_TWICE);
	tcp_record_lose(c.s, c.t, r, 0);
	ck_assert_uint_eq(c.t->lost, 6000);
	ck_assert_uint_eq(prepared_flags(&c, 0), SENT_LOST | SENT_TWICE);
}
END_TEST

/* RFC 5682 2: does an ACK up to there, or (sacked) a SACK block, tell that something was not lost
 * that had been sent once, before the timeout? */
static bool is_original(bool sacked, u32 end, u32 recover, bool again)
{
	struct tcp_news news = {0};
	struct tcp_segment seg = prepared_ack(sacked ? 0 : end);

	setup();
	prepared_send_apart(&c, 4);
	c.t->recover = prepared_at(recover);
	if (again)
		prepared_send_again(&c, 0, 4000);
	if (sacked) {
		prepared_sack(&seg, end - 1000, end);
		tcp_record_sacks(c.s, c.t, &seg, &news);
	} else {
		tcp_record_acked(c.s, c.t, &seg, &news);
	}
	ck_assert_uint_eq(news.delivered, sacked ? 1000 : end);
	return news.original;
}

START_TEST(tcp_record_original)
{
	bool sacked = _i;
	u32 end = sacked ? 2000 : 1000;

	ck_assert(is_original(sacked, end, 4000, false));
	ck_assert(is_original(sacked, end, end, false));
	ck_assert(!is_original(sacked, end, end - 1, false));
	ck_assert(!is_original(sacked, end, 4000, true));
}
END_TEST

/* RFC 2018 8: a peer whose ACK stops at what it has SACKed has taken that back, and all of it is to
 * be sent again. */
START_TEST(tcp_record_reneging)
{
	struct tcp_segment seg = prepared_ack(0);
	struct tcp_news news = {0};

	prepared_send_apart(&c, 6);
	prepared_sack(&seg, 1000, 2000);
	prepared_sack(&seg, 3000, 5000);
	tcp_record_sacks(c.s, c.t, &seg, &news);
	ck_assert_uint_eq(tcp_record(c.s, c.t)->sacked, 3000);
	prepared_poison(&c, SENT_SACKED);
	seg = prepared_ack(1000);
	tcp_record_acked(c.s, c.t, &seg, &news);
	c.t->snd_una = seg.ack;
	prepared_check(&c);
	ck_assert_uint_eq(tcp_record(c.s, c.t)->sacked, 0);
	ck_assert_uint_eq(c.t->lost_hint, prepared_at(1000));
	ck_assert_uint_eq(net_count(c.s, "tcp_sack_reneging"), 1);
}
END_TEST

/* --- duplicates (RFC 2883), the ACK being 4000, with 4000..10000 in flight and a largest window of
 * 3000 --- */

struct dsack_case {
	const char *what;
	u32 count;
	u32 block[2][2];
	bool dsack;
	u32 sacked, invalid; /* bytes, blocks */
};

static const struct dsack_case dsack_cases[] = {
	{"below the ACK", 1, {{1000, 2000}}, true, 0, 0},
	{"up to the ACK", 1, {{3000, 4000}}, true, 0, 0},
	{"not below it", 1, {{4000, 5000}}, false, 1000, 0},
	{"inside the second", 2, {{6000, 7000}, {5000, 8000}}, true, 3000, 0},
	{"at its begin", 2, {{5000, 6000}, {5000, 7000}}, true, 2000, 0},
	{"at its end", 2, {{6000, 7000}, {5000, 7000}}, true, 2000, 0},
	{"all of it", 2, {{5000, 7000}, {5000, 7000}}, true, 2000, 0},
	{"not inside: before", 2, {{5000, 6000}, {7000, 8000}}, false, 2000, 0},
	{"not inside: longer", 2, {{6000, 8000}, {6000, 7000}}, false, 2000, 0},
	{"no second block", 1, {{6000, 7000}, {5000, 8000}}, false, 1000, 0},
	{"empty", 1, {{2000, 2000}}, false, 0, 1},
	{"turned round", 1, {{3000, 2000}}, false, 0, 1},
	{"the largest window", 1, {{1000, 4000}}, true, 0, 0},
	{"longer than any window", 1, {{999, 4000}}, false, 0, 1},
	{"beyond the ACK", 1, {{3000, 4001}}, false, 0, 1},
	{"in flight, from the ACK", 2, {{4000, 5000}, {4000, 6000}}, true, 2000, 0},
	{"to the end of the flight", 2, {{9000, 10000}, {8000, 10000}}, true, 2000, 0},
	{"beyond the flight", 2, {{9000, 10001}, {8000, 10001}}, false, 0, 2},
};

START_TEST(tcp_record_dsack)
{
	const struct dsack_case *d = &dsack_cases[_i];
	struct tcp_segment seg = prepared_ack(4000);
	struct tcp_news news = {0};

	prepared_send_apart(&c, 10);
	tcp_record_acked(c.s, c.t, &seg, &news);
	c.t->snd_una = seg.ack;
	c.t->snd_max_wnd = 3000;
	for (u32 i = 0; i < 2; i++)
		prepared_sack(&seg, d->block[i][0], d->block[i][1]);
	seg.opt.sack_count = d->count;
	tcp_record_sacks(c.s, c.t, &seg, &news);
	prepared_check(&c);
	ck_assert_msg(news.dsack == d->dsack && c.t->totals.dsack_dups == d->dsack, "%s: dsack %d",
		d->what, news.dsack);
	ck_assert_msg(news.sacked == d->sacked, "%s: sacked %u", d->what, news.sacked);
	ck_assert_msg(net_count(c.s, "tcp_sack_invalid") == d->invalid, "%s: invalid", d->what);
}
END_TEST

/* What is reported counts against what was sent again since the reduction (RFC 3708 2), of the
 * flight that was reduced alone. */
START_TEST(tcp_record_dsack_undo)
{
	static const struct {
		u32 from, to, left;
	} steps[] = {{1000, 2000, 5000}, {2000, 3000, 4000}, {1999, 2001, 3998}, {0, 4000, 0},
		{3000, 4000, 0}};
	struct tcp_news news = {0};

	prepared_send_apart(&c, 6);
	c.t->snd_una = prepared_at(4000);
	tcp_sent_cut(tcp_record(c.s, c.t), c.t->snd_una);
	c.t->undo_una = prepared_at(2000);
	c.t->undo_again = 5000;
	c.t->snd_max_wnd =
		1000; /* shorter than what was sent again: that may be reported all the same */
	for (u32 i = 0; i < ARRAY_LEN(steps); i++) {
		struct tcp_segment seg = prepared_ack(4000);

		if (i == 3)
			c.t->undo_again = 4000;
		prepared_sack(&seg, steps[i].from, steps[i].to);
		tcp_record_sacks(c.s, c.t, &seg, &news);
		ck_assert_uint_eq(c.t->undo_again, steps[i].left);
	}
}
END_TEST

/* --- SACK blocks --- */

/* A block counts if it lies in what is in flight, here 1000..4000, and holds something. */
START_TEST(tcp_record_sack_edges)
{
	static const struct {
		u32 from, to;
		bool valid;
	} blocks[] = {{2000, 3000, true}, {1000, 4000, true}, {1001, 3999, true},
		{1000, 4001, false}, {4000, 5000, false}, {3999, 4001, false}, {2000, 2000, false},
		{1000, 1000, false}, {4000, 4000, false}, {3000, 2000, false}, {5000, 6000, false},
		{2000, 0x80000000u + 2000, false}};

	for (u32 i = 0; i < ARRAY_LEN(blocks); i++) {
		struct tcp_segment seg = prepared_ack(1000);
		struct tcp_news news = {0};

		setup();
		prepared_send_apart(&c, 4);
		tcp_record_acked(c.s, c.t, &seg, &news);
		c.t->snd_una = seg.ack;
		prepared_sack(&seg, blocks[i].from, blocks[i].to);
		tcp_record_sacks(c.s, c.t, &seg, &news);
		prepared_check(&c);
		ck_assert_msg(news.sacked == (blocks[i].valid ? blocks[i].to - blocks[i].from : 0),
			"block %u", i);
		ck_assert_msg(
			net_count(c.s, "tcp_sack_invalid") == !blocks[i].valid, "block %u", i);
	}
}
END_TEST

/* RFC 2018 2: only where both sides have permitted it; and a count alone is no option. */
START_TEST(tcp_record_sack_not_agreed)
{
	struct tcp_segment seg = prepared_ack(0);
	struct tcp_news news = {0};

	prepared_send(&c, 3);
	prepared_sack(&seg, 1000, 2000);
	c.t->flags = 0;
	tcp_record_sacks(c.s, c.t, &seg, &news);
	ck_assert_uint_eq(news.sacked, 0);
	c.t->flags = TCPF_SACK;
	seg.opt.flags = 0;
	tcp_record_sacks(c.s, c.t, &seg, &news);
	ck_assert_uint_eq(news.sacked, 0);
	ck_assert_uint_eq(tcp_record(c.s, c.t)->count, 1);
}
END_TEST

/* A record that is full and may not grow, of runs of 1000 bytes from byte 0 on. */
static struct tcp_sent *full_record(void)
{
	struct tcp_sent *r;

	c.t->mss = TCP_MSS_DEFAULT - 1;
	prepared_send(&c, 1);
	kind_with_left(1);
	ck_assert_uint_eq(kind_with_left(1), SLAB_PKT_LARGE);
	r = tcp_record(c.s, c.t);
	tcp_sent_init(r, pkt_get(c.s, c.t->sent)->room);
	c.t->snd_nxt = c.t->snd_una;
	prepared_send(&c, r->max);
	for (u32 i = 1; i < r->max; i++)
		tcp_sent_split(r, prepared_at(i * 1000));
	ck_assert_uint_eq(r->count, r->max);
	prepared_check(&c);
	return r;
}

/* ... has no room for the parts of a run: what is SACKed of one is not noted, a whole one is. */
START_TEST(tcp_record_full)
{
	static const struct {
		u32 from, to, sacked;
	} blocks[] = {{2000, 3500, 0}, {2500, 4000, 0}, {2500, 3500, 0}, {500, 1000, 0},
		{2000, 3000, 1000}};
	struct tcp_sent *r = full_record();

	c.t->snd_max_wnd = 1u << 30;
	for (u32 i = 0; i < ARRAY_LEN(blocks); i++) {
		struct tcp_segment seg = prepared_ack(0);
		struct tcp_news news = {0};

		prepared_sack(&seg, blocks[i].from, blocks[i].to);
		tcp_record_sacks(c.s, c.t, &seg, &news);
		prepared_check(&c);
		ck_assert_uint_eq(news.sacked, blocks[i].sacked);
		ck_assert_uint_eq(r->sacked, blocks[i].sacked);
	}
}
END_TEST

/* ... and all of a run counts as sent again when a part of it is. */
START_TEST(tcp_record_full_again)
{
	struct tcp_sent *r = full_record();

	tcp_record_lose(c.s, c.t, r, 5);
	prepared_send_again(&c, 5500, 6000);
	prepared_check(&c);
	ck_assert_uint_eq(r->again, 1000);
	ck_assert_uint_eq(prepared_flags(&c, 5000), SENT_LOST | SENT_AGAIN | SENT_TWICE);
	ck_assert_uint_eq(prepared_flags(&c, 6000), 0);
}
END_TEST

/* --- what is sent again --- */

/* Lost segments go together as far as they are neighbours, and nothing behind the last. */
START_TEST(tcp_record_next_lost)
{
	struct tcp_sent *r;
	u32 seq, end;

	prepared_send_apart(&c, 6);
	ck_assert(!tcp_recovery_next(c.s, c.t, &seq, &end));
	r = tcp_record(c.s, c.t);
	for (u32 i = 1; i < 6; i++) {
		if (i != 3)
			tcp_record_lose(c.s, c.t, r, i);
	}
	prepared_poison(&c, SENT_LOST);
	ck_assert(tcp_recovery_next(c.s, c.t, &seq, &end));
	ck_assert_uint_eq(seq, prepared_at(1000));
	ck_assert_uint_eq(end, prepared_at(3000));
	prepared_send_again(&c, 1000, 3000);
	prepared_poison(&c, SENT_LOST);
	ck_assert(tcp_recovery_next(c.s, c.t, &seq, &end));
	ck_assert_uint_eq(seq, prepared_at(4000));
	ck_assert_uint_eq(end, prepared_at(6000));
	prepared_send_again(&c, 4000, 6000);
	prepared_poison(&c, SENT_LOST);
	ck_assert(!tcp_recovery_next(c.s, c.t, &seq, &end));
	prepared_check(&c);
}
END_TEST

/* What is in the range, and not what touches it, is to be sent again; nothing behind the last. */
START_TEST(tcp_record_resend_range)
{
	struct tcp_segment seg = prepared_ack(0);
	struct tcp_news news = {0};

	prepared_send_apart(&c, 6);
	prepared_sack(&seg, 3000, 4000);
	tcp_record_sacks(c.s, c.t, &seg, &news);
	prepared_poison(&c, 0);
	tcp_recovery_resend_range(c.s, c.t, prepared_at(2000), prepared_at(5000));
	prepared_check(&c);
	ck_assert_uint_eq(tcp_record(c.s, c.t)->lost, 2000);
	ck_assert_uint_eq(prepared_flags(&c, 1000), 0);
	ck_assert_uint_eq(prepared_flags(&c, 2000), SENT_LOST);
	ck_assert_uint_eq(prepared_flags(&c, 3000), SENT_SACKED);
	ck_assert_uint_eq(prepared_flags(&c, 4000), SENT_LOST);
	ck_assert_uint_eq(prepared_flags(&c, 5000), 0);
	prepared_poison(&c, 0);
	tcp_recovery_resend(c.s, c.t);
	prepared_check(&c);
	ck_assert_uint_eq(tcp_record(c.s, c.t)->lost, 5000);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, tcp_record_grows);
	tcase_add_test(tc, tcp_record_tiny_segments);
	tcase_add_test(tc, tcp_record_lost_once);
	tcase_add_loop_test(tc, tcp_record_original, 0, 2);
	tcase_add_test(tc, tcp_record_reneging);
	tcase_add_loop_test(tc, tcp_record_dsack, 0, (int)ARRAY_LEN(dsack_cases));
	tcase_add_test(tc, tcp_record_dsack_undo);
	tcase_add_test(tc, tcp_record_sack_edges);
	tcase_add_test(tc, tcp_record_sack_not_agreed);
	tcase_add_test(tc, tcp_record_full);
	tcase_add_test(tc, tcp_record_full_again);
	tcase_add_test(tc, tcp_record_next_lost);
	tcase_add_test(tc, tcp_record_resend_range);
}

int main(void)
{
	return check_lines_case("tcp_record", 0, add);
}
