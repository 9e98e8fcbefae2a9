/* What is done about losses, step by step on a prepared connection: duplicate ACKs, rate reduction,
 * undoing, F-RTO and the timeout. */
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

static void answer_ack(u32 byte)
{
	struct tcp_segment seg = prepared_ack(byte);

	prepared_answer(&c, &seg);
}

static void answer_sack(u32 byte, u32 from, u32 to)
{
	struct tcp_segment seg = prepared_ack(byte);

	prepared_sack(&seg, from, to);
	prepared_answer(&c, &seg);
}

/* --- without SACK --- */

/* RFC 5681 3.2: each duplicate stands for one segment that has arrived, but there are no more of
 * them than segments behind the first, ... */
START_TEST(tcp_recovery_reno_no_more_than_sent)
{
	c.t->flags = 0;
	prepared_send_apart(&c, 2);
	prepared_poison(&c, 0);
	prepared_wait(&c, 10);
	answer_ack(0);
	ck_assert_uint_eq(c.t->dupacks, 1000);
	answer_ack(0);
	ck_assert_uint_eq(c.t->dupacks, 1000);
}
END_TEST

/* ... and it is none of one that was sent just now. Before the round trip is known each counts. */
START_TEST(tcp_recovery_reno_not_so_soon)
{
	c.t->flags = 0;
	prepared_send(&c, 4);
	ck_assert_uint_eq(c.t->rtt.min_ns, NEVER);
	answer_ack(0);
	ck_assert_uint_eq(c.t->dupacks, 1000);
	c.t->rtt.min_ns = 20 * NS_PER_MS;
	prepared_wait(&c, 9);
	answer_ack(0);
	ck_assert_uint_eq(c.t->dupacks, 1000);
	prepared_wait(&c, 1);
	answer_ack(0);
	ck_assert_uint_eq(c.t->dupacks, 2000);
}
END_TEST

/* A connection that has lost its record lives on until the timeout. */
START_TEST(tcp_recovery_reno_no_record)
{
	c.t->flags = 0;
	prepared_send_apart(&c, 3);
	tcp_record_clear(c.s, c.t);
	for (u32 i = 0; i < 3; i++) {
		struct tcp_segment seg = prepared_ack(0);

		tcp_ack(c.s, c.sk, c.t, &seg);
		ck_assert_uint_eq(c.t->dupacks, 0);
	}
	ck_assert_uint_eq(c.t->recovery, TCP_OPEN);
	ck_assert_uint_eq(c.t->lost, 0);
}
END_TEST

/* RFC 5681 3.2: three duplicates of the same ACK. */
START_TEST(tcp_recovery_reno_in_a_row)
{
	c.t->flags = 0;
	prepared_send_apart(&c, 6);
	prepared_wait(&c, 10);
	answer_ack(0);
	answer_ack(0);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 4000);
	answer_ack(1000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 5000);
	answer_ack(1000);
	answer_ack(1000);
	ck_assert_uint_eq(c.t->recovery, TCP_OPEN);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 3000);
	answer_ack(1000);
	ck_assert_uint_eq(c.t->recovery, TCP_RECOVERY);
	ck_assert_uint_eq(prepared_flags(&c, 1000), SENT_LOST);
}
END_TEST

/* RFC 6582 3.2 step 3: a partial ACK is for what was sent again, and for some of what the
 * duplicates stood for; the next is missing. RFC 9937: the first goes at once, and then as many
 * bytes as the reduction leaves. */
START_TEST(tcp_recovery_reno_partial)
{
	c.t->flags = 0;
	prepared_send_apart(&c, 10);
	prepared_wait(&c, 10);
	for (u32 i = 0; i < 3; i++)
		answer_ack(0);
	ck_assert_uint_eq(c.t->ssthresh, 5000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 6000);
	ck_assert_uint_eq(c.t->cwnd, 7000); /* ceil(1000 * 5000 / 10000), and at least a segment */
	prepared_send_again(&c, 0, 1000);
	answer_ack(0);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 6000);
	ck_assert_uint_eq(c.t->cwnd, 6000); /* ceil(2000 * 5000 / 10000) - 1000 */
	prepared_wait(&c, 10);
	answer_ack(2000);
	ck_assert_uint_eq(c.t->dupacks, 3000);
	ck_assert_uint_eq(prepared_flags(&c, 2000), SENT_LOST);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 4000);
	ck_assert_uint_eq(c.t->cwnd, 5000);
	prepared_send_again(&c, 2000, 3000);
	answer_ack(10000);
	ck_assert_uint_eq(c.t->recovery, TCP_OPEN);
	ck_assert_uint_eq(c.t->cwnd, 5000);
	ck_assert_uint_eq(c.t->dupacks, 0);
}
END_TEST

