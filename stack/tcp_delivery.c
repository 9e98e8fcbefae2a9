/*
 * The delivery rate: how fast what was sent has arrived
 * (draft-cheng-iccrg-delivery-rate-estimation).
 *
 * Each segment carries, from when it was sent, how much had been delivered by then, when the last
 * of that was, and when the first of its flight had been sent. An ACK's sample is of the segment
 * that was sent last among those it newly delivers: the bytes delivered since, over the longer of
 * the time in which they were sent and the time in which they were acknowledged. The first keeps an
 * ACK that was held back and the second a burst from showing more than the path carries.
 *
 * While the program leaves the window unused, what is sent is marked: its samples are a lower bound
 * of what the path carries. The mark goes with all that is in flight when the program comes back.
 *
 * Bytes are counted modulo 2^32, times are microseconds modulo 2^32: a sample is shorter than both.
 */
#include "stack/tcp_conn.h"

void tcp_delivery_sent(const struct stack *s, struct tcp *t, bool first, struct tcp_sent_run *run)
{
	run->sent_us = tcp_us_now(s);
	if (first) /* section 4.2: a new flight begins */
		t->first_us = t->delivered_us = run->sent_us;
	run->delivered = t->delivered;
	run->delivered_us = t->delivered_us;
	run->first_us = t->first_us;
	run->lost = t->lost;
	run->flags = (run->flags & ~(u32)SENT_LIMITED) | (t->app_limited ? SENT_LIMITED : 0);
}

static bool sent_later(const struct tcp_sent_run *run, const struct tcp_sample *a)
{
	return (s32)(run->sent_us - a->sent_us) > 0 ||
	       (run->sent_us == a->sent_us && seq_gt(run->end, a->end));
}

/* Section 4.3.2: this has newly arrived. */
void tcp_delivery_arrived(
	const struct stack *s, struct tcp *t, const struct tcp_sent_run *run, struct tcp_sample *a)
{
	u32 rtt_us = tcp_us_now(s) - run->sent_us;

	t->totals.delivered += tcp_segment_count(run->end - run->start, t->mss);
	if (!(run->flags & SENT_TWICE)) { /* Karn; an ACK may be delayed for the first, not for the
					     last */
		tcp_rtt_least(&t->rtt, MAX((u64)rtt_us * NS_PER_US, 1), s->now_ns);
		a->rtt_us = a->timed ? MIN(a->rtt_us, rtt_us) : rtt_us;
		a->timed = true;
	}
	if (a->any && !sent_later(run, a))
		return;
	a->any = true;
	a->sent_us = run->sent_us;
	a->end = run->end;
	a->prior_delivered = run->delivered;
	a->prior_us = run->delivered_us;
	a->send_us = run->sent_us - run->first_us;
	a->in_flight = run->in_flight;
	a->prior_lost = run->lost;
	a->app_limited = run->flags & SENT_LIMITED;
	a->again = run->flags & SENT_TWICE;
	t->first_us = run->sent_us;
}

/* Section 4.3.3: at the end of an ACK, when all that it delivered has been counted. */
void tcp_delivery_sample(struct tcp *t, struct tcp_sample *a)
{
	u32 ack_us = t->delivered_us - a->prior_us;

	if (t->app_limited && seq_gt(t->delivered, t->app_limited))
		t->app_limited = 0;
	if (!a->any)
		return;
	a->delivered = t->delivered - a->prior_delivered;
	a->lost = t->lost - a->prior_lost;
	a->interval_us = MAX(a->send_us, ack_us);
	/* Shorter than any round trip: of a segment that was sent again and whose first copy has
	 * arrived. */
	if (t->rtt.min_ns != NEVER && a->interval_us < t->rtt.min_ns / NS_PER_US)
		a->interval_us = 0;
	if (!a->interval_us)
		return;
	if (!a->app_limited || (u64)a->delivered * t->rate_interval_us >=
				       (u64)t->rate_delivered * a->interval_us) {
		t->rate_delivered = a->delivered;
		t->rate_interval_us = a->interval_us;
		t->rate_limited = a->app_limited;
	}
}

/* Section 4.4: the program comes with more, and had left the network idle. */
void tcp_delivery_limited(struct stack *s, struct tcp *t)
{
	const struct tcp_sent *r = tcp_record(s, t);
	u32 pipe = tcp_pipe(s, t);

	if (t->snd_end - t->snd_nxt < t->mss && pipe < t->cwnd && (!r || r->lost <= r->again))
		t->app_limited = MAX(t->delivered + pipe, 1);
}

u64 tcp_delivery_rate(const struct tcp *t)
{
	return t->rate_interval_us ? (u64)t->rate_delivered * 1000000 / t->rate_interval_us : 0;
}
