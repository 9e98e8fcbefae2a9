/*
 * SIOCGIF* of netdevice(7) on a stack socket. What would change an interface is refused as it is to
 * a program without privileges.
 */
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <string.h>

#include "preload/guard.h"
#include "preload/ifaces_internal.h"

static void put_addr(struct sockaddr *out, u32 host_order)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(host_order)}};

	memcpy(out, &in, sizeof(in));
}

/* SIOCGIFCONF: an entry for each IPv4 address; with no buffer, the room that they need. */
static int list(const struct ifaces_view *view, void *arg)
{
	struct ifconf conf;
	size_t used = 0;

	if (guard_copy(&conf, arg, sizeof(conf)))
		return -EFAULT;
	for (u32 i = 1; i < NETIF_MAX; i++) {
		const struct netif *netif = &view->netif[i];
		const struct netif_addr *addr;
		u32 at = 0;

		while (ifaces_view_index(view, i) && (addr = ifaces_view_addr(netif, &at))) {
			struct ifreq entry = {0};

			if (conf.ifc_buf && (size_t)MAX(conf.ifc_len, 0) < used + sizeof(entry))
				break;
			memcpy(entry.ifr_name, netif->name, sizeof(netif->name));
			put_addr(&entry.ifr_addr, addr_get4(&addr->addr));
			if (conf.ifc_buf && guard_copy(conf.ifc_buf + used, &entry, sizeof(entry)))
				return -EFAULT;
			used += sizeof(entry);
		}
	}
	conf.ifc_len = (int)used;
	return guard_copy(arg, &conf, sizeof(conf));
}

/* What depends on the interface's first address. */
static int get_addr(const struct netif *netif, unsigned long request, struct ifreq *entry)
{
	u32 at = 0;
	const struct netif_addr *addr = ifaces_view_addr(netif, &at);

	if (!addr)
		return -EADDRNOTAVAIL;
	switch (request) {
	case SIOCGIFNETMASK:
		put_addr(&entry->ifr_addr, ifaces_view_mask(addr->prefix_len));
		break;
	case SIOCGIFBRDADDR:
		put_addr(&entry->ifr_addr, ifaces_view_broadcast(netif, addr));
		break;
	default: /* SIOCGIFDSTADDR too: without a peer it is the address itself */
		put_addr(&entry->ifr_addr, addr_get4(&addr->addr));
		break;
	}
	return 0;
}

static int get(const struct netif *netif, u32 index, unsigned long request, struct ifreq *entry)
{
	bool loopback = netif->flags & NETIF_IS_LOOPBACK;

	switch (request) {
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFBRDADDR:
		return get_addr(netif, request, entry);
	case SIOCGIFFLAGS:
		entry->ifr_flags = (short)ifaces_view_flags(netif);
		return 0;
	case SIOCGIFINDEX:
		entry->ifr_ifindex = (int)index;
		return 0;
	case SIOCGIFMTU:
		entry->ifr_mtu = netif->mtu;
		return 0;
	case SIOCGIFMETRIC:
		entry->ifr_metric = 0;
		return 0;
	case SIOCGIFTXQLEN:
		entry->ifr_qlen = 1000;
		return 0;
	case SIOCGIFMAP:
		memset(&entry->ifr_map, 0, sizeof(entry->ifr_map));
		return 0;
	case SIOCGIFHWADDR:
		memset(&entry->ifr_hwaddr, 0, sizeof(entry->ifr_hwaddr));
		entry->ifr_hwaddr.sa_family = loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
		memcpy(entry->ifr_hwaddr.sa_data, netif->mac, sizeof(netif->mac));
		return 0;
	case SIOCETHTOOL:
		return -EOPNOTSUPP;
	default:
		return -EPERM; /* SIOCSIF* */
	}
}

static bool known(unsigned long request)
{
	switch (request) {
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFBRDADDR:
	case SIOCGIFFLAGS:
	case SIOCGIFINDEX:
	case SIOCGIFMTU:
	case SIOCGIFMETRIC:
	case SIOCGIFTXQLEN:
	case SIOCGIFMAP:
	case SIOCGIFHWADDR:
	case SIOCETHTOOL:
	case SIOCSIFADDR:
	case SIOCSIFDSTADDR:
	case SIOCSIFNETMASK:
	case SIOCSIFBRDADDR:
	case SIOCSIFFLAGS:
	case SIOCSIFMTU:
	case SIOCSIFMETRIC:
	case SIOCSIFHWADDR:
	case SIOCSIFNAME:
	case SIOCSIFTXQLEN:
	case SIOCSIFMAP:
		return true;
	default:
		return false;
	}
}

int ifaces_ioctl_view(const struct ifaces_view *view, unsigned long request, void *arg)
{
	struct ifreq entry;
	u32 index;
	int ret;

	if (request == SIOCGIFCONF)
		return list(view, arg);
	if (request != SIOCGIFNAME && !known(request))
		return IFACES_NOT_OURS;
	if (guard_copy(&entry, arg, sizeof(entry)))
		return -EFAULT;
	if (request == SIOCGIFNAME) {
		index = (u32)entry.ifr_ifindex;
		if (!ifaces_view_index(view, index))
			return -ENODEV;
		memcpy(entry.ifr_name, view->netif[index].name, sizeof(entry.ifr_name));
	} else {
		entry.ifr_name[sizeof(entry.ifr_name) - 1] = 0;
		/* An alias (tap0:1) is its interface. */
		entry.ifr_name[strcspn(entry.ifr_name, ":")] = 0;
		index = ifaces_view_name(view, entry.ifr_name);
		if (!index)
			return -ENODEV;
		ret = get(&view->netif[index], index, request, &entry);
		if (ret)
			return ret;
	}
	return guard_copy(arg, &entry, sizeof(entry));
}

int ifaces_ioctl(unsigned long request, void *arg)
{
	struct ifaces_view view;

	if (request != SIOCGIFCONF && request != SIOCGIFNAME && !known(request))
		return IFACES_NOT_OURS;
	ifaces_view_take(&view);
	return ifaces_ioctl_view(&view, request, arg);
}