/* --- RFC 9937 --- */

/* Above ssthresh: in proportion to what arrives, ... */
START_TEST(tcp_recovery_prr_proportional)
{
	prepared_send_apart(&c, 10);
	prepared_wait(&c, 100);
	answer_sack(0, 1000, 4000);
	ck_assert_uint_eq(c.t->recovery, TCP_RECOVERY);
	ck_assert_uint_eq(c.t->ssthresh, 5000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 6000);
	ck_assert_uint_eq(c.t->cwnd, 7500); /* 3000 * 5000 / 10000 */
	prepared_send_again(&c, 0, 1000);
	answer_sack(0, 4000, 5000);
	ck_assert_uint_eq(c.t->cwnd, 7000); /* 4000 * 5000 / 10000 - 1000 */
	answer_sack(0, 5000, 6000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 5000);
	ck_assert_uint_eq(c.t->cwnd, 5000); /* at ssthresh */
}
END_TEST

/* ... less than a segment too, but for the first. */
START_TEST(tcp_recovery_prr_part)
{
	prepared_send_apart(&c, 10);
	prepared_wait(&c, 100);
	answer_sack(0, 1000, 4000);
	prepared_send_again(&c, 0, 1000);
	tcp_record_sent(c.s, c.t, c.t->snd_nxt, c.t->snd_nxt + 500);
	c.t->snd_nxt += 500;
	prepared_wait(&c, 100);
	answer_ack(4000);
	ck_assert_uint_eq(c.t->recovery, TCP_RECOVERY);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 6500);
	ck_assert_uint_eq(c.t->cwnd, 7000); /* 4000 * 5000 / 10000 - 1500 */
}
END_TEST

/* Below it: what has arrived, and a segment more with an ACK that advances and shows no more
 * losses. */
START_TEST(tcp_recovery_prr_below)
{
	c.t->cwnd = 20000;
	prepared_send_apart(&c, 20);
	prepared_wait(&c, 100);
	answer_sack(0, 15000, 18000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 2000);
	ck_assert_uint_eq(c.t->ssthresh, 10000);
	ck_assert_uint_eq(c.t->cwnd, 5000);
	prepared_send_again(&c, 0, 3000);
	answer_sack(0, 18000, 20000); /* advances nothing */
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 3000);
	ck_assert_uint_eq(c.t->cwnd, 5000);
	prepared_send_again(&c, 3000, 5000);
	prepared_wait(&c, 110);
	answer_ack(1000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 4000);
	ck_assert_uint_eq(c.t->cwnd, 6000); /* MAX(6000 - 5000, 1000) + 1000 */
}
END_TEST

START_TEST(tcp_recovery_prr_more_lost)
{
	c.t->cwnd = 20000;
	prepared_send_apart(&c, 20);
	prepared_wait(&c, 100);
	answer_sack(0, 10000, 13000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 7000);
	ck_assert_uint_eq(c.t->cwnd, 10000);
	prepared_send_again(&c, 0, 3000);
	prepared_wait(&c, 110);
	answer_sack(1000, 19000, 20000);
	ck_assert_uint_eq(tcp_record(c.s, c.t)->lost, 15000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 2000);
	ck_assert_uint_eq(c.t->cwnd, 4000); /* MAX(5000 - 3000, 2000) */
}
END_TEST

/* More was sent than has arrived: not more than what has arrived now. */
START_TEST(tcp_recovery_prr_ahead)
{
	prepared_send_apart(&c, 10);
	prepared_wait(&c, 100);
	answer_sack(0, 7000, 10000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 0);
	ck_assert_uint_eq(c.t->cwnd, 3000);
	prepared_send_again(&c, 0, 3000);
	c.t->prr_out += 3000; /* beyond the window, as a device that was asked twice */
	prepared_wait(&c, 110);
	answer_ack(1000);
	ck_assert_uint_eq(tcp_pipe(c.s, c.t), 2000);
	ck_assert_uint_eq(c.t->cwnd, 4000); /* MAX(0, 1000) + 1000 */
}
END_TEST

