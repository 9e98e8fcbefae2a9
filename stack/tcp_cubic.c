/*
 * CUBIC (RFC 9438). After a loss the window falls to seven tenths; from there it follows a cubic of
 * the time since, which is flat where the loss was (w_max) and steep far from it, whatever the
 * round-trip time. Where NewReno would be ahead, its estimate is used (4.3). Windows are bytes,
 * times milliseconds: the constants C = 0.4 and beta = 0.7 stand as fractions. Slow start is RFC
 * 5681's with HyStart++ (tcp_hystart.c). What turns out to have been no loss leaves the curve as it
 * was (4.9). A window that the program does not use stands still, and so does the cubic's time
 * (5.8).
 */
#include "stack/tcp.h"

enum { BETA = 7, BETA_OF = 10, ALPHA = 9, ALPHA_OF = 17 }; /* alpha = 3 (1 - beta) / (1 + beta) */

#define TIME_MAX_MS 100000u /* the cubic is far beyond any window by then */

struct epoch {
	u64 epoch_ns;  /* congestion avoidance began, 0: not yet since the last event */
	u64 idle_ns;   /* since when the window is not used, 0: it is */
	u64 grown;     /* fraction of a byte of cwnd: numerator over cwnd */
	u64 estimated; /* fraction of a byte of w_est: numerator over ALPHA_OF * cwnd */
	u32 w_max;
	u32 cwnd_prior; /* at the last congestion event */
	u32 w_est;
	u32 k_ms;   /* from the epoch until the cubic is at w_max again */
	u32 origin; /* w_max of this epoch, or where it began when that is above */
};

struct cubic {
	struct epoch now, before; /* the last congestion event */
};

_Static_assert(sizeof(struct cubic) <= sizeof(((struct tcp *)0)->cc_private),
	"the algorithm's state fits");

static struct cubic *cubic_of(struct tcp *t)
{
	return (struct cubic *)(void *)t->cc_private;
}

static struct epoch *epoch_of(struct tcp *t)
{
	return &cubic_of(t)->now;
}

static void cubic_init(struct tcp *t, u64 now_ns)
{
	(void)now_ns;
	*cubic_of(t) = (struct cubic){0};
	tcp_hystart_init(t);
}

/* The largest r with r * r * r <= x. */
static u32 cube_root(u64 x)
{
	u64 r = 0;

	for (int bit = 20; bit >= 0; bit--) {
		u64 next = r | 1ull << bit;

		if (next * next * next <= x)
			r = next;
	}
	return (u32)r;
}

/* C * t^3 in bytes of window (4.2, figure 1). */
static u64 cubic_rise(u32 t_ms, u32 mss)
{
	u64 t = MIN(t_ms, TIME_MAX_MS);

	return t * t * t / 1000 * (4ull * mss) / 10000000;
}

/* W_cubic(t) (4.2) */
static u64 cubic_window(const struct epoch *c, u64 t_ms, u32 mss)
{
	u64 rise;

	if (t_ms >= c->k_ms)
		return c->origin + cubic_rise((u32)MIN(t_ms - c->k_ms, TIME_MAX_MS), mss);
	rise = cubic_rise((u32)(c->k_ms - t_ms), mss);
	return rise < c->origin ? c->origin - rise : 0;
}

static void cubic_begin_epoch(struct tcp *t, struct epoch *c, u64 now_ns)
{
	c->epoch_ns = MAX(now_ns, 1);
	c->w_est = t->cwnd;
	c->grown = c->estimated = 0;
	if (c->w_max > t->cwnd) {
		c->origin = c->w_max;
		c->k_ms = cube_root((u64)(c->w_max - t->cwnd) * 2500000000ull / t->mss);
	} else {
		c->origin = t->cwnd;
		c->k_ms = 0;
	}
}

/* What NewReno would have by now (4.3). */
static void cubic_estimate(struct tcp *t, struct epoch *c, u32 acked)
{
	bool level =
		c->w_est >= c->cwnd_prior; /* back at the loss: NewReno's own slope from here */
	u64 of = (u64)ALPHA_OF * t->cwnd;

	c->estimated += (u64)acked * t->mss * (level ? ALPHA_OF : ALPHA);
	c->w_est += (u32)(c->estimated / of);
	c->estimated %= of;
}

static void cubic_avoid(struct tcp *t, const struct tcp_cc_ack *ack, u32 acked)
{
	struct epoch *c = epoch_of(t);
	u64 now_ms, target;

	if (!c->epoch_ns)
		cubic_begin_epoch(t, c, ack->now_ns);
	now_ms = (ack->now_ns - c->epoch_ns) / NS_PER_MS;
	cubic_estimate(t, c, acked);
	if (cubic_window(c, now_ms, t->mss) < c->w_est) {
		t->cwnd = MAX(t->cwnd, c->w_est);
		return;
	}
	target = cubic_window(c, now_ms + t->rtt.srtt_ns / NS_PER_MS, t->mss); /* 4.4, 4.5 */
	target = MIN(MAX(target, t->cwnd), t->cwnd + t->cwnd / 2u);
	c->grown += (target - t->cwnd) * acked;
	t->cwnd += (u32)(c->grown / t->cwnd);
	c->grown %= t->cwnd;
}

static void cubic_acked(struct tcp *t, const struct tcp_cc_ack *ack)
{
	struct epoch *c = epoch_of(t);
	u32 acked;

	if (!ack->cwnd_limited) {
		if (!c->idle_ns)
			c->idle_ns = MAX(ack->now_ns, 1);
		return;
	}
	if (c->idle_ns && c->epoch_ns)
		c->epoch_ns += ack->now_ns - c->idle_ns;
	c->idle_ns = 0;
	acked = tcp_slow_start(t, ack);
	if (acked)
		cubic_avoid(t, ack, acked);
}

/* A congestion event: the multiplicative decrease (4.6), and fast convergence (4.7). */
static u32 cubic_ssthresh(struct tcp *t, u32 in_flight)
{
	struct epoch *c = epoch_of(t);
	u32 cwnd = t->cwnd;

	cubic_of(t)->before = *c;
	c->epoch_ns = 0;
	c->cwnd_prior = cwnd;
	c->w_max = cwnd < c->w_max ? (u32)((u64)cwnd * (BETA_OF + BETA) / (2 * BETA_OF)) : cwnd;
	return MAX((u32)((u64)in_flight * BETA / BETA_OF), 2u * t->mss);
}

/* 4.9: the curve goes on as if the event had not been. */
static void cubic_undo(struct tcp *t)
{
	*epoch_of(t) = cubic_of(t)->before;
}

static void cubic_recovered(struct tcp *t)
{
	epoch_of(t)->epoch_ns = 0;
}

/* Slow start follows; where it ends, the cubic begins at its inflection (4.8). */
static void cubic_timeout(struct tcp *t)
{
	struct epoch *c = epoch_of(t);

	c->epoch_ns = 0;
	c->w_max = 0;
}

const struct tcp_cc_ops tcp_cubic = {
	.name = "cubic",
	.init = cubic_init,
	.acked = cubic_acked,
	.ssthresh = cubic_ssthresh,
	.recovered = cubic_recovered,
	.timeout = cubic_timeout,
	.undo = cubic_undo,
};
