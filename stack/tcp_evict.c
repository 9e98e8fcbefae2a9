/*
 * Who gives memory back when TCP has all that it may have: of the next few hundred connections in
 * turn, the one that holds most of what can be taken from it. From any connection that is what has
 * come out of order; from one that no program holds any more, or whose peer has kept the window
 * shut for a minute (RFC 6429 4: the persist condition is no right to memory), all that waits to be
 * sent, by a reset. What a program has not read yet is never taken.
 *
 * Only a connection that holds less than an equal share may ask for it. The number looked at bounds
 * the price of a packet; a host with no more connections than that finds the largest of all.
 */
#include "stack/tcp_conn.h"

#define EVICT_LOOKS    256u
#define EVICT_STALL_NS (60 * NS_PER_S)

struct loss {
	u32 out_of_order; /* bytes that can be taken */
	u32 unsent;	  /* ... by a reset */
};

static bool is_stalled(const struct stack *s, const struct sock *sk, const struct tcp *t)
{
	if (sk->flags & SOCK_ORPHAN)
		return true;
	return !t->snd_wnd && t->rtx_mode == TCP_RTX_PERSIST && t->stalled_ns &&
	       s->now_ns - MIN(t->stalled_ns, s->now_ns) >= EVICT_STALL_NS;
}

static struct loss could_lose(const struct stack *s, const struct sock *sk, const struct tcp *t)
{
	struct loss loss = {.out_of_order = t->ooo_bytes};

	if (tcp_synchronized(t) && sk->tx_charged > SOCK_SNDBUF_MIN && is_stalled(s, sk, t))
		loss.unsent = sk->tx_charged;
	return loss;
}

void tcp_evict_out(struct stack *s, struct sock *sk, struct tcp *t)
{
	counter_inc(s, counter_tcp_abort_memory);
	LOG(s, LOG_TCP, LOG_INFO, "%E %E: reset, memory is short", &sk->conn.local,
		&sk->conn.remote);
	tcp_send_reset(s, sk, t);
	tcp_done(s, sk, t, ETIMEDOUT);
}

bool tcp_evict(struct stack *s, const struct sock *asks)
{
	u32 touched = slab_touched(s, SLAB_TCP), most = 0;
	struct tcp *victim = NULL;
	bool reset = false;

	if (!sock_memory_is_small(s, asks))
		return false;
	for (u32 i = 0; i < MIN(touched, EVICT_LOOKS); i++) {
		struct tcp *t = slab_at(s, SLAB_TCP, s->evict_next++ % touched);
		const struct sock *sk = t ? sock_get(s, t->sock) : NULL;
		struct loss loss = {0};

		if (sk && sk != asks)
			loss = could_lose(s, sk, t);
		if (MAX(loss.out_of_order, loss.unsent) <= most)
			continue;
		most = MAX(loss.out_of_order, loss.unsent);
		reset = loss.unsent > loss.out_of_order;
		victim = t;
	}
	if (!victim)
		return false;
	counter_inc(s, counter_tcp_evicted);
	if (reset) {
		tcp_evict_out(s, sock_get(s, victim->sock), victim);
		return true;
	}
	counter_inc(s, counter_tcp_ofo_pruned);
	tcp_ooo_purge(s, sock_get(s, victim->sock), victim);
	return true;
}

bool tcp_evict_orphan(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (!(sk->flags & SOCK_ORPHAN) || sk->tx_charged <= SOCK_SNDBUF_MIN ||
		!sock_memory_spent(s))
		return false;
	tcp_evict_out(s, sk, t);
	return true;
}