/* --- undoing --- */

#define NO_ECHO INT32_MIN

struct undo_case {
	const char *what;
	u32 flags, opt_flags;
	s32 echo; /* timestamp echoed, from when it was sent again; NO_ECHO: 0 */
	bool again, undoable, undone;
};

/* RFC 3522 3.2, RFC 4015 3.2: the ACK is for what was sent before it was sent again, so that
 * nothing had been lost. */
static const struct undo_case undo_cases[] = {
	{"sent before", TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, -1, true, true, true},
	{"sent again", TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, 0, true, true, false},
	{"not agreed", 0, TCP_OPT_TIMESTAMP, -1, true, true, false},
	{"no option", TCPF_TIMESTAMP, 0, -1, true, true, false},
	{"no echo", TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, NO_ECHO, true, true, false},
	{"congestion in any case", TCPF_TIMESTAMP, TCP_OPT_TIMESTAMP, -1, true, false, false},
	/* It had not been sent again: it was late (Linux's tcp_packet_delayed). */
	{"not sent again", 0, 0, 0, false, true, true},
	{"not sent again, but congestion", 0, 0, 0, false, false, false},
};

START_TEST(tcp_recovery_undo)
{
	const struct undo_case *u = &undo_cases[_i];
	struct tcp_segment seg = prepared_ack(4000);

	c.t->flags = TCPF_SACK | u->flags;
	prepared_send_apart(&c, 10);
	prepared_wait(&c, 100);
	answer_sack(0, 1000, 4000);
	ck_assert_uint_eq(c.t->recovery, TCP_RECOVERY);
	if (u->again)
		prepared_send_again(&c, 0, 1000);
	if (!u->undoable)
		c.t->undoable = false;
	seg.opt.flags = (u8)u->opt_flags;
	seg.opt.tsecr = u->echo == NO_ECHO ? 0 : tcp_clock(c.s, c.t->ts_offset) + (u32)u->echo;
	ck_assert(seq_gt(tcp_clock(c.s, c.t->ts_offset), 0));
	prepared_poison(&c, SENT_LOST);
	prepared_wait(&c, 110);
	prepared_answer(&c, &seg);
	ck_assert_msg((c.t->recovery == TCP_OPEN) == u->undone, "%s", u->what);
	ck_assert_msg(net_count(c.s, "tcp_full_undo") == u->undone, "%s", u->what);
	ck_assert_msg((c.t->cwnd == 10000) == u->undone, "%s", u->what);
	ck_assert_uint_eq(c.t->ssthresh, u->undone ? UINT32_MAX : 5000);
}
END_TEST

/* RFC 3522 3.2 step 1: it is the first retransmission whose timestamp is remembered: an echo of
 * that undoes nothing, though something was sent again later. */
START_TEST(tcp_recovery_undo_first)
{
	struct tcp_segment seg = prepared_ack(1000);

	c.t->flags |= TCPF_TIMESTAMP;
	prepared_send_apart(&c, 10);
	prepared_wait(&c, 100);
	answer_sack(0, 2000, 5000);
	prepared_send_again(&c, 0, 1000);
	seg.opt.flags = TCP_OPT_TIMESTAMP;
	seg.opt.tsecr = tcp_clock(c.s, c.t->ts_offset);
	prepared_wait(&c, 50);
	prepared_send_again(&c, 1000, 2000);
	prepared_wait(&c, 60);
	prepared_answer(&c, &seg);
	ck_assert_uint_eq(c.t->recovery, TCP_RECOVERY);
}
END_TEST

/* An ACK that acknowledges nothing new echoes what was acknowledged last (RFC 7323 4.3): its
 * timestamp tells nothing. */
