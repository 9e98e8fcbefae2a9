/*
 * What holds a connection up, for TCP_INFO: the time with something to send, and the part of it in
 * which the peer's window allowed no more, or a full send buffer had no more to give.
 */
#include "stack/tcp_conn.h"

/* Adds the time since the last look to what it was. */
static void tcp_rates_add(const struct stack *s, struct tcp_rates *r)
{
	u64 elapsed = s->now_ns - MIN(r->since_ns, s->now_ns);

	r->since_ns = s->now_ns;
	if (r->state != TCP_RATE_IDLE)
		r->busy_ns += elapsed;
	if (r->state == TCP_RATE_WINDOW)
		r->window_ns += elapsed;
	if (r->state == TCP_RATE_SNDBUF)
		r->sndbuf_ns += elapsed;
}

void tcp_rates_sent(struct stack *s, struct tcp *t)
{
	struct tcp_rates *r = &t->rates;
	u32 window = t->snd_una + t->snd_wnd;

	tcp_rates_add(s, r);
	if (t->snd_una == t->snd_end)
		r->state = TCP_RATE_IDLE;
	else if (seq_lt(t->snd_nxt, t->snd_end) && seq_lt(window, t->snd_nxt + t->mss))
		r->state = TCP_RATE_WINDOW;
	else if (t->snd_nxt == t->snd_end && t->flags & TCPF_NOSPACE)
		r->state = TCP_RATE_SNDBUF;
	else
		r->state = TCP_RATE_BUSY;
}

struct tcp_rates tcp_rates_now(const struct stack *s, const struct tcp *t)
{
	struct tcp_rates now = t->rates;

	tcp_rates_add(s, &now);
	return now;
}
