/* Private to neigh.c, arp.c and wheel.c, and read by preload/ifaces_view.c: a neighbour and its
 * states. */
#ifndef STACK_NEIGH_H
#define STACK_NEIGH_H

#include "stack/hash.h"
#include "stack/link.h"

/* RFC 4861 7.3.2, which Linux applies to ARP too. */
enum neigh_state {
	NEIGH_INCOMPLETE, /* asked for, not yet answered; frames wait */
	NEIGH_REACHABLE,  /* heard from lately */
	NEIGH_STALE,	  /* known; to be checked when it is used */
	NEIGH_DELAY,	  /* used; a transport may still confirm it before it is probed */
	NEIGH_PROBE,	  /* being asked by unicast */
};

struct neigh {
	struct slab_head slab;
	struct hlink by_addr;
	struct timer timer;
	struct addr addr;
	u32 ifindex;
	u8 mac[6];
	u8 state; /* enum neigh_state */
	u8 probes;
	bool kept; /* in stack.neigh_kept: resolved and used by us; else in neigh_spare */
	ref lru_next, lru_prev;
	ref queue_head, queue_tail; /* frames, linked by frame.next */
	u32 queued;
	u64 asked_ns;	  /* when the last request left */
	u64 changed_ns;	  /* when the link address was last set */
	u64 confirmed_ns; /* when reachability was last confirmed */
	u64 reachable_ns; /* how long a confirmation holds */
};

/*
 * What ARP reports to neigh.c: a station has spoken; `solicited`: it was a reply to us. Updates an
 * entry that exists; false when there is none.
 */
bool neigh_heard(
	struct stack *s, const struct addr *addr, u32 ifindex, const u8 mac[6], bool solicited);

/* A packet for us came from this station: makes an entry, as an answer will follow. */
void neigh_learn(struct stack *s, const struct addr *addr, u32 ifindex, const u8 mac[6]);

/* arp.c: sends a request, to everybody with mac NULL. */
void arp_request(struct stack *s, u32 ifindex, const struct addr *target, const u8 *mac);

#endif
