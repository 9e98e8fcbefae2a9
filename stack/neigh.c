/*
 * Neighbours: which link address an on-link IP address has, and whether it still answers (RFC
 * 4861 7.3, applied to ARP as Linux does).
 *
 * INCOMPLETE: asked by broadcast once a second, three times; frames wait (at most arp_queue_max of
 * them, the oldest is dropped). REACHABLE: confirmed less than 15..45 s ago, by a reply to us or by
 * a transport protocol. Then STALE, without a timer; the next use makes it DELAY (5 s for a
 * confirmation to come by itself), then PROBE: asked by unicast, three times. Who does not answer
 * is forgotten, and the senders of waiting frames hear "host unreachable".
 *
 * The table is bounded by arp_table_max. Entries that are resolved and used by us are `kept`, all
 * others `spare`: a new entry takes the place of the spare one least recently used, so that neither
 * a scan of ours nor strangers' requests drive out the neighbours we talk to; only when all are
 * kept does a new destination of ours replace the oldest.
 *
 * Another link address for a REACHABLE neighbour is not believed but makes the old one be probed
 * (ARP spoofing).
 */
#include <string.h>

#include "stack/ip.h"
#include "stack/neigh.h"
#include "stack/stack.h"

#define ASK_INTERVAL_NS                                                                            \
	NS_PER_S /* RFC 1122 2.3.2.1: at most one request per second and destination */
#define REACHABLE_MIN_NS (15 * NS_PER_S)
#define REACHABLE_VAR_MS 30000u
#define DELAY_NS	 (5 * NS_PER_S)
#define CHANGE_NS	 NS_PER_S /* a link address stands at least this long */
enum { ASK_TIMES = 3, QUEUED_MAX = 4096 };

static struct neigh *neigh_get(struct stack *s, ref r)
{
	return slab_get(s, SLAB_NEIGH, r);
}

/* --- the two lists --- */

static void list_add(struct stack *s, struct neigh *n, bool kept)
{
	struct neigh_list *list = kept ? &s->neigh_kept : &s->neigh_spare;
	struct neigh *tail = neigh_get(s, list->tail);

	n->kept = kept;
	n->lru_prev = list->tail;
	n->lru_next = 0;
	*(tail ? &tail->lru_next : &list->head) = n->slab.self;
	list->tail = n->slab.self;
}

static void list_remove(struct stack *s, struct neigh *n)
{
	struct neigh_list *list = n->kept ? &s->neigh_kept : &s->neigh_spare;
	struct neigh *prev = neigh_get(s, n->lru_prev), *next = neigh_get(s, n->lru_next);

	*(prev ? &prev->lru_next : &list->head) = n->lru_next;
	*(next ? &next->lru_prev : &list->tail) = n->lru_prev;
}

static void list_touch(struct stack *s, struct neigh *n, bool kept)
{
	list_remove(s, n);
	list_add(s, n, kept);
}

/* --- the table --- */

static u32 neigh_hash(const struct stack *s, const struct addr *addr, u32 ifindex)
{
	return (u32)siphash(&s->hash_key, addr, sizeof(*addr)) ^ ifindex;
}

static struct neigh *neigh_find(struct stack *s, const struct addr *addr, u32 ifindex)
{
	struct neigh *n = neigh_get(s, s->last_neigh);
	u32 hash;
	ref r = 0;

	if (n && n->ifindex == ifindex && addr_equal(&n->addr, addr))
		return n;
	hash = neigh_hash(s, addr, ifindex);
	while ((r = hash_find(s, &s->neighs, hash, r))) {
		n = neigh_get(s, r);
		if (n && n->ifindex == ifindex && addr_equal(&n->addr, addr))
			return n;
	}
	return NULL;
}

static ref queue_pop(struct stack *s, struct neigh *n)
{
	ref r = n->queue_head;
	struct frame *f = frame_get(s, r);

	if (!f) {
		n->queue_head = n->queue_tail = 0;
		return 0;
	}
	n->queue_head = f->next;
	if (!n->queue_head)
		n->queue_tail = 0;
	f->next = 0;
	n->queued--;
	s->neigh_queued--;
	return r;
}

static void queue_drop(struct stack *s, struct neigh *n)
{
	ref r = queue_pop(s, n);

	if (!r)
		return;
	counter_inc(s, counter_arp_queue_drop);
	frame_free(s, r);
}

static void queue_push(struct stack *s, struct neigh *n, ref frame)
{
	struct frame *f = frame_get(s, frame), *tail = frame_get(s, n->queue_tail);

	f->next = 0;
	*(tail ? &tail->next : &n->queue_head) = frame;
	n->queue_tail = frame;
	n->queued++;
	s->neigh_queued++;
	if (n->queued > s->tunables.arp_queue_max || s->neigh_queued > QUEUED_MAX)
		queue_drop(s, n);
}

