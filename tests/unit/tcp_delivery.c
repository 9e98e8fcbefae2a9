/* The delivery rate (draft-cheng-iccrg-delivery-rate-estimation): which segment a sample is of, over what time, and what is not one. */
#include <stdlib.h>
#include <string.h>

#include "stack/tcp_conn.h"
#include "tests/lib/check_lines.h"

#define MSS 1000u

static struct tcp t;
static struct stack *s;
static struct tcp_sample a;

static void at_us(u64 us)
{
	s->now_ns = (1000000000 + us) * NS_PER_US;
}

static void setup(void)
{
	s = calloc(1, sizeof(*s));
	memset(&t, 0, sizeof(t));
	memset(&a, 0, sizeof(a));
	t.mss = MSS;
	t.rtt.min_ns = NEVER;
	t.delivered = UINT32_MAX - 3 * MSS; /* wraps */
	at_us(0);
}

static struct tcp_sent_run sent(u64 us, u32 start, bool first)
{
	struct tcp_sent_run run = {.start = start, .end = start + MSS};

	at_us(us);
	tcp_delivery_sent(s, &t, first, &run);
	return run;
}

static void arrived(const struct tcp_sent_run *run)
{
	t.delivered += run->end - run->start;
	t.delivered_us = tcp_us_now(s);
	tcp_delivery_arrived(s, &t, run, &a);
}

/* It alone arrives then. */
static void sampled(u64 us, const struct tcp_sent_run *run)
{
	at_us(us);
	memset(&a, 0, sizeof(a));
	arrived(run);
	tcp_delivery_sample(&t, &a);
}

/* The first segment takes 100 ms. */
static void first_sampled(void)
{
	struct tcp_sent_run run;

	setup();
	run = sent(0, 0, true);
	sampled(100000, &run);
}

START_TEST(tcp_delivery_one)
{
	first_sampled();
	ck_assert_uint_eq(a.delivered, MSS);
	ck_assert_uint_eq(a.interval_us, 100000);
	ck_assert_uint_eq(a.rtt_us, 100000);
	ck_assert_uint_eq(tcp_delivery_rate(&t), 10000);
	free(s);
}
END_TEST

/* The sample is of what was sent last, in whatever order it arrives; what was sent at once by its number. */
START_TEST(tcp_delivery_latest)
{
	struct tcp_sent_run run[3];

	setup();
	for (u32 i = 0; i < 3; i++)
		run[i] = sent(i / 2 * 1000, i * MSS, i == 0);
	at_us(100000);
	arrived(&run[2]);
	arrived(&run[0]);
	arrived(&run[1]);
	tcp_delivery_sample(&t, &a);
	ck_assert_uint_eq(a.end, 3 * MSS);
	ck_assert_uint_eq(a.delivered, 3 * MSS);
	ck_assert_uint_eq(a.send_us, 1000);
	ck_assert_uint_eq(a.rtt_us, 99000);
	free(s);
}
END_TEST

/* 4.3.3: the longer of the times of sending and of acknowledging. */
START_TEST(tcp_delivery_longer)
{
	struct tcp_sent_run run[2];

	setup();
	run[0] = sent(0, 0, true);
	at_us(100000);
	arrived(&run[0]);
	run[0] = sent(100000, MSS, true);
	run[1] = sent(150000, 2 * MSS, false);
	at_us(200000);
	arrived(&run[0]);
	at_us(200100); /* both come together, though they were sent 50 ms apart */
	memset(&a, 0, sizeof(a));
	arrived(&run[1]);
	tcp_delivery_sample(&t, &a);
	ck_assert_uint_eq(a.interval_us, 100100);
	ck_assert_uint_eq(a.delivered, 2 * MSS);
	free(s);
}
END_TEST

/* Shorter than the least round trip: no sample. */
START_TEST(tcp_delivery_too_short)
{
	struct tcp_sent_run run;

	first_sampled();
	run = sent(100000, MSS, true);
	run.flags |= SENT_TWICE; /* its first copy has arrived */
	sampled(110000, &run);
	ck_assert(!a.timed);
	ck_assert_uint_eq(a.interval_us, 0);
	ck_assert_uint_eq(tcp_delivery_rate(&t), 10000);
	free(s);
}
END_TEST

/* 4.4: samples that the program limited replace the rate only when they are not lower. */
START_TEST(tcp_delivery_app_limited)
{
	struct tcp_sent_run run;

	first_sampled();
	t.app_limited = t.delivered;
	run = sent(100000, MSS, true);
	ck_assert(run.flags & SENT_LIMITED);
	sampled(300000, &run);
	ck_assert(a.app_limited);
	ck_assert_uint_eq(tcp_delivery_rate(&t), 10000);
	ck_assert_uint_eq(t.app_limited, 0); /* what was in flight then has arrived */
	run = sent(300000, 2 * MSS, true);
	ck_assert(!(run.flags & SENT_LIMITED));
	sampled(500000, &run);
	ck_assert_uint_eq(tcp_delivery_rate(&t), 5000);
	ck_assert(!t.rate_limited);
	free(s);
}
END_TEST

/* What was lost since the segment was sent. */
START_TEST(tcp_delivery_lost)
{
	struct tcp_sent_run run;

	setup();
	t.lost = 5 * MSS;
	run = sent(0, 0, true);
	run.in_flight = 10 * MSS;
	t.lost += 2 * MSS;
	sampled(100000, &run);
	ck_assert_uint_eq(a.lost, 2 * MSS);
	ck_assert_uint_eq(a.in_flight, 10 * MSS);
	free(s);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, tcp_delivery_one);
	tcase_add_test(tc, tcp_delivery_latest);
	tcase_add_test(tc, tcp_delivery_longer);
	tcase_add_test(tc, tcp_delivery_too_short);
	tcase_add_test(tc, tcp_delivery_app_limited);
	tcase_add_test(tc, tcp_delivery_lost);
}

int main(void)
{
	return check_lines_case("tcp_delivery", 0, add_tests);
}
