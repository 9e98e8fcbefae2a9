/* Packet buffers: allocation by size class, reference counts, queues. */
#include <string.h>

#include "stack/stack.h"

static enum slab_kind pkt_kind_for(u32 room)
{
	return room <= PKT_SMALL_ROOM	 ? SLAB_PKT_SMALL
	       : room <= PKT_MEDIUM_ROOM ? SLAB_PKT_MEDIUM
					 : SLAB_PKT_LARGE;
}

static u32 pkt_room_of(enum slab_kind kind)
{
	return kind == SLAB_PKT_SMALL	 ? PKT_SMALL_ROOM
	       : kind == SLAB_PKT_MEDIUM ? PKT_MEDIUM_ROOM
	       : kind == SLAB_PKT_LARGE	 ? PKT_LARGE_ROOM
					 : PKT_HUGE_ROOM;
}

static ref pkt_alloc_kind(struct stack *s, enum slab_kind kind)
{
	ref r = slab_alloc(s, kind);
	struct pkt *p = slab_get(s, kind, r);

	if (!p)
		return 0;
	p->refs = 1;
	p->start = p->end = PKT_HEADROOM;
	p->room = pkt_room_of(kind);
	return r;
}

/* When all memory has gone to larger packets, which give none back, a larger one is taken. */
ref pkt_alloc(struct stack *s, u32 bytes)
{
	ref r = 0;

	if (bytes > PKT_LARGE_ROOM - PKT_HEADROOM) {
		counter_inc(s, counter_no_memory);
		return 0;
	}
	for (u32 kind = pkt_kind_for(bytes + PKT_HEADROOM); !r && kind <= SLAB_PKT_LARGE; kind++) {
		if (kind == SLAB_PKT_LARGE && pkt_scarce(s)) {
			counter_inc(s, counter_no_memory);
			return 0;
		}
		r = pkt_alloc_kind(s, (enum slab_kind)kind);
	}
	return r;
}

ref pkt_alloc_receive(struct stack *s)
{
	return pkt_alloc_kind(s, SLAB_PKT_LARGE);
}

u32 pkt_large_left(const struct stack *s)
{
	const struct slab *large = slab_of(s, SLAB_PKT_LARGE);
	u64 spans = large->spans + s->size / SLAB_SPAN_BYTES - s->spans_used;

	return (u32)MIN(spans * large->per_span, large->limit) - large->in_use;
}

ref pkt_alloc_huge(struct stack *s)
{
	return pkt_alloc_kind(s, SLAB_PKT_HUGE);
}

void pkt_hold(struct stack *s, ref r)
{
	struct pkt *p = pkt_get(s, r);

	if (p)
		p->refs++;
	else
		counter_inc(s, counter_invariant);
}

void pkt_release(struct stack *s, ref r)
{
	struct pkt *p = pkt_get(s, r);

	if (!p) {
		counter_inc(s, counter_stale_free);
		return;
	}
	if (--p->refs == 0)
		slab_free(s, r);
}

ref pkt_compact(struct stack *s, ref r)
{
	struct pkt *p = pkt_get(s, r), *q;
	u32 len, room;
	ref smaller;

	if (!p || p->refs != 1)
		return r;
	len = pkt_len(p);
	room = pkt_room_of(pkt_kind_for(len + PKT_HEADROOM));
	if (room > p->room / 2)
		return r;
	smaller = pkt_alloc_kind(s, pkt_kind_for(len + PKT_HEADROOM));
	q = pkt_get(s, smaller);
	if (!q)
		return r;
	q->flags = p->flags;
	q->seq = p->seq;
	q->mark = p->mark;
	q->tos = p->tos;
	q->ttl = p->ttl;
	q->ifindex = p->ifindex;
	q->offload = p->offload;
	q->time_ns = p->time_ns;
	q->from = p->from;
	q->to = p->to;
	q->end = q->start + len;
	q->l3 = q->start; /* the IP header is not carried over */
	memcpy(q->data + q->start, p->data + p->start, len);
	pkt_release(s, r);
	return smaller;
}

void pktq_push(struct stack *s, struct pktq *q, ref r)
{
	struct pkt *p = pkt_get(s, r), *tail = pkt_get(s, q->tail);

	if (!p) {
		counter_inc(s, counter_invariant);
		return;
	}
	p->next = 0;
	if (tail)
		tail->next = r;
	else
		q->head = r;
	q->tail = r;
	q->count++;
	q->bytes += pkt_len(p);
}

ref pktq_pop(struct stack *s, struct pktq *q)
{
	ref r = q->head;
	struct pkt *p = pkt_get(s, r);

	if (!p) {
		*q = (struct pktq){0};
		return 0;
	}
	q->head = p->next;
	if (!q->head)
		q->tail = 0;
	p->next = 0;
	q->count--;
	q->bytes -= MIN(q->bytes, pkt_len(p));
	return r;
}

void pktq_purge(struct stack *s, struct pktq *q)
{
	ref r;

	while ((r = pktq_pop(s, q)))
		pkt_release(s, r);
}
