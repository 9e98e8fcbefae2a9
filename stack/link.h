/* Between IP and the device: Ethernet, neighbours, the transmit queue. */
#ifndef STACK_LINK_H
#define STACK_LINK_H

#include "stack/frame.h"
#include "stack/netif.h"
#include "stack/wheel.h"

/* What the host itself has to do at some time: probing and announcing an address (arp.c). */
struct task {
	struct slab_head slab;
	struct timer timer;
	u32 ifindex;
	u32 nth; /* of the interface's addresses */
};

enum { ETHERTYPE_IP4 = 0x0800, ETHERTYPE_ARP = 0x0806, ETHERTYPE_IP6 = 0x86dd };

/* eth.c: a received frame, the view at its Ethernet header; consumes it. */
void eth_input(struct stack *s, ref pkt);

/* eth.c: sends a frame that begins at its network header to a station; consumes it. */
void eth_output(struct stack *s, ref frame, const u8 dst[6], u16 ethertype);

/* neigh.c and arp.c: resolves next_hop and sends, or queues until it is resolved; consumes the
 * frame. 0 or -errno. */
int neigh_output(struct stack *s, ref frame, const struct addr *next_hop, u32 ifindex);

/* A transport protocol heard from the neighbour: reachability is confirmed (RFC 4861 7.3.1, RFC
 * 1122 2.3.2.1). */
void neigh_confirm(struct stack *s, const struct addr *next_hop);
void neigh_expired(struct stack *s, ref neigh);
void neigh_rebuild(
	struct stack *s); /* for repair.c: table, lists and timers anew, out of the entries */

void arp_input(struct stack *s, ref pkt);
void arp_announce(struct stack *s);
void arp_start(struct stack *s, u32 ifindex,
	bool probe); /* probes (if asked) and announces the interface's addresses */
void arp_task(struct stack *s, ref task); /* the next probe or announcement of an address */
void ip4_input(struct stack *s, ref pkt);
void reasm_expired(struct stack *s, ref reasm);
void reasm_rebuild(struct stack *s); /* for repair.c */

#endif
