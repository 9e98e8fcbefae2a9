/*
 * The tail loss probe (RFC 8985 7) on a connection made for it: when it is due, when there is none, and what its answer tells. What is
 * sent as a probe is seen by the wire scripts tlp-*.
 */
#include <string.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"
#include "tests/lib/net_lib.h"

#define MSS    1000u
#define RTT_NS (100 * NS_PER_MS)

static struct stack *s;
static struct tcp t;
static struct tcp_sent *r;

/* Two segments are in flight since now. */
static void setup(void)
{
	struct tcp_sent_run run = {.start = 1, .end = 1 + 2 * MSS};

	s = engine_new(NULL);
	s->now_ns = 10 * NS_PER_S;
	memset(&t, 0, sizeof(t));
	t.state = TCP_ESTABLISHED;
	t.flags = TCPF_SACK;
	t.mss = MSS;
	t.snd_una = run.start;
	t.snd_nxt = t.snd_end = run.end;
	t.snd_wnd = 2 * MSS;
	t.rtt.srtt_ns = RTT_NS;
	t.sent_ns = s->now_ns;
	t.rtx_at = s->now_ns + NS_PER_S;
	r = tcp_record_make(s, &t);
	ck_assert_ptr_nonnull(r);
	tcp_sent_add(r, &run);
}

static void teardown(void)
{
	tcp_record_clear(s, &t);
	engine_free(s);
}

/* After how many nanoseconds the probe is due; NEVER: there is none. */
static u64 due_ns(void)
{
	tcp_tlp_arm(s, &t);
	return t.tlp_at == NEVER ? NEVER : t.tlp_at - s->now_ns;
}

/* 7.2: two round trips after the last that was sent or acknowledged, never later than the timeout. */
START_TEST(tcp_tlp_due)
{
	ck_assert_uint_eq(due_ns(), 2 * RTT_NS);
	t.acked_ns = s->now_ns + 1;
	ck_assert_uint_eq(due_ns(), 2 * RTT_NS + 1);
	t.pace_ns = s->now_ns + 2; /* it leaves only then */
	ck_assert_uint_eq(due_ns(), 2 * RTT_NS + 2);
	t.rtx_at = s->now_ns + RTT_NS;
	ck_assert_uint_eq(due_ns(), RTT_NS);
	t.rtx_at = s->now_ns + 20 * NS_PER_S;
	t.rtt.srtt_ns = 0; /* no round trip is known */
	ck_assert_uint_eq(due_ns(), NS_PER_S + 2);
	t.rtt.srtt_ns = NS_PER_MS; /* as Linux */
	ck_assert_uint_eq(due_ns(), 10 * NS_PER_MS + 2);
}
END_TEST

/* 7.2: with one segment in flight a delayed ACK is waited for. */
START_TEST(tcp_tlp_one_segment)
{
	t.snd_una = t.snd_nxt - MSS;
	ck_assert_uint_eq(due_ns(), 2 * RTT_NS + 200 * NS_PER_MS);
	t.snd_una--;
	ck_assert_uint_eq(due_ns(), 2 * RTT_NS);
	t.snd_una = t.snd_nxt - 1;
	ck_assert_uint_eq(due_ns(), 2 * RTT_NS + 200 * NS_PER_MS);
}
END_TEST

/* 7.2: none without SACK, in recovery, with something SACKed, while there is one already. Each of these alone keeps it back. */
START_TEST(tcp_tlp_none)
{
	for (u32 i = 0; i < 10; i++) {
		teardown();
		setup();
		ck_assert_uint_ne(due_ns(), NEVER);
		if (i == 0)
			s->tunables.tcp_early_retrans = 0;
		else if (i == 1)
			t.flags = 0;
		else if (i == 2)
			t.recovery = TCP_RECOVERY;
		else if (i == 3)
			t.recovery = TCP_LOSS;
		else if (i == 4)
			tcp_record_clear(s, &t);
		else if (i == 5)
			r->count = 0;
		else if (i == 6)
			r->sacked = MSS;
		else if (i == 7)
			t.probe_out = true;
		else if (i == 8)
			t.state = TCP_SYN_RECEIVED;
		else
			t.rtx_at = NEVER;
		ck_assert_msg(due_ns() == NEVER, "case %u", i);
	}
}
END_TEST

/* A window that was taken back lets nothing go. */
START_TEST(tcp_tlp_window)
{
	t.snd_wnd = 2 * MSS - 1;
	ck_assert_uint_eq(due_ns(), NEVER);
	t.snd_wnd++;
	ck_assert_uint_eq(due_ns(), 2 * RTT_NS);
	t.snd_wnd++;
	ck_assert_uint_eq(due_ns(), 2 * RTT_NS);
}
END_TEST

/* 7.3: what has come between the timer and its end: nothing is sent, whatever there is to send it with. */
START_TEST(tcp_tlp_no_more)
{
	for (u32 i = 0; i < 5; i++) {
		teardown();
		setup();
		if (i == 0)
			tcp_record_clear(s, &t);
		else if (i == 1)
			r->count = 0;
		else if (i == 2)
			t.recovery = TCP_RECOVERY;
		else if (i == 3)
			t.recovery = TCP_LOSS;
		else
			t.probe_out = true;
		ck_assert(!tcp_tlp_send(s, NULL, &t));
		ck_assert_uint_eq(t.tlp_at, NEVER);
	}
}
END_TEST

/* 7.4.2: what an ACK says of the probe. */
START_TEST(tcp_tlp_answer)
{
	enum { END = 5000 };
	static const struct {
		u32 ack;
		bool out, again, dsack, repeated, still_out, mended;
	} cases[] = {
		{END + 1, false, true, false, false, false, false}, /* there was none */
		{END - 1, true, false, false, false, true, false},  /* not there yet */
		{END - 1, true, true, true, false, true, false},
		{END, true, false, false, false, false, false}, /* new data */
		{END + 1, true, false, false, false, false, false},
		{END, true, true, true, false, false, false}, /* both copies: case 1, */
		{END + 1, true, true, true, false, false, false},
		{END, true, true, false, true, false, false}, /* ... and case 2 */
		{END, true, true, false, false, true, false}, /* not known yet */
		{END + 1, true, true, false, false, false, true},
	};

	for (u32 i = 0; i < ARRAY_LEN(cases); i++) {
		struct tcp_segment seg = {.ack = cases[i].ack};

		t.tlp_end = END;
		t.probe_out = cases[i].out;
		t.probe_again = cases[i].again;
		ck_assert_msg(tcp_tlp_ack(s, &t, &seg, cases[i].dsack, cases[i].repeated) == cases[i].mended, "case %u", i);
		ck_assert_msg(t.probe_out == cases[i].still_out, "case %u", i);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, tcp_tlp_due);
	tcase_add_test(tc, tcp_tlp_one_segment);
	tcase_add_test(tc, tcp_tlp_none);
	tcase_add_test(tc, tcp_tlp_window);
	tcase_add_test(tc, tcp_tlp_no_more);
	tcase_add_test(tc, tcp_tlp_answer);
}

int main(void)
{
	return check_lines_case("tcp_tlp", 0, add_tests);
}
