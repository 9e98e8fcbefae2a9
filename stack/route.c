/*
 * The way to a destination: routes by longest prefix, then metric, and the MTU that a path is known
 * to have.
 *
 * Routes are kept sorted, best first, so that the first that matches is the one. A path's MTU is
 * learnt from ICMP errors that a transport protocol has verified; it lies in a small four-way table
 * by keyed hash of the destination, never rises before it expires after mtu_expires
 * (10 minutes, RFC 1191 6.3),
 * and falls at most PMTU_CHANGES times a second.
 */
#include <string.h>

#include "stack/ip.h"
#include "stack/stack.h"

enum { PMTU_WAYS = 4, PMTU_CHANGES = 8 };

static u32 route_mask(u8 prefix_len)
{
	return prefix_len ? ~0u << (32 - prefix_len) : 0;
}

static bool route_better(const struct stack_route *a, const struct stack_route *b)
{
	return a->prefix_len != b->prefix_len ? a->prefix_len > b->prefix_len
					      : a->metric < b->metric;
}

int stack_add_route(struct stack *s, const struct addr *prefix, u8 prefix_len,
	const struct addr *gateway, u32 ifindex, u32 metric)
{
	struct stack_route r = {
		.prefix = *prefix,
		.gateway = *gateway,
		.prefix_len = prefix_len,
		.ifindex = (u16)ifindex,
		.metric = metric,
	};
	u32 at = 0;

	if (!netif_get(s, ifindex) || prefix->family != FAMILY_INET || prefix_len > 32 ||
		addr_get4(prefix) & ~route_mask(prefix_len))
		return -EINVAL;
	if (s->route_count == STACK_ROUTES)
		return -ENOBUFS;
	for (u32 i = 0; i < s->route_count; i++) {
		const struct stack_route *o = &s->route[i];

		if (addr_equal(&o->prefix, prefix) && o->prefix_len == prefix_len &&
			o->metric == metric)
			return -EEXIST;
		if (!route_better(&r, o))
			at = i + 1;
	}
	memmove(&s->route[at + 1], &s->route[at], (s->route_count - at) * sizeof(r));
	s->route[at] = r;
	s->route_count++;
	return 0;
}

static const struct stack_route *route_find(const struct stack *s, u32 dst, u32 ifindex)
{
	for (u32 i = 0; i < s->route_count; i++) {
		const struct stack_route *r = &s->route[i];

		if (ifindex && r->ifindex != ifindex)
			continue;
		if (!((addr_get4(&r->prefix) ^ dst) & route_mask(r->prefix_len)))
			return r;
	}
	return NULL;
}

static struct pmtu *pmtu_set(struct stack *s, const struct addr *dst)
{
	u64 hash = siphash(&s->hash_key, dst, sizeof(*dst));

	return &s->pmtu[(hash & (STACK_PMTUS / PMTU_WAYS - 1)) * PMTU_WAYS];
}

static struct pmtu *pmtu_find(struct stack *s, const struct addr *dst)
{
	struct pmtu *set;

	if (!s->pmtu_count)
		return NULL;
	set = pmtu_set(s, dst);
	for (u32 i = 0; i < PMTU_WAYS; i++) {
		if (addr_equal(&set[i].dst, dst) && set[i].expires_ns > s->now_ns)
			return &set[i];
	}
	return NULL;
}

u16 ip_pmtu_get(struct stack *s, const struct addr *dst)
{
	struct pmtu *p = pmtu_find(s, dst);

	return p ? (u16)p->mtu : 0;
}

/* An entry for a new destination: an unused or expired one, else that which expires first. */
static struct pmtu *pmtu_make(struct stack *s, const struct addr *dst)
{
	struct pmtu *set = pmtu_set(s, dst), *p = &set[0];

	for (u32 i = 1; i < PMTU_WAYS; i++) {
		if (set[i].expires_ns < p->expires_ns)
			p = &set[i];
	}
	*p = (struct pmtu){.dst = *dst, .learnt_ns = s->now_ns};
	s->pmtu_count++;
	return p;
}

void ip_pmtu_learn(struct stack *s, const struct addr *dst, u32 mtu)
{
	struct pmtu *p = pmtu_find(s, dst);
	struct path path;

	mtu = MAX(mtu, s->tunables.min_pmtu);
	if (ip_route(s, dst, 0, &path) || path.local || path.broadcast || mtu >= path.mtu) {
		counter_inc(s, counter_pmtu_ignored);
		return;
	}
	if (!p)
		p = pmtu_make(s, dst);
	if (s->now_ns - p->learnt_ns >= NS_PER_S) {
		p->learnt_ns = s->now_ns;
		p->changes = 0;
	}
	if (p->changes == PMTU_CHANGES) {
		counter_inc(s, counter_pmtu_ignored);
		return;
	}
	p->changes++;
	p->mtu = mtu;
	p->expires_ns = s->now_ns + s->tunables.mtu_expires_s * NS_PER_S;
	counter_inc(s, counter_pmtu_learnt);
	LOG(s, LOG_IP, LOG_INFO, "path MTU to %A is now %u", dst, mtu);
}

static int route_local(struct stack *s, const struct addr *dst, struct path *path)
{
	path->local = true;
	path->source = addr_is_loopback(dst) ? addr_v4(0x7f000001) : *dst;
	path->next_hop = *dst;
	path->ifindex = NETIF_LOOPBACK;
	path->mtu = s->netif[NETIF_LOOPBACK].mtu;
	return 0;
}

int ip_route(struct stack *s, const struct addr *dst, u32 ifindex, struct path *path)
{
	const struct stack_route *r;
	const struct netif_addr *na;
	const struct netif *n;
	u16 learnt;

	if (dst->family != FAMILY_INET || addr_is_any(dst))
		return -ENETUNREACH;
	*path = (struct path){.next_hop = *dst};
	if (netif_is_local(s, dst) || (ifindex == NETIF_LOOPBACK && addr_is_multicast(dst)))
		return route_local(s, dst, path);
	path->broadcast = addr_is_multicast(dst) || netif_is_broadcast(s, dst);
	r = route_find(s, addr_get4(dst), ifindex);
	if (r) {
		path->ifindex = r->ifindex;
		if (!path->broadcast && r->gateway.family != FAMILY_NONE)
			path->next_hop = r->gateway;
	} else if (ifindex == NETIF_DEVICE || path->broadcast) {
		/* Bound to the device, or to everybody on it: no route is needed. */
		path->ifindex = NETIF_DEVICE;
	} else {
		return -ENETUNREACH;
	}
	n = &s->netif[path->ifindex];
	na = netif_source(n, &path->next_hop);
	if (!na && !path->broadcast)
		return -ENETUNREACH;
	path->source = na ? na->addr : addr_v4(0);
	path->mtu = n->mtu;
	learnt = ip_pmtu_get(s, dst);
	if (learnt && learnt < path->mtu)
		path->mtu = learnt;
	return 0;
}
