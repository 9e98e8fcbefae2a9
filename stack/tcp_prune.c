/*
 * Room for text when the receive buffer, or the memory of all connections, is full.
 *
 * In Linux's order (tcp_prune_queue): what waits is put together, packet by packet, into as few and
 * as small ones as its bytes need; if that is not enough, what is out of order goes, what lies
 * furthest ahead first (RFC 2018 8: the peer has to send it again, as it knows); then other
 * connections' (tcp_evict.c), if this one has little. Text that would still find no room is
 * dropped, and the window closed until the program has read: a window promises room that is not
 * there any more, and the peer's probes find out when it is (RFC 9293 SHLD-14 has its exception
 * here, as with Linux). Text that is next in order for an empty queue is taken all the same, cut to
 * what a small packet holds: every connection makes progress.
 *
 * Putting together copies. It is tried again only when the queue has grown by an eighth of its
 * buffer since, so that its price for each byte that comes in is bounded.
 */
#include <string.h>

#include "stack/tcp_conn.h"

#define COLLAPSE_AGAIN 8u
#define RUN_MAX	       64u
#define SMALL_BYTES    (PKT_SMALL_ROOM - PKT_HEADROOM)
#define MEDIUM_BYTES   (PKT_MEDIUM_ROOM - PKT_HEADROOM)
#define LARGE_BYTES    (PKT_LARGE_ROOM - PKT_HEADROOM)

/* What a packet for so many bytes occupies. */
static u32 occupied(u32 len)
{
	return (u32)sizeof(struct pkt) + (len <= SMALL_BYTES	       ? PKT_SMALL_ROOM
						 : len <= MEDIUM_BYTES ? PKT_MEDIUM_ROOM
								       : PKT_LARGE_ROOM);
}

/* A run of neighbours in a chain that fit into one packet. */
struct run {
	u32 packets, bytes, charged;
	ref next; /* behind it */
};

static struct run find_run(struct stack *s, ref at, u32 most)
{
	struct run run = {0};

	for (const struct pkt *p = pkt_get(s, at); p; p = pkt_get(s, at)) {
		if (run.packets == RUN_MAX || (run.packets && pkt_len(p) > most - run.bytes))
			break;
		run.packets++;
		run.bytes += pkt_len(p);
		run.charged += pkt_truesize(p);
		at = p->next;
		if (run.bytes >= most)
			break;
	}
	run.next = at;
	return run;
}

/* The run's bytes in a packet of their own; 0 when that would save nothing, or there is none. */
static ref copy_run(struct stack *s, ref first, const struct run *run)
{
	const struct pkt *p = pkt_get(s, first);
	struct pkt *q;
	ref copy;

	if (occupied(run->bytes) >= run->charged || run->bytes > LARGE_BYTES)
		return 0;
	copy = pkt_alloc(s, run->bytes);
	q = pkt_get(s, copy);
	if (!q)
		return 0;
	if (pkt_truesize(q) >= run->charged) { /* none was left of the size that it needs */
		pkt_release(s, copy);
		return 0;
	}
	q->seq = p->seq;
	for (u32 i = 0; p && i < run->packets; i++, p = pkt_get(s, p->next)) {
		memcpy(pkt_put(q, pkt_len(p)), p->data + p->start, pkt_len(p));
		q->time_ns = p->time_ns;
	}
	q->next = run->next;
	return copy;
}

/* Puts a chain together; *last follows. The chain is whole between any two stores. */
static void collapse(struct stack *s, struct sock *sk, ref *head, ref *last, u32 *count)
{
	u32 most = tcp_memory_tight(s) ? MEDIUM_BYTES : LARGE_BYTES;
	ref *link = head;

	for (struct pkt *p = pkt_get(s, *link); p; p = pkt_get(s, *link)) {
		struct run run = find_run(s, *link, most);
		ref at = *link, copy = copy_run(s, at, &run);

		if (!copy) { /* as it is: on with the next packet */
			link = &p->next;
			continue;
		}
		*link = copy;
		if (!run.next)
			*last = copy;
		sock_memory_take(s, &sk->rx_charged, pkt_truesize(pkt_get(s, copy)));
		for (u32 i = 0; i < run.packets; i++) {
			struct pkt *old = pkt_get(s, at);
			ref next = old->next;

			sock_memory_give(s, &sk->rx_charged, pkt_truesize(old));
			old->next = 0;
			pkt_release(s, at);
			at = next;
		}
		*count -= run.packets - 1;
		counter_add(s, counter_tcp_collapsed, run.packets);
		link = &pkt_get(s, copy)->next;
	}
}

