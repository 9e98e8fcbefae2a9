/*
 * rtnetlink(7) answers about the stack's interfaces: RTM_GETLINK, GETADDR, GETROUTE and GETNEIGH,
 * dumps and questions about one. A dump with its NLMSG_DONE goes into one datagram: two interfaces
 * and a few routes fit in a page.
 */
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <string.h>

#include "preload/ifaces_internal.h"
#include "stack/neigh.h"

#define OPERSTATE_UNKNOWN 0
#define OPERSTATE_UP	  6

/* The datagram under construction. What does not fit is left out whole. */
struct writer {
	u8 *out;
	size_t size, used;
	size_t message; /* where the message under construction begins */
	u32 seq, portid;
	u16 flags;
	bool full;
};

static void *take(struct writer *w, size_t len)
{
	size_t room = NLMSG_ALIGN(len);
	u8 *at = w->out + w->used;

	if (w->full || w->size - w->used < room) {
		w->full = true;
		return NULL;
	}
	memset(at, 0, room);
	w->used += room;
	return at;
}

/* Begins a message with its fixed part. */
static void begin(struct writer *w, u16 type, const void *fixed, size_t len)
{
	struct nlmsghdr header = {.nlmsg_type = type,
		.nlmsg_flags = w->flags,
		.nlmsg_seq = w->seq,
		.nlmsg_pid = w->portid};
	void *at;

	w->message = w->used;
	w->full = false;
	at = take(w, sizeof(header));
	if (at)
		memcpy(at, &header, sizeof(header));
	at = take(w, len);
	if (at)
		memcpy(at, fixed, len);
}

static void put(struct writer *w, u16 type, const void *data, size_t len)
{
	struct rtattr attr = {.rta_type = type, .rta_len = (u16)RTA_LENGTH(len)};
	u8 *at = take(w, RTA_LENGTH(len));

	if (!at)
		return;
	memcpy(at, &attr, sizeof(attr));
	memcpy(at + RTA_LENGTH(0), data, len);
}

static void put32(struct writer *w, u16 type, u32 value)
{
	put(w, type, &value, sizeof(value));
}

static void put8(struct writer *w, u16 type, u8 value)
{
	put(w, type, &value, sizeof(value));
}

static void put_text(struct writer *w, u16 type, const char *text)
{
	put(w, type, text, strlen(text) + 1);
}

static void put_addr(struct writer *w, u16 type, const struct addr *addr)
{
	put(w, type, addr->b + 12, 4);
}

static void end(struct writer *w)
{
	u32 len = (u32)(w->used - w->message);

	if (w->full)
		w->used = w->message;
	else
		memcpy(w->out + w->message + offsetof(struct nlmsghdr, nlmsg_len), &len,
			sizeof(len));
}

static void write_done(struct writer *w)
{
	int zero = 0;

	begin(w, NLMSG_DONE, &zero, sizeof(zero));
	end(w);
}

static void write_error(struct writer *w, int error, const struct nlmsghdr *request)
{
	struct nlmsgerr body = {.error = error, .msg = *request};

	w->flags = 0;
	begin(w, NLMSG_ERROR, &body, sizeof(body));
	end(w);
}

/* --- links --- */

static void put_stats(struct writer *w, const struct netif *netif)
{
	struct rtnl_link_stats64 stats = {
		.rx_packets = netif->rx_packets,
		.tx_packets = netif->tx_packets,
		.rx_bytes = netif->rx_bytes,
		.tx_bytes = netif->tx_bytes,
		.rx_dropped = netif->rx_dropped,
		.tx_dropped = netif->tx_dropped,
	};
	struct rtnl_link_stats old = {
		.rx_packets = (u32)stats.rx_packets,
		.tx_packets = (u32)stats.tx_packets,
		.rx_bytes = (u32)stats.rx_bytes,
		.tx_bytes = (u32)stats.tx_bytes,
		.rx_dropped = (u32)stats.rx_dropped,
		.tx_dropped = (u32)stats.tx_dropped,
	};

	put(w, IFLA_STATS64, &stats, sizeof(stats));
	put(w, IFLA_STATS, &old, sizeof(old));
}