static void neigh_free(struct stack *s, struct neigh *n)
{
	ref r = n->slab.self;

	while (n->queue_head)
		queue_drop(s, n);
	if (s->last_neigh == r)
		s->last_neigh = 0;
	list_remove(s, n);
	hash_remove(s, &s->neighs, r);
	wheel_cancel(s, r);
	slab_free(s, r);
}

/* Room for one more: the oldest spare entry goes; a kept one only for a destination of our own. */
static bool neigh_make_room(struct stack *s, bool for_us)
{
	struct neigh *n;

	if (slab_in_use(s, SLAB_NEIGH) < s->tunables.arp_table_max)
		return true;
	n = neigh_get(s, s->neigh_spare.head);
	if (!n && for_us)
		n = neigh_get(s, s->neigh_kept.head);
	if (!n)
		return false;
	counter_inc(s, counter_arp_evicted);
	neigh_free(s, n);
	return true;
}

static struct neigh *neigh_make(struct stack *s, const struct addr *addr, u32 ifindex, bool for_us)
{
	struct neigh *n =
		neigh_make_room(s, for_us) ? neigh_get(s, slab_alloc(s, SLAB_NEIGH)) : NULL;

	if (!n) {
		counter_inc(s, counter_arp_table_full);
		return NULL;
	}
	n->addr = *addr;
	n->ifindex = ifindex;
	n->reachable_ns = REACHABLE_MIN_NS + random_below(&s->random, REACHABLE_VAR_MS) * NS_PER_MS;
	list_add(s, n, false);
	hash_insert(s, &s->neighs, neigh_hash(s, addr, ifindex), n->slab.self);
	return n;
}

/* --- states --- */

static void neigh_state(struct stack *s, struct neigh *n, enum neigh_state state, u64 deadline_ns)
{
	static const char *const names[] = {"incomplete", "reachable", "stale", "delay", "probe"};

	if (n->state != state)
		LOG(s, LOG_ARP, LOG_DEBUG, "%A is %s", &n->addr, names[state]);
	n->state = (u8)state;
	wheel_arm(s, n->slab.self, deadline_ns);
}

static void neigh_ask(struct stack *s, struct neigh *n, const u8 *mac)
{
	n->probes++;
	n->asked_ns = s->now_ns;
	wheel_arm(s, n->slab.self, s->now_ns + ASK_INTERVAL_NS);
	arp_request(s, n->ifindex, &n->addr, mac);
}

/* Starts asking by unicast, once a second has passed since the last request. */
static void neigh_probe(struct stack *s, struct neigh *n)
{
	n->probes = 0;
	if (s->now_ns - n->asked_ns >= ASK_INTERVAL_NS) {
		neigh_state(s, n, NEIGH_PROBE, NEVER);
		neigh_ask(s, n, n->mac);
	} else {
		neigh_state(s, n, NEIGH_PROBE, n->asked_ns + ASK_INTERVAL_NS);
	}
}

static void neigh_reachable(struct stack *s, struct neigh *n)
{
	n->confirmed_ns = s->now_ns;
	n->probes = 0;
	if (n->state != NEIGH_REACHABLE)
		neigh_state(s, n, NEIGH_REACHABLE, s->now_ns + n->reachable_ns);
}

static void neigh_set_mac(struct stack *s, struct neigh *n, const u8 mac[6])
{
	memcpy(n->mac, mac, 6);
	n->changed_ns = s->now_ns;
}

/* Nobody answered: who waits hears so, and the next frame begins anew. */
static void neigh_fail(struct stack *s, struct neigh *n)
{
	ref self = n->slab.self, frame;

	counter_inc(s, counter_arp_failed);
	LOG(s, LOG_ARP, LOG_DEBUG, "%A does not answer", &n->addr);
	/* The report can lead to new output to the same neighbour: it is taken off the queue
	 * before. */
	for (u32 bound = n->queued; bound-- && neigh_get(s, self) && (frame = queue_pop(s, n));) {
		icmp_report_unsent(s, frame_get(s, frame), 3, 1);
		frame_free(s, frame);
	}
	if (neigh_get(s, self))
		neigh_free(s, n);
}

static void neigh_resolved(struct stack *s, struct neigh *n)
{
	ref frame;

	neigh_reachable(s, n);
	if (!n->queue_head)
		return;
	list_touch(s, n, true);
	while ((frame = queue_pop(s, n)))
		eth_output(s, frame, n->mac, ETHERTYPE_IP4);
}

