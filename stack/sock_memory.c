/*
 * The memory of all sockets together, against tcp_mem and udp_mem.
 *
 * What counts is what packets occupy, not what they carry. Below tcp_mem's first threshold nobody
 * is restrained. Above the second TCP is under pressure, until it is below the first again: buffers
 * do not grow, windows close earlier (tcp_window.c), and a socket that has more than its due and
 * more than an equal share of the third threshold gets no more. Above the third nobody gets more:
 * text is dropped and its window closed (tcp_prune.c), senders wait, orphans end, and who holds
 * most of what can be taken pays for who holds little (tcp_evict.c). UDP drops datagrams above
 * udp_mem's first threshold for sockets that have udp_rmem_min, above the third for all.
 *
 * The thresholds are 3/8, 1/2 and 3/4 of the largest region unless they are configured: Linux's
 * proportions, of a region that is for nothing else.
 */
#include "stack/sock_memory.h"

static void set_thresholds(const struct stack *s, u32 *mem)
{
	u64 pages = (u64)s->span_limit * (SLAB_SPAN_BYTES / SOCK_MEMORY_PAGE);

	if (mem[2])
		return;
	mem[0] = (u32)(pages * 3 / 8);
	mem[1] = (u32)(pages / 2);
	mem[2] = (u32)(pages * 3 / 4);
}

void sock_memory_init(struct stack *s)
{
	set_thresholds(s, s->tunables.tcp_mem);
	set_thresholds(s, s->tunables.udp_mem);
}

void sock_memory_take(struct stack *s, u32 *charged, u32 bytes)
{
	*charged += bytes;
	s->tcp_memory += bytes;
	if (s->tcp_pressure_ns || s->tcp_memory / SOCK_MEMORY_PAGE <= s->tunables.tcp_mem[1])
		return;
	s->tcp_pressure_ns = MAX(s->now_ns, 1);
	counter_inc(s, counter_tcp_pressure);
	LOG(s, LOG_TCP, LOG_WARN, "memory is short: %u pages",
		(u32)(s->tcp_memory / SOCK_MEMORY_PAGE));
}

void sock_memory_give(struct stack *s, u32 *charged, u32 bytes)
{
	bytes = MIN(bytes, *charged);
	*charged -= bytes;
	s->tcp_memory -= MIN(bytes, s->tcp_memory);
	if (!s->tcp_pressure_ns || s->tcp_memory / SOCK_MEMORY_PAGE > s->tunables.tcp_mem[0])
		return;
	counter_add(s, counter_tcp_pressure_ms,
		(s->now_ns - MIN(s->tcp_pressure_ns, s->now_ns)) / NS_PER_MS);
	s->tcp_pressure_ns = 0;
}

bool sock_memory_is_small(const struct stack *s, const struct sock *sk)
{
	u64 pages = ((u64)sk->rx_charged + sk->tx_charged) / SOCK_MEMORY_PAGE;

	return pages * slab_in_use(s, SLAB_TCP) < s->tunables.tcp_mem[2];
}

bool sock_memory_allows(
	const struct stack *s, const struct sock *sk, u32 bytes, u32 held, u32 least)
{
	u64 pages = (s->tcp_memory + bytes) / SOCK_MEMORY_PAGE;
	const u32 *mem = s->tunables.tcp_mem;

	if (pages <= mem[0])
		return true;
	if (pages > mem[2])
		return false;
	if (held < least || (pages <= mem[1] && !sock_memory_pressure(s)))
		return true;
	return sock_memory_is_small(s, sk);
}

bool sock_memory_udp_allows(const struct stack *s, const struct sock *sk, u32 bytes)
{
	u64 pages = (s->udp_memory + bytes) / SOCK_MEMORY_PAGE;

	if (pages <= s->tunables.udp_mem[0])
		return true;
	return pages <= s->tunables.udp_mem[2] && sk->rx_charged < s->tunables.udp_rmem_min;
}

void sock_memory_queued(struct stack *s, struct sock *sk, const struct pkt *p, u32 charge)
{
	if (sk->conn.proto == PROTO_TCP) {
		sock_memory_take(s, &sk->rx_charged, charge);
		return;
	}
	sk->rx_charged += charge;
	s->udp_memory += pkt_truesize(p);
}

void sock_memory_taken(struct stack *s, struct sock *sk, const struct pkt *p, u32 charge)
{
	if (sk->conn.proto == PROTO_TCP) {
		sock_memory_give(s, &sk->rx_charged, charge);
		return;
	}
	sk->rx_charged -= MIN(charge, sk->rx_charged);
	s->udp_memory -= MIN(pkt_truesize(p), s->udp_memory);
}

void sock_memory_purge(struct stack *s, struct sock *sk, struct pktq *q)
{
	ref r;

	while ((r = pktq_pop(s, q))) {
		const struct pkt *p = pkt_get(s, r);

		sock_memory_taken(s, sk, p, pkt_truesize(p));
		pkt_release(s, r);
	}
}

static u64 sum_of_queue(struct stack *s, const struct pktq *q)
{
	u64 sum = 0;
	u32 bound = q->count;

	for (const struct pkt *p = pkt_get(s, q->head); p && bound--; p = pkt_get(s, p->next))
		sum += pkt_truesize(p);
	return sum;
}

void sock_memory_count(struct stack *s, u64 *tcp, u64 *udp)
{
	*tcp = *udp = 0;
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		const struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk && sk->conn.proto == PROTO_TCP)
			*tcp += (u64)sk->rx_charged + sk->tx_charged;
		else if (sk)
			*udp += sum_of_queue(s, &sk->rxq) + sum_of_queue(s, &sk->errq);
	}
}