static void write_link(struct writer *w, const struct netif *netif, u32 index)
{
	bool loopback = netif->flags & NETIF_IS_LOOPBACK;
	struct ifinfomsg info = {
		.ifi_type = loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER,
		.ifi_index = (int)index,
		.ifi_flags = ifaces_view_flags(netif),
	};
	u8 broadcast[6];

	memset(broadcast, loopback ? 0 : 0xff, sizeof(broadcast));
	begin(w, RTM_NEWLINK, &info, sizeof(info));
	put_text(w, IFLA_IFNAME, netif->name);
	put32(w, IFLA_TXQLEN, 1000);
	put8(w, IFLA_OPERSTATE, loopback ? OPERSTATE_UNKNOWN : OPERSTATE_UP);
	put8(w, IFLA_LINKMODE, 0);
	put32(w, IFLA_MTU, netif->mtu);
	put32(w, IFLA_GROUP, 0);
	put32(w, IFLA_PROMISCUITY, 0);
	put32(w, IFLA_NUM_TX_QUEUES, 1);
	put32(w, IFLA_NUM_RX_QUEUES, 1);
	put8(w, IFLA_CARRIER, 1);
	put_text(w, IFLA_QDISC, "noqueue");
	put(w, IFLA_ADDRESS, netif->mac, sizeof(netif->mac));
	put(w, IFLA_BROADCAST, broadcast, sizeof(broadcast));
	put_stats(w, netif);
	end(w);
}

/* The value of an attribute behind a fixed part of `fixed` bytes, of at least `least` bytes. NULL
 * without. */
static const u8 *attribute(
	const u8 *payload, size_t len, size_t fixed, u16 type, size_t least, size_t *value_len)
{
	size_t at = NLMSG_ALIGN(fixed);

	while (at <= len && len - at >= sizeof(struct rtattr)) {
		struct rtattr attr;

		memcpy(&attr, payload + at, sizeof(attr));
		if (attr.rta_len < sizeof(attr) || attr.rta_len > len - at)
			return NULL;
		*value_len = attr.rta_len - RTA_LENGTH(0);
		if (attr.rta_type == type && *value_len >= least)
			return payload + at + RTA_LENGTH(0);
		at += RTA_ALIGN(attr.rta_len);
	}
	return NULL;
}

/* Which link a question that is no dump is about; 0 for one that there is not. */
static u32 wanted_link(const struct ifaces_view *view, const u8 *payload, size_t len)
{
	struct ifinfomsg info;
	const u8 *name;
	char text[IF_NAMESIZE] = "";
	size_t n;

	if (len < sizeof(info))
		return 0;
	memcpy(&info, payload, sizeof(info));
	if (info.ifi_index > 0)
		return ifaces_view_index(view, (u32)info.ifi_index) ? (u32)info.ifi_index : 0;
	name = attribute(payload, len, sizeof(info), IFLA_IFNAME, 1, &n);
	if (!name)
		name = attribute(payload, len, sizeof(info), IFLA_ALT_IFNAME, 1, &n);
	if (!name || n > sizeof(text))
		return 0;
	memcpy(text, name, n);
	text[sizeof(text) - 1] = 0;
	return ifaces_view_name(view, text);
}

/* --- addresses --- */

static void write_addr(
	struct writer *w, const struct netif *netif, u32 index, const struct netif_addr *addr)
{
	bool loopback = netif->flags & NETIF_IS_LOOPBACK;
	struct ifaddrmsg info = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = addr->prefix_len,
		.ifa_flags = IFA_F_PERMANENT,
		.ifa_scope = loopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
		.ifa_index = index,
	};
	struct ifa_cacheinfo forever = {.ifa_prefered = UINT32_MAX, .ifa_valid = UINT32_MAX};
	struct addr broadcast = addr_v4(ifaces_view_broadcast(netif, addr));

	begin(w, RTM_NEWADDR, &info, sizeof(info));
	put_addr(w, IFA_ADDRESS, &addr->addr);
	put_addr(w, IFA_LOCAL, &addr->addr);
	if (!addr_is_any(&broadcast))
		put_addr(w, IFA_BROADCAST, &broadcast);
	put_text(w, IFA_LABEL, netif->name);
	put32(w, IFA_FLAGS, IFA_F_PERMANENT);
	put(w, IFA_CACHEINFO, &forever, sizeof(forever));
	end(w);
}

static void write_addrs(
	struct writer *w, const struct ifaces_view *view, const u8 *payload, size_t len)
{
	struct ifaddrmsg info = {0};
	const struct netif_addr *addr;

