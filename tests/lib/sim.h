/*
 * Two hosts joined by an impaired link, in virtual time: transfers both ways over one or more TCP
 * connections, every byte compared with what was sent. Everything follows from the configuration
 * and its seed: the same ones put the same bytes on the wire at the same times.
 */
#ifndef TESTS_LIB_SIM_H
#define TESTS_LIB_SIM_H

#include "stack/stack.h"
#include "tools/impair.h"

#define SIM_FLOWS 4

struct sim_config {
	struct impair_config link[2]; /* from the connecting host, and towards it */
	u64 bytes[2];		      /* sent by the connecting host, and by the listening one */
	u64 seed;
	u64 limit_ns; /* virtual time after which the transfer has failed */
	u32 features; /* DEVICE_*: what both devices can do; 0 with any impairment of single wire
			 frames */
	u16 mtu;      /* 0: 1500 */
	u32 flows;    /* connections side by side, SIM_FLOWS at most; 0: one */
	u64 bulk_ns;  /* not 0: the connecting host sends for so long, whatever bytes[0] says ... */
	u64 bulk_from_ns;	/* ... and what arrives from then on is counted */
	bool clear_arp;		/* ARP takes no time: the first fate is that of the SYN */
	const char *congestion; /* of both hosts; NULL: the default */
	u64 memory;		/* of each host; 0: 256 MiB */
	void (*tune)(struct stack_tunables *); /* may be NULL */
	/* Before each frame: may change what its direction of the link does (link->config). May be
	 * NULL. */
	void (*change)(struct impair *link, u32 from, u64 since_ns);
};

struct sim_result {
	const char *failure; /* NULL: all bytes arrived, in order, once, and both hosts ended with
				nothing left over */
	u64 received[SIM_FLOWS]; /* by the listening host in the time of bulk_ns */
	u64 wire_hash;		 /* of every frame and its time, both ways */
	u64 duration_ns;	 /* until the last byte had been read */
	u64 frames;
	u64 retransmits;
	u64 undone;	       /* reductions of the window that were taken back */
	u64 delivered_ce;      /* segments that both were told to have come with CE */
	struct impair link[2]; /* with their counts */
};

struct sim_result sim_transfer(const struct sim_config *config);

#endif
