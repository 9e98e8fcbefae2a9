/* Interfaces of the host and their addresses. */
#include <string.h>

#include "stack/stack.h"

struct netif *netif_get(struct stack *s, u32 ifindex)
{
	return ifindex && ifindex < NETIF_MAX ? &s->netif[ifindex] : NULL;
}

bool netif_is_local(const struct stack *s, const struct addr *a)
{
	if (addr_is_loopback(a))
		return true;
	for (u32 i = 1; i < NETIF_MAX; i++) {
		for (u32 j = 0; j < s->netif[i].addr_count; j++) {
			const struct netif_addr *na = &s->netif[i].addrs[j];

			if (na->state == NETIF_ADDR_VALID && addr_equal(&na->addr, a))
				return true;
		}
	}
	return false;
}

bool netif_is_broadcast(const struct stack *s, const struct addr *a)
{
	u32 ip = addr_get4(a);

	if (a->family != FAMILY_INET)
		return false;
	if (ip == 0xffffffffu)
		return true;
	for (u32 i = 1; i < NETIF_MAX; i++) {
		for (u32 j = 0; j < s->netif[i].addr_count; j++) {
			const struct netif_addr *na = &s->netif[i].addrs[j];
			u32 host_bits = na->prefix_len ? ~0u >> na->prefix_len : ~0u;

			/* A /31 has no broadcast address (RFC 3021), a /32 neither. */
			if (na->state == NETIF_ADDR_FREE || na->addr.family != FAMILY_INET ||
				na->prefix_len > 30)
				continue;
			if (ip == (addr_get4(&na->addr) | host_bits))
				return true;
		}
	}
	return false;
}

static bool netif_addr_covers(const struct netif_addr *na, const struct addr *a)
{
	u32 mask = na->prefix_len ? ~0u << (32 - na->prefix_len) : 0;

	return na->addr.family == a->family && !((addr_get4(&na->addr) ^ addr_get4(a)) & mask);
}

const struct netif_addr *netif_source(const struct netif *n, const struct addr *next_hop)
{
	const struct netif_addr *first = NULL;

	for (u32 j = 0; j < n->addr_count; j++) {
		const struct netif_addr *na = &n->addrs[j];

		if (na->state != NETIF_ADDR_VALID || na->addr.family != next_hop->family)
			continue;
		if (netif_addr_covers(na, next_hop))
			return na;
		if (!first)
			first = na;
	}
	return first;
}

bool netif_on_link(const struct netif *n, const struct addr *a)
{
	for (u32 j = 0; j < n->addr_count; j++) {
		if (n->addrs[j].state != NETIF_ADDR_FREE && netif_addr_covers(&n->addrs[j], a))
			return true;
	}
	return false;
}

int netif_add_addr(struct stack *s, u32 ifindex, const struct addr *a, u8 prefix_len)
{
	struct netif *n = netif_get(s, ifindex);

	if (!n || a->family != FAMILY_INET || prefix_len > 32)
		return -EINVAL;
	for (u32 j = 0; j < NETIF_ADDRS; j++) {
		struct netif_addr *na = &n->addrs[j];

		if (na->state != NETIF_ADDR_FREE && addr_equal(&na->addr, a))
			return -EEXIST;
		if (na->state != NETIF_ADDR_FREE)
			continue;
		memset(na, 0, sizeof(*na));
		na->addr = *a;
		na->prefix_len = prefix_len;
		na->state = NETIF_ADDR_VALID;
		n->addr_count = MAX(n->addr_count, j + 1);
		return 0;
	}
	return -ENOBUFS;
}
