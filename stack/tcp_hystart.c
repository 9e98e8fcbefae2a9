/*
 * Slow start with HyStart++ (RFC 9406), for algorithms that grow by ssthresh.
 *
 * In the first slow start of a connection, while nothing is known of the path (ssthresh is still
 * infinite), a round whose least round trip is notably longer than that of the round before says
 * that a queue is building up. Conservative slow start (CSS) follows: a quarter of the growth, for
 * at most five rounds. If the round trip falls below that of CSS's first round it was a false alarm,
 * and slow start goes on; else congestion avoidance begins where the window stands.
 *
 * Growth is by bytes acknowledged (RFC 3465): an ACK that stands for many counts for all of them, as
 * on Linux, and a divided one for its bytes alone. RFC 9406's limit of eight segments by one ACK is
 * not kept: receivers that coalesce would make slow start slow. After a timeout, what arrived before
 * does not count (tcp_ack.c).
 */
#include "stack/tcp_conn.h"

#define MIN_RTT_THRESH_US 4000u
#define MAX_RTT_THRESH_US 16000u
#define MIN_RTT_DIVISOR	  8
#define N_RTT_SAMPLE	  8
#define GROWTH_DIVISOR	  4 /* CSS_GROWTH_DIVISOR */
#define CSS_ROUNDS	  5

void tcp_hystart_init(struct tcp *t)
{
	t->hystart = (struct tcp_hystart){.last_us = UINT32_MAX,
		.current_us = UINT32_MAX,
		.baseline_us = UINT32_MAX,
		.window_end = t->snd_nxt};
}

/* The round's round trip against the one before (4.2). */
static void hystart_compare(struct tcp_hystart *h)
{
	u32 thresh;

	if (h->samples < N_RTT_SAMPLE || h->current_us == UINT32_MAX)
		return;
	if (h->css) {
		if (h->current_us < h->baseline_us) {
			h->baseline_us = UINT32_MAX;
			h->css = false;
		}
		return;
	}
	if (h->last_us == UINT32_MAX)
		return;
	thresh = MAX(MIN_RTT_THRESH_US, MIN(h->last_us / MIN_RTT_DIVISOR, MAX_RTT_THRESH_US));
	if (h->current_us - MIN(h->last_us, h->current_us) >= thresh) {
		h->baseline_us = h->current_us;
		h->css = true;
		h->rounds = 0;
	}
}

static void hystart_ack(struct tcp *t, const struct tcp_cc_ack *ack)
{
	struct tcp_hystart *h = &t->hystart;

	if (ack->sample.timed) {
		h->current_us = MIN(h->current_us, ack->sample.rtt_us);
		if (h->samples < N_RTT_SAMPLE)
			h->samples++;
		hystart_compare(h);
	}
	if (seq_lt(t->snd_una, h->window_end))
		return;
	if (h->css && ++h->rounds >= CSS_ROUNDS)
		t->ssthresh = t->cwnd;
	h->window_end = t->snd_nxt;
	h->last_us = h->current_us;
	h->current_us = UINT32_MAX;
	h->samples = 0;
}

u32 tcp_slow_start(struct tcp *t, const struct tcp_cc_ack *ack)
{
	bool first = t->ssthresh == UINT32_MAX;
	u32 acked = ack->acked;

	if (t->cwnd >= t->ssthresh)
		return acked;
	if (first && t->hystart.css) {
		t->cwnd += acked / GROWTH_DIVISOR;
		acked = 0;
	} else {
		u32 room = t->ssthresh - t->cwnd;

		t->cwnd += MIN(acked, room);
		acked -= MIN(acked, room);
	}
	if (first)
		hystart_ack(t, ack);
	return acked;
}
