/*
 * The send queue: packets of bytes from snd_una to snd_end, linked in order, and the pieces of
 * frames cut from it.
 *
 * A packet's view is what it holds of the stream, pkt.seq the number of its first byte; bytes are
 * added behind the view of the last packet and taken off the front of the first, both without
 * disturbing frames that still refer to it. pkt.mark is 1 while a packet is in the queue.
 * snd_cursor remembers the packet that snd_nxt lies in, so that sending new data walks nowhere; a
 * retransmission looks from the head, over at most the packets of a window.
 */
#include <string.h>

#include "stack/tcp_queue.h"

void tcp_queue_append(struct stack *s, struct sock *sk, struct tcp *t, ref pkt)
{
	struct pkt *p = pkt_get(s, pkt), *tail = pkt_get(s, t->snd_tail);

	(void)sk;
	p->seq = t->snd_end;
	p->next = 0;
	p->mark = 1;
	if (tail)
		tail->next = pkt;
	else
		t->snd_head = pkt;
	t->snd_tail = pkt;
	t->snd_end += pkt_len(p);
}

static void tcp_queue_pop(struct stack *s, struct sock *sk, struct tcp *t)
{
	ref head = t->snd_head;
	struct pkt *p = pkt_get(s, head);

	t->snd_head = p->next;
	if (!t->snd_head)
		t->snd_tail = 0;
	if (t->snd_cursor == head)
		t->snd_cursor = t->snd_head;
	p->next = 0;
	p->mark = 0;
	sock_memory_give(s, &sk->tx_charged, pkt_truesize(p));
	pkt_release(s, head);
}

void tcp_queue_acked(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 una = seq_min(t->snd_una, t->snd_end);

	for (struct pkt *p = pkt_get(s, t->snd_head); p; p = pkt_get(s, t->snd_head)) {
		if (seq_gt(p->seq + pkt_len(p), una)) {
			if (seq_lt(p->seq, una)) {
				pkt_pull(p, una - p->seq);
				p->seq = una;
			}
			return;
		}
		tcp_queue_pop(s, sk, t);
	}
}

void tcp_queue_free(struct stack *s, struct sock *sk, struct tcp *t)
{
	while (pkt_get(s, t->snd_head))
		tcp_queue_pop(s, sk, t);
	t->snd_head = t->snd_tail = t->snd_cursor = 0;
}

/* The packet that holds byte seq, which is below snd_end. */
static ref tcp_queue_find(struct stack *s, const struct tcp *t, u32 seq)
{
	struct pkt *p = pkt_get(s, t->snd_cursor);
	ref at = t->snd_cursor;

	if (!p || seq_lt(seq, p->seq)) {
		at = t->snd_head;
		p = pkt_get(s, at);
	}
	while (p && seq_geq(seq, p->seq + pkt_len(p))) {
		at = p->next;
		p = pkt_get(s, at);
	}
	return p ? at : 0;
}

u32 tcp_queue_gather(struct stack *s, struct tcp *t, struct frame *f, u32 seq, u32 len)
{
	ref at = tcp_queue_find(s, t, seq);
	u32 done = 0;

	for (struct pkt *p = pkt_get(s, at); p && done < len; p = pkt_get(s, at)) {
		u32 offset = seq + done - p->seq, n = MIN(len - done, pkt_len(p) - offset);

		if (!frame_add(s, f, at, p->start + offset, n))
			break;
		done += n;
		if (seq + done == t->snd_nxt || seq_gt(seq + done, t->snd_nxt))
			t->snd_cursor = at;
		if (done < len)
			at = p->next;
	}
	return done;
}

u32 tcp_queue_reach(struct stack *s, const struct tcp *t, u32 seq, u32 len)
{
	ref at = tcp_queue_find(s, t, seq);
	u32 done = 0;

	for (u32 pieces = 0; pieces < FRAME_PIECES && done < len; pieces++) {
		struct pkt *p = pkt_get(s, at);

		if (!p)
			break;
		done += MIN(len - done, pkt_len(p) - (seq + done - p->seq));
		at = p->next;
	}
	return done;
}
