/*
 * Where a connection's sets of ranges lie: in a packet buffer taken when the first range comes, a
 * small one, and a medium one when that is full. A medium one holds near a thousand ranges, which
 * also bounds the work of a walk over them.
 */
#include <string.h>

#include "stack/tcp_conn.h"

struct tcp_ranges *tcp_set_get(struct stack *s, ref set)
{
	struct pkt *p = pkt_get(s, set);

	return p ? (struct tcp_ranges *)(void *)p->data : NULL;
}

/* A packet of at least `room` bytes with an empty set in all of it. */
static ref tcp_set_new(struct stack *s, u32 room)
{
	ref set = pkt_alloc(s, room - PKT_HEADROOM);
	struct pkt *p = pkt_get(s, set);

	if (p)
		tcp_ranges_init((struct tcp_ranges *)(void *)p->data, p->room);
	return set;
}

struct tcp_ranges *tcp_set_make_room(struct stack *s, ref *set)
{
	struct tcp_ranges *r = tcp_set_get(s, *set), *larger;
	ref next;

	if (r && (r->count < r->max || ref_kind(*set) != SLAB_PKT_SMALL))
		return r;
	next = tcp_set_new(s, r ? PKT_MEDIUM_ROOM : PKT_SMALL_ROOM);
	larger = tcp_set_get(s, next);
	if (!larger)
		return r;
	if (r) {
		larger->count = r->count;
		memcpy(larger->range, r->range, r->count * sizeof(r->range[0]));
		pkt_release(s, *set);
	}
	*set = next;
	return larger;
}