	memcpy(&info, payload, MIN(len, sizeof(info)));
	for (u32 i = 1; i < NETIF_MAX; i++) {
		u32 at = 0;

		if (!ifaces_view_index(view, i) || (info.ifa_index && info.ifa_index != i))
			continue;
		while ((addr = ifaces_view_addr(&view->netif[i], &at)))
			write_addr(w, &view->netif[i], i, addr);
	}
}

/* --- routes --- */

/* Our address that is used towards the gateway or, on the link, the destination. */
static const struct addr *source_of(
	const struct ifaces_view *view, const struct stack_route *route, const struct addr *dst)
{
	const struct addr *hop = route->gateway.family ? &route->gateway : dst;
	const struct netif_addr *addr, *first = NULL;
	u32 at = 0;

	while ((addr = ifaces_view_addr(&view->netif[route->ifindex], &at))) {
		if (!((addr_get4(&addr->addr) ^ addr_get4(hop)) &
			    ifaces_view_mask(addr->prefix_len)))
			return &addr->addr;
		if (!first)
			first = addr;
	}
	return first ? &first->addr : NULL;
}

/* dst NULL: the route as it stands in the table; else as the answer to a question about dst. */
static void write_route(struct writer *w, const struct ifaces_view *view,
	const struct stack_route *route, const struct addr *dst)
{
	bool linked = !route->gateway.family;
	bool local = dst && route->ifindex == NETIF_LOOPBACK;
	const struct addr *source =
		local ? dst : source_of(view, route, dst ? dst : &route->prefix);
	struct rtmsg info = {
		.rtm_family = AF_INET,
		.rtm_dst_len = dst ? 32 : route->prefix_len,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = linked && !dst ? RTPROT_KERNEL
				: dst	       ? RTPROT_UNSPEC
					       : RTPROT_STATIC,
		.rtm_scope = linked && !dst ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
		.rtm_type = local ? RTN_LOCAL : RTN_UNICAST,
		.rtm_flags = dst ? RTM_F_CLONED : 0,
	};

	if (route->prefix.family != FAMILY_INET || route->ifindex >= NETIF_MAX)
		return;
	begin(w, RTM_NEWROUTE, &info, sizeof(info));
	put32(w, RTA_TABLE, RT_TABLE_MAIN);
	if (dst || route->prefix_len)
		put_addr(w, RTA_DST, dst ? dst : &route->prefix);
	if (route->metric)
		put32(w, RTA_PRIORITY, route->metric);
	if (!linked)
		put_addr(w, RTA_GATEWAY, &route->gateway);
	if (source && (linked || dst))
		put_addr(w, RTA_PREFSRC, source);
	put32(w, RTA_OIF, route->ifindex);
	end(w);
}

static void write_routes(
	struct writer *w, const struct ifaces_view *view, const u8 *payload, size_t len)
{
	struct rtmsg info = {0};
	const u8 *value;
	size_t n;
	u32 table;

	memcpy(&info, payload, MIN(len, sizeof(info)));
	table = info.rtm_table;
	value = attribute(payload, len, sizeof(info), RTA_TABLE, sizeof(table), &n);
	if (value)
		memcpy(&table, value, sizeof(table));
	if (table && table != RT_TABLE_MAIN)
		return;
	for (u32 i = 0; i < view->routes; i++)
		write_route(w, view, &view->route[i], NULL);
}

/* Is it an address of ours, or on lo's network? Then the way is lo. */
static bool is_local(const struct ifaces_view *view, const struct addr *dst)
{
	const struct netif_addr *addr;
	u32 at = 0;

	if (addr_is_loopback(dst))
		return true;
	while ((addr = ifaces_view_addr(&view->netif[NETIF_DEVICE], &at)))
		if (addr_equal(&addr->addr, dst))
			return true;
	return false;
}

static const struct stack_route *best_route(const struct ifaces_view *view, const struct addr *dst)
{
	const struct stack_route *best = NULL;

	for (u32 i = 0; i < view->routes; i++) {
		const struct stack_route *route = &view->route[i];

		if (route->prefix.family != FAMILY_INET ||
			(addr_get4(&route->prefix) ^ addr_get4(dst)) &
				ifaces_view_mask(route->prefix_len))
			continue;
		if (!best || route->prefix_len > best->prefix_len)
			best = route;
	}
	return best;
}