START_TEST(tcp_recovery_undo_duplicate)
{
	struct tcp_segment seg = prepared_ack(1000);
	u32 before;

	c.t->flags |= TCPF_TIMESTAMP;
	prepared_send_apart(&c, 10);
	prepared_wait(&c, 100);
	before = tcp_clock(c.s, c.t->ts_offset) - 1;
	answer_sack(0, 2000, 5000);
	prepared_send_again(&c, 0, 2000);
	prepared_wait(&c, 110);
	answer_ack(1000);
	prepared_sack(&seg, 0, 1000);
	seg.opt.flags |= TCP_OPT_TIMESTAMP;
	seg.opt.tsecr = before;
	prepared_answer(&c, &seg);
	ck_assert_uint_eq(c.t->totals.dsack_dups, 1);
	ck_assert_uint_eq(c.t->undo_again, 1000);
	ck_assert_uint_eq(c.t->recovery, TCP_RECOVERY);
}
END_TEST

/* RFC 3708 2 after a timeout: it is counted as such, and the timeouts in a row have an end. */
START_TEST(tcp_recovery_undo_timeout)
{
	c.t->flags &= ~(u32)TCPF_TIMESTAMP;
	c.s->tunables.tcp_frto = 0;
	prepared_send_apart(&c, 5);
	answer_ack(1000);
	prepared_wait(&c, 1000);
	tcp_recovery_timeout(c.s, c.t);
	c.t->retries = 1;
	c.t->rto_since_ns = c.s->now_ns;
	ck_assert_uint_eq(c.t->cwnd, 1000);
	prepared_send_again(&c, 1000, 2000);
	prepared_wait(&c, 100);
	prepared_poison(&c, SENT_LOST);
	{
		struct tcp_segment seg = prepared_ack(1000);

		prepared_sack(&seg, 2000, 3000);
		prepared_sack(&seg, 2000, 5000);
		prepared_answer(&c, &seg);
	}
	ck_assert_uint_eq(c.t->recovery, TCP_OPEN);
	ck_assert_uint_eq(net_count(c.s, "tcp_loss_undo"), 1);
	ck_assert_uint_eq(net_count(c.s, "tcp_full_undo"), 0);
	ck_assert_uint_eq(c.t->retries, 0);
	ck_assert_uint_eq(c.t->totals.rto_time_ms, 100);
	ck_assert_uint_eq(c.t->cwnd, 10000);
}
END_TEST

/* What was sent again before a reduction and is still out: its ACK carries an earlier timestamp
 * than what will be sent again now. */
START_TEST(tcp_recovery_undo_stamp)
{
	static const struct {
		u32 again_from; /* sent again 1000 bytes from there; UINT32_MAX: nothing */
		bool lost, kept;
	} cases[] = {
		{2000, false, true}, {0, true, true}, {0, false, true}, {UINT32_MAX, false, false}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		setup();
		prepared_send_apart(&c, 5);
		if (cases[i].again_from != UINT32_MAX)
			prepared_send_again(&c, cases[i].again_from, cases[i].again_from + 1000);
		if (cases[i].lost)
			tcp_record_lose(c.s, c.t, tcp_record(c.s, c.t), 0);
		c.t->recovery = TCP_LOSS;
		c.t->recover = c.t->snd_nxt;
		c.t->undoable = c.t->stamped = true;
		c.t->again_stamp = 77;
		tcp_recovery_timeout(c.s, c.t);
		ck_assert(c.t->undoable);
		ck_assert_msg(c.t->stamped == cases[i].kept, "case %u", i);
	}
}
END_TEST

/* --- F-RTO (RFC 5682 3.1) --- */

/* Bytes 2000..7000 are out when the timeout strikes; 2000..3000 goes again; 5000 more wait. */
static void frto_begin(void)
{
	prepared_send_apart(&c, 2);
	prepared_wait(&c, 10);
	answer_ack(2000);
	prepared_send_apart(&c, 5);
	c.t->snd_end += 5000;
	prepared_wait(&c, 1000);
	tcp_recovery_timeout(c.s, c.t);
	ck_assert(c.t->frto);
	prepared_send_again(&c, 2000, 3000);
	prepared_wait(&c, 10);
}