void neigh_expired(struct stack *s, ref neigh)
{
	struct neigh *n = neigh_get(s, neigh);
	u64 until;

	if (!n)
		return;
	until = n->confirmed_ns + n->reachable_ns;
	switch ((enum neigh_state)n->state) {
	case NEIGH_INCOMPLETE:
		if (n->probes < ASK_TIMES)
			neigh_ask(s, n, NULL);
		else
			neigh_fail(s, n);
		break;
	case NEIGH_REACHABLE:
		if (until > s->now_ns)
			wheel_arm(s, neigh, until);
		else
			neigh_state(s, n, NEIGH_STALE, NEVER);
		break;
	case NEIGH_DELAY:
		neigh_probe(s, n);
		break;
	case NEIGH_PROBE:
		if (n->probes < ASK_TIMES)
			neigh_ask(s, n, n->mac);
		else
			neigh_fail(s, n);
		break;
	case NEIGH_STALE:
		break;
	}
}

void neigh_rebuild(struct stack *s)
{
	hash_clear(s, &s->neighs);
	s->neigh_kept = s->neigh_spare = (struct neigh_list){0};
	s->last_neigh = 0;
	for (u32 i = 0; i < slab_touched(s, SLAB_NEIGH); i++) {
		struct neigh *n = slab_at(s, SLAB_NEIGH, i);

		if (!n)
			continue;
		if (n->addr.family == FAMILY_NONE || !netif_get(s, n->ifindex)) {
			wheel_cancel(s, n->slab.self);
			slab_discard(s, n->slab.self);
			continue;
		}
		list_add(s, n, n->kept);
		hash_insert(s, &s->neighs, neigh_hash(s, &n->addr, n->ifindex), n->slab.self);
		if (n->queue_head && n->state != NEIGH_INCOMPLETE) {
			/* Its queue was being sent: ask again. */
			n->state = NEIGH_INCOMPLETE;
			n->probes = 0;
			wheel_cancel(s, n->slab.self);
		}
		if (n->state != NEIGH_STALE && !wheel_armed(s, n->slab.self))
			wheel_arm(s, n->slab.self, s->now_ns + ASK_INTERVAL_NS);
	}
}

bool neigh_heard(
	struct stack *s, const struct addr *addr, u32 ifindex, const u8 mac[6], bool solicited)
{
	struct neigh *n = neigh_find(s, addr, ifindex);

	if (!n)
		return false;
	if (n->state == NEIGH_INCOMPLETE) {
		neigh_set_mac(s, n, mac);
		neigh_resolved(s, n);
		return true;
	}
	if (!memcmp(n->mac, mac, 6)) {
		if (solicited)
			neigh_reachable(s, n);
		return true;
	}
	if (n->state == NEIGH_REACHABLE || n->state == NEIGH_PROBE ||
		s->now_ns - n->changed_ns < CHANGE_NS) {
		counter_inc(s, counter_arp_change_held);
		LOG(s, LOG_ARP, LOG_WARN, "%A claims to be at %M, was at %M", addr, mac, n->mac);
		if (n->state != NEIGH_PROBE)
			neigh_probe(s, n);
		return true;
	}
	neigh_set_mac(s, n, mac);
	neigh_state(s, n, NEIGH_STALE, NEVER);
	return true;
}

void neigh_learn(struct stack *s, const struct addr *addr, u32 ifindex, const u8 mac[6])
{
	struct neigh *n;

	if (neigh_heard(s, addr, ifindex, mac, false))
		return;
	n = neigh_make(s, addr, ifindex, false);
	if (!n)
		return;
	neigh_set_mac(s, n, mac);
	neigh_state(s, n, NEIGH_STALE, NEVER);
}

void neigh_confirm(struct stack *s, const struct addr *next_hop)
{
	struct neigh *n = neigh_find(s, next_hop, NETIF_DEVICE);

	if (n && n->state != NEIGH_INCOMPLETE)
		neigh_reachable(s, n);
}

int neigh_output(struct stack *s, ref frame, const struct addr *next_hop, u32 ifindex)
{
	struct neigh *n = neigh_find(s, next_hop, ifindex);

	if (!n) {
		n = neigh_make(s, next_hop, ifindex, true);
		if (!n) {
			frame_free(s, frame);
			return -ENOBUFS;
		}
		n->state = NEIGH_INCOMPLETE;
		neigh_ask(s, n, NULL);
	}
	if (n->state == NEIGH_INCOMPLETE) {
		queue_push(s, n, frame);
		return 0;
	}
	if (s->last_neigh != n->slab.self) {
		s->last_neigh = n->slab.self;
		list_touch(s, n, true);
	}
	if (n->state == NEIGH_STALE)
		neigh_state(s, n, NEIGH_DELAY, s->now_ns + DELAY_NS);
	eth_output(s, frame, n->mac, ETHERTYPE_IP4);
	return 0;
}
