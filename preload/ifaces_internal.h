/* For ifaces*.c only: the interfaces at one moment, copied out of the engine. */
#ifndef PRELOAD_IFACES_INTERNAL_H
#define PRELOAD_IFACES_INTERNAL_H

#include "preload/ifaces.h"
#include "stack/stack.h"

struct config;
struct nlmsghdr;

#define IFACES_NEIGHS 64 /* the most that a view has */

struct ifaces_neigh {
	struct addr addr;
	u32 ifindex;
	u8 mac[6];
	u8 state; /* enum neigh_state */
};

struct ifaces_view {
	struct netif netif[NETIF_MAX]; /* by index; a name that is empty: there is none */
	struct stack_route route[STACK_ROUTES];
	u32 routes;
	struct ifaces_neigh neigh[IFACES_NEIGHS];
	u32 neighs;
};

void ifaces_view_take(struct ifaces_view *view);
void ifaces_view_from_config(struct ifaces_view *view, const struct config *config);

/* The interface's index by its name or number, or 0. */
u32 ifaces_view_name(const struct ifaces_view *view, const char *name);
bool ifaces_view_index(const struct ifaces_view *view, u32 index);
/* The next address of an interface from *at on, which moves behind it; NULL when there is no more.
 */
const struct netif_addr *ifaces_view_addr(const struct netif *netif, u32 *at);

u32 ifaces_view_flags(const struct netif *netif); /* IFF_* */
static inline u32 ifaces_view_mask(u8 prefix_len)
{
	return prefix_len ? ~0u << (32 - prefix_len) : 0;
}
/* The broadcast address of an interface's address, in host order; 0 when it has none. */
u32 ifaces_view_broadcast(const struct netif *netif, const struct netif_addr *addr);

/* The parts with the view as an argument. */
int ifaces_ioctl_view(const struct ifaces_view *view, unsigned long request, void *arg);
int ifaces_getifaddrs_view(const struct ifaces_view *view, struct ifaddrs **list);

/*
 * Answers one request: `request` with `len` bytes behind its header. Writes the datagram for the
 * program; portid goes into its headers. Returns its length, at most size.
 */
size_t ifaces_message_answer(const struct ifaces_view *view, const struct nlmsghdr *request,
	const void *payload, size_t len, u32 portid, u8 *out, size_t size);

/* Is this one of the requests that ifaces_message_answer answers? */
bool ifaces_message_answers(u16 type);

#endif