/* Step 2b: an ACK that advances, and what has not been sent goes before the rest that is lost. */
START_TEST(tcp_recovery_frto_new)
{
	u32 seq, end;

	frto_begin();
	answer_sack(2000, 0, 1000); /* a late duplicate: no ACK of either kind */
	ck_assert(c.t->frto);
	ck_assert(!c.t->frto_new);
	answer_ack(3000);
	ck_assert_uint_eq(c.t->recovery, TCP_LOSS);
	ck_assert(c.t->frto && c.t->frto_new);
	ck_assert(!tcp_recovery_next(c.s, c.t, &seq, &end));
}
END_TEST

/* ... if there is any, and the window lets it. */
START_TEST(tcp_recovery_frto_nothing_new)
{
	static const struct {
		u32 waits, window;
		bool goes;
	} cases[] = {{5000, 4001, true}, {5000, 4000, false}, {1, 4001, true}, {0, 9000, false}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct tcp_segment seg = prepared_ack(3000);
		u32 seq, end;

		setup();
		frto_begin();
		c.t->snd_end = c.t->snd_nxt + cases[i].waits;
		c.t->snd_wscale = 0;
		seg.window = (u16)cases[i].window;
		prepared_answer(&c, &seg);
		ck_assert_msg(c.t->frto == cases[i].goes, "case %u", i);
		ck_assert_uint_eq(c.t->frto_new, cases[i].goes);
		ck_assert_uint_eq(tcp_recovery_next(c.s, c.t, &seq, &end), !cases[i].goes);
	}
}
END_TEST

/* Step 3a: the next reports what is behind a hole: the timeout was right. A duplicate says nothing.
 */
START_TEST(tcp_recovery_frto_real)
{
	frto_begin();
	answer_ack(3000);
	prepared_send(&c, 2);
	prepared_wait(&c, 10);
	answer_sack(3000, 0, 1000);
	ck_assert(c.t->frto);
	answer_sack(3000, 7000, 8000);
	ck_assert(!c.t->frto);
	ck_assert_uint_eq(c.t->recovery, TCP_LOSS);
}
END_TEST

/* Step 3b: it acknowledges what was sent once. */
START_TEST(tcp_recovery_frto_spurious)
{
	frto_begin();
	answer_ack(3000);
	prepared_send(&c, 2);
	prepared_wait(&c, 10);
	answer_ack(4000);
	ck_assert_uint_eq(c.t->recovery, TCP_OPEN);
	ck_assert_uint_eq(net_count(c.s, "tcp_spurious_timeout"), 1);
	ck_assert_uint_eq(c.t->cwnd, 10000);
}
END_TEST

/* When it is tried: with SACK, for the first timeout and those that follow it, not in a recovery or
 * behind progress. */
START_TEST(tcp_recovery_frto_when)
{
	static const struct {
		u8 tcp_frto, sack, recovery, retries;
		bool tried;
	} cases[] = {{1, 1, TCP_OPEN, 0, true}, {2, 1, TCP_OPEN, 0, true},
		{0, 1, TCP_OPEN, 0, false}, {1, 0, TCP_OPEN, 0, false}, {1, 1, TCP_LOSS, 1, true},
		{0, 1, TCP_LOSS, 1, false}, {1, 0, TCP_LOSS, 1, false}, {1, 1, TCP_LOSS, 0, false},
		{1, 1, TCP_RECOVERY, 0, false}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		setup();
		prepared_send_apart(&c, 5);
		c.s->tunables.tcp_frto = cases[i].tcp_frto;
		c.t->flags = cases[i].sack ? TCPF_SACK : 0;
		c.t->recovery = cases[i].recovery;
		c.t->retries = cases[i].retries;
		c.t->recover = c.t->snd_nxt;
		tcp_recovery_timeout(c.s, c.t);
		ck_assert_msg(c.t->frto == cases[i].tried, "case %u", i);
	}
}
END_TEST

/* --- the timeout --- */

/* RFC 5681 3.1: ssthresh is set to half of the flight once for the same flight, and held when that
 * times out again; a new one when there was progress between. A window that a mark has reduced
 * already is the same flight (RFC 3168 6.1.2). */