static void collapse_all(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_ranges *r = tcp_ooo(s, t);
	u32 ignored = 0;

	if (sk->rx_charged < t->collapse_at)
		return;
	for (u32 i = 0; r && i < r->count; i++)
		collapse(s, sk, &r->range[i].first, &r->range[i].last, &ignored);
	collapse(s, sk, &sk->rxq.head, &sk->rxq.tail, &sk->rxq.count);
	t->collapse_at = sk->rx_charged + MAX(sk->rcvbuf / COLLAPSE_AGAIN, PKT_SMALL_ROOM);
}

void tcp_prune_read(const struct sock *sk, struct tcp *t)
{
	u32 again = sk->rx_charged + MAX(sk->rcvbuf / COLLAPSE_AGAIN, PKT_SMALL_ROOM);

	t->collapse_at = MIN(t->collapse_at, again);
}

/* In order: twice the buffer, for what small packets occupy beyond their bytes. */
static bool fits_buffer(const struct sock *sk, const struct tcp *t, u32 seq)
{
	return sk->rx_charged <= (seq_gt(seq, t->rcv_nxt) ? sk->rcvbuf : 2 * (u64)sk->rcvbuf);
}

bool tcp_prune_allows(struct stack *s, const struct sock *sk, u32 len)
{
	return !tcp_memory_tight(s) &&
	       sock_memory_allows(s, sk, occupied(len), sk->rx_charged, s->tunables.tcp_rmem[0]);
}

/* What is out of order behind seq goes, from the far end on, until there is room. */
static void prune_ooo(struct stack *s, struct sock *sk, struct tcp *t, u32 seq, u32 len)
{
	const struct tcp_ranges *r = tcp_ooo(s, t);
	bool pruned = false;

	while (r && r->count && seq_gt(r->range[r->count - 1].start, seq) &&
		!(fits_buffer(sk, t, seq) && tcp_prune_allows(s, sk, len))) {
		tcp_ooo_drop_last(s, sk, t);
		r = tcp_ooo(s, t);
		pruned = true;
	}
	if (pruned)
		counter_inc(s, counter_tcp_ofo_pruned);
}

/* Text that is next in order, for a queue that is empty, must not wait for others. */
static bool is_due(
	struct stack *s, const struct sock *sk, const struct tcp *t, struct tcp_segment *seg)
{
	if (seq_gt(seg->seq, t->rcv_nxt) || sk->rxq.count)
		return false;
	if (!tcp_memory_tight(s))
		return true;
	if (!slab_has_room(s, SLAB_PKT_SMALL))
		return false;
	pkt_trim(seg->p, SMALL_BYTES); /* no effect when it is shorter */
	return true;
}

bool tcp_prune(struct stack *s, struct sock *sk, struct tcp *t, struct tcp_segment *seg)
{
	bool in_order = seq_leq(seg->seq, t->rcv_nxt);

	if (fits_buffer(sk, t, seg->seq) && tcp_prune_allows(s, sk, seg->len))
		return true;
	counter_inc(s, counter_tcp_prune);
	collapse_all(s, sk, t);
	prune_ooo(s, sk, t, seg->seq, seg->len);
	if (fits_buffer(sk, t, seg->seq)) {
		if (tcp_prune_allows(s, sk, seg->len))
			return true;
		if (in_order && tcp_evict(s, sk) && tcp_prune_allows(s, sk, seg->len))
			return true;
	}
	if (is_due(s, sk, t, seg))
		return true;
	counter_inc(s, counter_tcp_rcv_pruned);
	if (in_order && fits_buffer(sk, t, seg->seq))
		t->flags |= TCPF_NO_MEMORY;
	return false;
}
