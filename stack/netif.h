/* Network interfaces of a host: index 1 is its loopback, 2 its device. */
#ifndef STACK_NETIF_H
#define STACK_NETIF_H

#include "stack/addr.h"
#include "stack/pkt.h"

enum { NETIF_LOOPBACK = 1, NETIF_DEVICE = 2, NETIF_MAX = 3 };
enum { NETIF_ADDRS = 8 };

enum netif_flag { NETIF_UP = 1, NETIF_IS_LOOPBACK = 2, NETIF_ARP = 4 };

enum netif_addr_state { NETIF_ADDR_FREE, NETIF_ADDR_TENTATIVE, NETIF_ADDR_VALID };

struct netif_addr {
	struct addr addr;
	u8 prefix_len;
	u8 state; /* enum netif_addr_state */
	u8 probes_sent;
	u8 announces_sent;
	u64 defended_ns; /* when a conflict was last answered (RFC 5227 2.4) */
};

struct netif {
	char name[16];
	u8 mac[6];
	u16 mtu;
	u32 flags;	/* enum netif_flag */
	u32 features;	/* DEVICE_* of offload.h */
	u32 gso_max;	/* largest IP packet handed to the device in one frame when it segments; the
			   MTU otherwise */
	u32 addr_count; /* entries of addrs at or above this are free */
	struct netif_addr addrs[NETIF_ADDRS];
	u64 rx_packets, rx_bytes, tx_packets, tx_bytes, rx_dropped, tx_dropped;
};

/* The interface of an index, or NULL. */
struct netif *netif_get(struct stack *s, u32 ifindex);

/* True for any address of ours, 127/8 and ::1 included. */
bool netif_is_local(const struct stack *s, const struct addr *a);

/* True for the limited broadcast address and those of our subnets. */
bool netif_is_broadcast(const struct stack *s, const struct addr *a);

/* The interface's address to use towards `next_hop`: the one on its subnet, else the first; NULL
 * when it has none. */
const struct netif_addr *netif_source(const struct netif *n, const struct addr *next_hop);

/* True when the address lies in the subnet of one of the interface's addresses. */
bool netif_on_link(const struct netif *n, const struct addr *a);

int netif_add_addr(struct stack *s, u32 ifindex, const struct addr *a, u8 prefix_len);

#endif