START_TEST(tcp_recovery_timeout_reduces)
{
	static const struct {
		u8 recovery, cwr, retries;
		u32 recover;
		bool reduced;
	} cases[] = {{TCP_OPEN, 0, 0, 0, true}, {TCP_OPEN, 0, 0, 1, true},
		{TCP_OPEN, 1, 0, 1, false}, {TCP_OPEN, 1, 0, 0, true},
		{TCP_RECOVERY, 0, 0, 10000, false}, {TCP_RECOVERY, 0, 0, 1, false},
		{TCP_RECOVERY, 0, 0, 0, true}, {TCP_LOSS, 0, 1, 10000, false},
		{TCP_LOSS, 0, 0, 10000, true}, {TCP_LOSS, 0, 1, 0, true}};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		setup();
		prepared_send_apart(&c, 10);
		c.t->recovery = cases[i].recovery;
		c.t->cwr = cases[i].cwr;
		c.t->retries = cases[i].retries;
		c.t->recover = prepared_at(cases[i].recover);
		c.t->ssthresh = 7000;
		tcp_recovery_timeout(c.s, c.t);
		ck_assert_msg(c.t->ssthresh == (cases[i].reduced ? 5000 : 7000),
			"case %u: ssthresh %u", i, c.t->ssthresh);
		ck_assert_uint_eq(c.t->cwnd, 1000);
		ck_assert_uint_eq(c.t->recovery, TCP_LOSS);
		ck_assert(!c.t->cwr);
	}
}
END_TEST

/* RFC 8985 6.3: the first, and of the others those that were sent a round trip and the reordering
 * window ago. */
START_TEST(tcp_recovery_timeout_lost)
{
	tcp_rtt_sample(&c.t->rtt, 100 * NS_PER_MS, c.s->now_ns);
	prepared_send_apart(&c, 5);
	prepared_wait(&c, 100);
	answer_sack(0, 3000, 4000);
	ck_assert_uint_eq(c.t->recovery, TCP_OPEN);
	prepared_wait(&c, 100);
	prepared_send_again(&c, 0, 1000);
	prepared_wait(&c, 1);
	prepared_send_again(&c, 1000, 2000);
	prepared_wait(&c, 10);
	tcp_recovery_timeout(c.s, c.t);
	prepared_check(&c);
	ck_assert_uint_eq(prepared_flags(&c, 0), SENT_LOST | SENT_TWICE);
	ck_assert_uint_eq(prepared_flags(&c, 1000), SENT_AGAIN | SENT_TWICE);
	ck_assert_uint_eq(prepared_flags(&c, 2000), SENT_LOST);
	ck_assert_uint_eq(prepared_flags(&c, 3000), SENT_SACKED);
	ck_assert_uint_eq(prepared_flags(&c, 4000), SENT_LOST);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, tcp_recovery_reno_no_more_than_sent);
	tcase_add_test(tc, tcp_recovery_reno_not_so_soon);
	tcase_add_test(tc, tcp_recovery_reno_no_record);
	tcase_add_test(tc, tcp_recovery_reno_in_a_row);
	tcase_add_test(tc, tcp_recovery_reno_partial);
	tcase_add_test(tc, tcp_recovery_prr_proportional);
	tcase_add_test(tc, tcp_recovery_prr_part);
	tcase_add_test(tc, tcp_recovery_prr_below);
	tcase_add_test(tc, tcp_recovery_prr_more_lost);
	tcase_add_test(tc, tcp_recovery_prr_ahead);
	tcase_add_loop_test(tc, tcp_recovery_undo, 0, (int)ARRAY_LEN(undo_cases));
	tcase_add_test(tc, tcp_recovery_undo_first);
	tcase_add_test(tc, tcp_recovery_undo_duplicate);
	tcase_add_test(tc, tcp_recovery_undo_timeout);
	tcase_add_test(tc, tcp_recovery_undo_stamp);
	tcase_add_test(tc, tcp_recovery_frto_new);
	tcase_add_test(tc, tcp_recovery_frto_nothing_new);
	tcase_add_test(tc, tcp_recovery_frto_real);
	tcase_add_test(tc, tcp_recovery_frto_spurious);
	tcase_add_test(tc, tcp_recovery_frto_when);
	tcase_add_test(tc, tcp_recovery_timeout_reduces);
	tcase_add_test(tc, tcp_recovery_timeout_lost);
}

int main(void)
{
	return check_lines_case("tcp_recovery", 0, add);
}