/* The way to one address. 0 or a negative errno. */
static int write_way(
	struct writer *w, const struct ifaces_view *view, const u8 *payload, size_t len)
{
	const struct stack_route *route;
	struct stack_route local;
	struct addr dst;
	const u8 *value;
	u32 host;
	size_t n;

	value = attribute(payload, len, sizeof(struct rtmsg), RTA_DST, sizeof(host), &n);
	if (!value)
		return -EINVAL;
	memcpy(&host, value, sizeof(host));
	dst = addr_v4(ntohl(host));
	route = best_route(view, &dst);
	if (is_local(view, &dst)) {
		local = (struct stack_route){
			.prefix = dst, .prefix_len = 32, .ifindex = NETIF_LOOPBACK};
		route = &local;
	}
	if (!route)
		return -ENETUNREACH;
	write_route(w, view, route, &dst);
	return 0;
}

/* --- neighbours --- */

static void write_neigh(struct writer *w, const struct ifaces_neigh *neigh)
{
	static const u16 states[] = {
		[NEIGH_INCOMPLETE] = NUD_INCOMPLETE,
		[NEIGH_REACHABLE] = NUD_REACHABLE,
		[NEIGH_STALE] = NUD_STALE,
		[NEIGH_DELAY] = NUD_DELAY,
		[NEIGH_PROBE] = NUD_PROBE,
	};
	struct ndmsg info = {
		.ndm_family = AF_INET, .ndm_ifindex = (int)neigh->ifindex, .ndm_type = RTN_UNICAST};

	info.ndm_state = neigh->state < ARRAY_LEN(states) ? states[neigh->state] : NUD_NONE;
	begin(w, RTM_NEWNEIGH, &info, sizeof(info));
	put_addr(w, NDA_DST, &neigh->addr);
	if (neigh->state != NEIGH_INCOMPLETE)
		put(w, NDA_LLADDR, neigh->mac, sizeof(neigh->mac));
	end(w);
}

static void write_neighs(
	struct writer *w, const struct ifaces_view *view, const u8 *payload, size_t len)
{
	struct ndmsg info = {0};

	memcpy(&info, payload, MIN(len, sizeof(info)));
	for (u32 i = 0; i < view->neighs; i++)
		if (!info.ndm_ifindex || (u32)info.ndm_ifindex == view->neigh[i].ifindex)
			write_neigh(w, &view->neigh[i]);
}

/* --- requests --- */

bool ifaces_message_answers(u16 type)
{
	return type == RTM_GETLINK || type == RTM_GETADDR || type == RTM_GETROUTE ||
	       type == RTM_GETNEIGH;
}

/* Something about one object. 0 or a negative errno. */
static int answer_one(
	struct writer *w, const struct ifaces_view *view, u16 type, const u8 *payload, size_t len)
{
	u32 index;

	if (type == RTM_GETROUTE)
		return len && *payload == AF_INET ? write_way(w, view, payload, len) : -ENETUNREACH;
	if (type != RTM_GETLINK)
		return -EOPNOTSUPP;
	index = wanted_link(view, payload, len);
	if (!index)
		return -ENODEV;
	write_link(w, &view->netif[index], index);
	return 0;
}

size_t ifaces_message_answer(const struct ifaces_view *view, const struct nlmsghdr *request,
	const void *payload, size_t len, u32 portid, u8 *out, size_t size)
{
	struct writer w = {.out = out, .size = size, .seq = request->nlmsg_seq, .portid = portid};
	u8 family = len ? *(const u8 *)payload : AF_UNSPEC;
	bool v4 = family == AF_UNSPEC || family == AF_INET;
	u16 type = request->nlmsg_type;
	int error;

	if ((request->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) {
		error = answer_one(&w, view, type, payload, len);
		if (error || request->nlmsg_flags & NLM_F_ACK)
			write_error(&w, error, request);
		return w.used;
	}
	w.flags = NLM_F_MULTI;
	for (u32 i = 1; type == RTM_GETLINK && i < NETIF_MAX; i++)
		if (ifaces_view_index(view, i))
			write_link(&w, &view->netif[i], i);
	if (type == RTM_GETADDR && v4)
		write_addrs(&w, view, payload, len);
	if (type == RTM_GETROUTE && v4)
		write_routes(&w, view, payload, len);
	if (type == RTM_GETNEIGH && v4)
		write_neighs(&w, view, payload, len);
	write_done(&w);
	return w.used;
}
