/*
 * The interfaces at one moment: copied out of the live host under its lock, or, before a program's
 * first internet socket, drawn up from the configuration.
 */
#include <string.h>

#include "preload/config.h"
#include "preload/guard.h"
#include "preload/host.h"
#include "preload/ifaces_internal.h"
#include "stack/neigh.h"

#define ETHERNET_MTU 1500
#define LOOPBACK_MTU 65535

bool ifaces_ours(void)
{
	const struct config *config = &config_get()->config;

	if (config->off)
		return false;
	/* Whether the fallback is in force is known once a start has been tried. */
	return config->fallback != CONFIG_FALLBACK_KERNEL || host_up() || host_start() == 0;
}

/* A device's name without its kind and namespace (tap:tap0@ns); a path is no interface's name. */
static void name_device(char name[IF_NAMESIZE], const char *device)
{
	const char *colon = strchr(device, ':');
	size_t len;

	if (colon)
		device = colon + 1;
	len = strcspn(device, "@");
	if (!len || memchr(device, '/', len) || len >= IF_NAMESIZE) {
		device = "eth0";
		len = 4;
	}
	memcpy(name, device, len);
}

static void add_addr(struct netif *netif, const struct addr *addr, u8 prefix_len)
{
	if (netif->addr_count < NETIF_ADDRS)
		netif->addrs[netif->addr_count++] = (struct netif_addr){
			.addr = *addr, .prefix_len = prefix_len, .state = NETIF_ADDR_VALID};
}

static void add_route(struct ifaces_view *view, const struct addr *prefix, u8 prefix_len,
	const struct addr *gateway)
{
	if (view->routes < STACK_ROUTES)
		view->route[view->routes++] = (struct stack_route){.prefix = *prefix,
			.prefix_len = prefix_len,
			.gateway = *gateway,
			.ifindex = NETIF_DEVICE};
}

void ifaces_view_from_config(struct ifaces_view *view, const struct config *config)
{
	struct netif *lo = &view->netif[NETIF_LOOPBACK], *device = &view->netif[NETIF_DEVICE];
	struct addr local = addr_v4(0x7f000001), none = {0}, any = addr_v4(0);

	memset(view, 0, sizeof(*view));
	strcpy(lo->name, "lo");
	lo->mtu = LOOPBACK_MTU;
	lo->flags = NETIF_UP | NETIF_IS_LOOPBACK;
	add_addr(lo, &local, 8);
	name_device(device->name, config->device);
	memcpy(device->mac, config->mac, sizeof(device->mac));
	device->mtu = (u16)(config->mtu ? config->mtu : ETHERNET_MTU);
	device->flags = NETIF_UP | NETIF_ARP;
	for (u32 i = 0; i < config->address.count; i++) {
		const struct config_ip *own = &config->address.item[i];
		struct addr net =
			addr_v4(addr_get4(&own->addr) & ifaces_view_mask(own->prefix_len));

		add_addr(device, &own->addr, own->prefix_len);
		add_route(view, &net, own->prefix_len, &none);
	}
	for (u32 i = 0; i < config->route.count; i++)
		add_route(view, &config->route.item[i].dest.addr,
			config->route.item[i].dest.prefix_len, &config->route.item[i].via.addr);
	for (u32 i = 0; i < config->gateway.count; i++)
		add_route(view, &any, 0, &config->gateway.item[i].addr);
}

/* Under the lock. */
static void copy_neighs(struct ifaces_view *view, struct stack *s)
{
	u32 touched = slab_touched(s, SLAB_NEIGH);

	view->neighs = 0;
	for (u32 i = 0; i < touched && view->neighs < IFACES_NEIGHS; i++) {
		const struct neigh *neigh = slab_at(s, SLAB_NEIGH, i);
		struct ifaces_neigh *out = &view->neigh[view->neighs];

		if (!neigh || neigh->addr.family != FAMILY_INET)
			continue;
		out->addr = neigh->addr;
		out->ifindex = neigh->ifindex;
		memcpy(out->mac, neigh->mac, sizeof(out->mac));
		out->state = neigh->state;
		view->neighs++;
	}
}

void ifaces_view_take(struct ifaces_view *view)
{
	struct stack *s;

	if (!host_up()) {
		ifaces_view_from_config(view, &config_get()->config);
		return;
	}
	guard_enter();
	s = host_enter();
	memcpy(view->netif, s->netif, sizeof(view->netif));
	memcpy(view->route, s->route, sizeof(view->route));
	view->routes = MIN(s->route_count, (u32)STACK_ROUTES);
	copy_neighs(view, s);
	host_leave();
	guard_leave(false);
}

bool ifaces_view_index(const struct ifaces_view *view, u32 index)
{
	return index && index < NETIF_MAX && view->netif[index].name[0];
}

u32 ifaces_view_name(const struct ifaces_view *view, const char *name)
{
	for (u32 i = 1; i < NETIF_MAX; i++)
		if (ifaces_view_index(view, i) &&
			!strncmp(view->netif[i].name, name, sizeof(view->netif[i].name)))
			return i;
	return 0;
}

const struct netif_addr *ifaces_view_addr(const struct netif *netif, u32 *at)
{
	while (*at < netif->addr_count && *at < NETIF_ADDRS) {
		const struct netif_addr *addr = &netif->addrs[(*at)++];

		if (addr->state != NETIF_ADDR_FREE && addr->addr.family == FAMILY_INET)
			return addr;
	}
	return NULL;
}

u32 ifaces_view_flags(const struct netif *netif)
{
	u32 flags =
		netif->flags & NETIF_UP ? IFF_UP | IFF_RUNNING | 0x10000u /* IFF_LOWER_UP */ : 0;

	return flags |
	       (netif->flags & NETIF_IS_LOOPBACK ? IFF_LOOPBACK : IFF_BROADCAST | IFF_MULTICAST);
}

u32 ifaces_view_broadcast(const struct netif *netif, const struct netif_addr *addr)
{
	/* A /31 has none (RFC 3021), a /32 neither. */
	if (netif->flags & NETIF_IS_LOOPBACK || addr->prefix_len > 30)
		return 0;
	return addr_get4(&addr->addr) | ~ifaces_view_mask(addr->prefix_len);
}
