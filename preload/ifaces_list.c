/*
 * getifaddrs(3), if_nametoindex(3), if_indextoname(3), if_nameindex(3).
 */
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>

#include "preload/ifaces_internal.h"

/* One entry with all it points to: one block, so that libc's freeifaddrs, which frees the first
 * entry, frees all. */
struct entry {
	struct ifaddrs ifaddrs;
	char name[IF_NAMESIZE];
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_ll ll;
	} addr, mask, broadcast;
	struct rtnl_link_stats stats;
};

static void set_in(struct sockaddr_in *out, u32 host_order)
{
	out->sin_family = AF_INET;
	out->sin_addr.s_addr = htonl(host_order);
}

static void begin(struct entry *entry, const struct netif *netif)
{
	memcpy(entry->name, netif->name, sizeof(netif->name));
	entry->ifaddrs.ifa_name = entry->name;
	entry->ifaddrs.ifa_flags = ifaces_view_flags(netif);
	entry->ifaddrs.ifa_addr = &entry->addr.any;
}

static void fill_link(struct entry *entry, const struct netif *netif, u32 index)
{
	struct sockaddr_ll *ll = &entry->addr.ll;
	bool loopback = netif->flags & NETIF_IS_LOOPBACK;

	begin(entry, netif);
	ll->sll_family = AF_PACKET;
	ll->sll_ifindex = (int)index;
	ll->sll_hatype = loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
	ll->sll_halen = sizeof(netif->mac);
	memcpy(ll->sll_addr, netif->mac, sizeof(netif->mac));
	entry->broadcast.ll = *ll;
	memset(entry->broadcast.ll.sll_addr, loopback ? 0 : 0xff, sizeof(netif->mac));
	entry->ifaddrs.ifa_broadaddr = &entry->broadcast.any;
	entry->stats.rx_packets = (u32)netif->rx_packets;
	entry->stats.tx_packets = (u32)netif->tx_packets;
	entry->stats.rx_bytes = (u32)netif->rx_bytes;
	entry->stats.tx_bytes = (u32)netif->tx_bytes;
	entry->stats.rx_dropped = (u32)netif->rx_dropped;
	entry->stats.tx_dropped = (u32)netif->tx_dropped;
	entry->ifaddrs.ifa_data = &entry->stats;
}

static void fill_addr(struct entry *entry, const struct netif *netif, const struct netif_addr *addr)
{
	u32 broadcast = ifaces_view_broadcast(netif, addr);

	begin(entry, netif);
	set_in(&entry->addr.in, addr_get4(&addr->addr));
	set_in(&entry->mask.in, ifaces_view_mask(addr->prefix_len));
	entry->ifaddrs.ifa_netmask = &entry->mask.any;
	/* Without one, ifa_dstaddr (the same member) is the address itself. */
	set_in(&entry->broadcast.in, broadcast ? broadcast : addr_get4(&addr->addr));
	entry->ifaddrs.ifa_broadaddr = &entry->broadcast.any;
}

int ifaces_getifaddrs_view(const struct ifaces_view *view, struct ifaddrs **list)
{
	struct entry *entries = calloc(NETIF_MAX * (1 + NETIF_ADDRS), sizeof(*entries));
	const struct netif_addr *addr;
	u32 n = 0;

	if (!entries) {
		errno = ENOMEM;
		return -1;
	}
	for (u32 i = 1; i < NETIF_MAX; i++)
		if (ifaces_view_index(view, i))
			fill_link(&entries[n++], &view->netif[i], i);
	for (u32 i = 1; i < NETIF_MAX; i++) {
		u32 at = 0;

		while (ifaces_view_index(view, i) &&
			(addr = ifaces_view_addr(&view->netif[i], &at)))
			fill_addr(&entries[n++], &view->netif[i], addr);
	}
	for (u32 i = 0; i + 1 < n; i++)
		entries[i].ifaddrs.ifa_next = &entries[i + 1].ifaddrs;
	*list = &entries[0].ifaddrs;
	return 0;
}

int ifaces_getifaddrs(struct ifaddrs **list)
{
	struct ifaces_view view;

	ifaces_view_take(&view);
	return ifaces_getifaddrs_view(&view, list);
}

void ifaces_freeifaddrs(struct ifaddrs *list)
{
	free(list);
}

unsigned ifaces_nametoindex(const char *name)
{
	struct ifaces_view view;
	u32 index;

	ifaces_view_take(&view);
	index = strlen(name) < IF_NAMESIZE ? ifaces_view_name(&view, name) : 0;
	if (!index)
		errno = ENODEV;
	return index;
}

char *ifaces_indextoname(unsigned index, char *name)
{
	struct ifaces_view view;

	ifaces_view_take(&view);
	if (!ifaces_view_index(&view, index)) {
		errno = ENXIO;
		return NULL;
	}
	return strcpy(name, view.netif[index].name);
}

/* One block, as glibc makes it: the array, then the names. */
struct if_nameindex *ifaces_nameindex(void)
{
	struct ifaces_view view;
	struct if_nameindex *list = calloc(NETIF_MAX, sizeof(*list) + IF_NAMESIZE);
	char *names = (char *)(list + NETIF_MAX);
	u32 n = 0;

	if (!list) {
		errno = ENOBUFS;
		return NULL;
	}
	ifaces_view_take(&view);
	for (u32 i = 1; i < NETIF_MAX; i++)
		if (ifaces_view_index(&view, i)) {
			list[n].if_index = i;
			list[n].if_name = strcpy(names + n * IF_NAMESIZE, view.netif[i].name);
			n++;
		}
	return list;
}

void ifaces_freenameindex(struct if_nameindex *list)
{
	free(list);
}
