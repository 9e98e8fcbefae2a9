/*
 * The engine: everything about one host, deterministic. Time, randomness and frames come in as
 * arguments; frames to send and sockets whose readiness changed come out. No system call, no
 * allocation but from the region, no global state. The caller serializes all calls (the host's
 * lock).
 *
 * The struct lies at the start of the memory that the caller gives, and everything else behind it;
 * nothing in it is a pointer, so the memory may be mapped at different addresses in different
 * processes.
 */
#ifndef STACK_STACK_H
#define STACK_STACK_H

#include "stack/counters.h"
#include "stack/link.h"
#include "stack/log.h"
#include "stack/random.h"
#include "stack/sock.h"
#include "stack/tcp_metrics.h"

#define STACK_ROUTES	   32
#define STACK_IP_IDS	   1024 /* a power of two */
#define STACK_PMTUS	   256	/* a power of two */
#define STACK_ICMP_BUCKETS 1024 /* a power of two */
#define STACK_TX_RING	   4096 /* frames waiting for the device; a power of two */
#define STACK_TOUCHED	   4
#define STACK_PORT_RANGES  64 /* of ip_local_reserved_ports */

struct stack_route {
	struct addr prefix;
	struct addr gateway; /* family FAMILY_NONE: on the link */
	u8 prefix_len;
	u8 zero;
	u16 ifindex;
	u32 metric;
};

/* The MTU of a path, learnt from ICMP (route.c). */
struct pmtu {
	struct addr dst; /* family FAMILY_NONE: unused entry */
	u32 mtu;
	u32 changes; /* since learnt_ns */
	u64 learnt_ns;
	u64 expires_ns;
};

/* How much may still be sent to the destinations that share this bucket, in units of ns of the
 * refill time. */
struct icmp_bucket {
	u64 filled_ns; /* when it was last counted up */
	u64 credit_ns;
};

/* Tunables: the kernel's sysctl names and units. */
struct stack_tunables {
	u32 tcp_rmem[3], tcp_wmem[3]; /* bytes */
	u32 tcp_mem[3], udp_mem[3];   /* pages of 4 KiB; 0: by the size of the region */
	u32 udp_rmem_min;	      /* bytes */
	u32 rmem_default, rmem_max, wmem_default, wmem_max;
	u32 somaxconn, tcp_max_syn_backlog;
	u16 tcp_fastopen;	/* bits: TFO_* of tcp.h */
	u32 tcp_fastopen_blackhole_timeout_s;
	u8 tcp_fastopen_keys;	/* of those that follow; 0: the host's own */
	u8 tcp_fastopen_key[32];
	u8 tcp_no_metrics_save, tcp_no_ssthresh_metrics_save;
	u8 tcp_syncookies; /* 0: never, 1: when the SYN queue is full, 2: always */
	u8 tcp_sack, tcp_timestamps, tcp_window_scaling,
		tcp_congestion_control; /* enum tcp_cc of tcp.h */
	u8 tcp_allowed_congestion_control; /* bit n: enum tcp_cc n */
	u8 tcp_recovery;       /* bit 0: RACK (RFC 8985); else what RFC 6675 counts */
	u8 tcp_early_retrans;  /* 0: no tail loss probe */
	u8 tcp_frto;	       /* RFC 5682 */
	u8 tcp_tso_rtt_log;
	u32 tcp_min_tso_segs;
	u32 tcp_pacing_ss_ratio, tcp_pacing_ca_ratio; /* percent */
	u8 tcp_ecn, tcp_ecn_fallback;
	u8 tcp_syn_retries, tcp_synack_retries, tcp_retries1, tcp_retries2;
	u8 tcp_keepalive_probes, tcp_slow_start_after_idle, tcp_abort_on_overflow, tcp_rfc1337;
	u32 tcp_fin_timeout_s, tcp_keepalive_time_s, tcp_keepalive_intvl_s;
	u32 tcp_max_orphans, tcp_max_tw_buckets;
	u32 tcp_reordering, tcp_max_reordering; /* segments */
	u32 tcp_notsent_lowat;			/* bytes */
	u32 tcp_invalid_ratelimit_ms, tcp_challenge_ack_limit; /* of the host, a second */
	u32 tcp_tw_reuse_delay_ms, tcp_rto_min_us, tcp_rto_max_ms;
	u8 tcp_dsack, tcp_orphan_retries, tcp_stdurg, tcp_moderate_rcvbuf;
	u8 tcp_thin_linear_timeouts, tcp_tw_reuse, tcp_syn_linear_timeouts, tcp_reflect_tos;
	u8 tcp_workaround_signed_windows, ip_nonlocal_bind;
	u16 port_low, port_high; /* ip_local_port_range */
	u16 reserved_ports[STACK_PORT_RANGES][2]; /* ip_local_reserved_ports: first and last,
						     rising; {0, 0} ends it */
	u8 ip_default_ttl, icmp_echo_ignore_broadcasts, icmp_echo_ignore_all;
	u8 tcp_mtu_probing;	/* RFC 4821: 0 never, 1 after timeouts, 2 always */
	u32 tcp_base_mss, tcp_mtu_probe_floor, tcp_probe_threshold, tcp_probe_interval_s;
	u32 min_pmtu, mtu_expires_s; /* of RFC 1191 */
	u32 ipfrag_time_s, ipfrag_high_thresh; /* bytes */
	u32 icmp_ratelimit_ms;
	u32 arp_table_max;
	u32 arp_queue_max; /* frames queued for one unresolved neighbour */
};

struct stack_config {
	char device_name[16];
	u8 mac[6];
	u16 mtu;
	u32 features; /* DEVICE_* */
	struct addr addr;
	u8 prefix_len;
	bool arp_probe; /* probe before using the address (RFC 5227); it is usable at once, as on
			   Linux, when false */
	struct addr gateway; /* family FAMILY_NONE: none */
	u8 seed[16];	     /* of all random numbers and secrets; must be secret in production */
	u64 now_ns;	     /* monotonic time of the call */
	u64 realtime_offset_ns;		/* realtime minus monotonic */
	struct stack_tunables tunables; /* start from stack_default_tunables() */
};

struct stack {
	struct slab slab[SLAB_KINDS]; /* first: slab.h reaches it without knowing this struct */
	u64 size;		      /* bytes of memory usable, a multiple of SLAB_SPAN_BYTES */
	u32 spans_used;	   /* spans given to slabs and tables, this struct's own included */
	u32 span_limit;	   /* spans that the region may ever have */
	bool wants_memory; /* the caller should make the region larger (stack_grow) */
	u64 now_ns;	   /* monotonic; set by stack_clock */
	u64 realtime_offset_ns;
	struct wheel wheel;
	struct random random;
	struct siphash_key hash_key, isn_key, port_key, ts_key, ipid_key,
		cookie_key, tfo_key; /* independent secrets */
	struct stack_tunables tunables;
	u64 tfo_paused_ns; /* tcp_blackhole.c */
	u32 tfo_pauses;
	struct netif netif[NETIF_MAX];
	struct stack_route route[STACK_ROUTES];
	struct hash conns; /* struct conn by four-tuple */
	struct hash ports; /* struct port by (protocol, port) */
	struct hash neighs;
	struct hash reasms;
	ref last_neigh; /* the one used last: most packets go the same way as the one before */
	struct neigh_list {
		ref head, tail;	   /* least recently used first */
	} neigh_spare, neigh_kept; /* neigh.c */
	ref reasm_oldest, reasm_newest;
	u64 counters[COUNTERS];
	u16 ip_id[STACK_IP_IDS];
	u32 route_count; /* entries in use, best first */
	u32 pmtu_count;	 /* entries ever learnt: the table need not be searched before the first */
	struct pmtu pmtu[STACK_PMTUS];
	struct icmp_bucket icmp_bucket[STACK_ICMP_BUCKETS];
	struct tcp_metric metric[STACK_METRICS];
	u32 reasm_bytes;
	u64 tcp_memory, udp_memory; /* bytes that sockets hold (sock_memory.c) */
	u64 tcp_pressure_ns;	    /* since when TCP is short of memory, 0: it is not */
	u32 evict_next;		    /* tcp_evict.c: where it looks next */
	u32 neigh_queued;	  /* frames that wait for a neighbour */
	ref loop_head, loop_tail; /* packets for ourselves, delivered by stack_run_loopback */
	bool looping; /* stack_run_loopback is at work: calls from within return at once */
	ref changed_head, changed_tail;
	ref tx_wait_head; /* sockets that wait for room in the transmit queue */
	u64 next_cookie;
	ref tcp_orphans_head;
	u32 tcp_orphans;
	ref timewait_head, timewait_tail;
	u64 challenge_second; /* tcp_challenge_ack_limit: the second that is being counted, */
	u32 challenge_left;   /* and how many are left of it */
	/* Frames for the device. The engine adds at tx_head; the owner of the device writes them
	 * without the lock and moves tx_done; the engine frees what is done. All three count
	 * upwards. */
	u32 tx_head, tx_freed;
	_Alignas(64) u32 tx_done;
	_Alignas(64) ref tx_ring[STACK_TX_RING];
	/* Log ring. */
	u8 log_level[LOG_AREAS];
	u32 log_head, log_tail, log_lost;
	char log_text[32768];
	ref touched[STACK_TOUCHED]; /* objects that the running operation may leave half changed */
};

/* Fills in mainline's documented defaults. */
void stack_default_tunables(struct stack_tunables *t);

/* Bytes that stack_init needs at least; less than this gives NULL. */
u64 stack_min_size(void);

/* Makes a host in `memory`, which is zeroed and aligned to 4096, of `size` bytes, growing to
 * `limit` bytes at most. */
struct stack *stack_init(void *memory, u64 size, u64 limit, const struct stack_config *config);

/* The memory now reaches to `size` bytes. */
void stack_grow(struct stack *s, u64 size);

/* One span of zeroed memory: its number, or 0 when there is none. For slabs and tables. */
u32 stack_span_alloc(struct stack *s);
static inline void *stack_span(struct stack *s, u32 span)
{
	return (char *)s + (u64)span * SLAB_SPAN_BYTES;
}

/* The time of this entry; time never runs backwards (an earlier value is ignored). */
void stack_clock(struct stack *s, u64 now_ns);

/* A packet of the large kind to read a frame into: fill data[start ..] up to its room, set end,
 * offload and ifindex. 0 without room. */
ref stack_rx_alloc(struct stack *s);

/* One received frame, the view at its Ethernet header; consumes the packet. */
void stack_input(struct stack *s, ref pkt);

/* Serves all timers that are due, and packets to ourselves. */
void stack_advance(struct stack *s);

/* Queues an IP packet, the view at its header, for ourselves; consumes it. */
void stack_loop(struct stack *s, ref pkt);

/* Delivers packets to ourselves until there are none; every entry point that may send ends with it.
 */
void stack_run_loopback(struct stack *s);

/* When stack_advance has something to do next; NEVER when idle. */
u64 stack_deadline(struct stack *s);

/*
 * Frames for the device, the one at tx_done first. The writer needs no lock for these: it owns
 * tx_done. stack_tx_pieces fills `pieces` (FRAME_PIECES + 1 entries) and returns their number, 0
 * when nothing waits.
 */
bool stack_tx_pending(const struct stack *s);
struct stack_piece {
	void *base;
	size_t len;
};
int stack_tx_pieces(struct stack *s, struct stack_piece *pieces, struct offload *offload);
void stack_tx_done(struct stack *s);	/* the frame at tx_done has been written (or refused) */
void stack_tx_reclaim(struct stack *s); /* under the lock: frees the frames that are done */
bool stack_tx_queue(
	struct stack *s, ref frame); /* from eth_output; false: full, frame dropped and counted */

/*
 * After the death of a process within an entry (repair.c): begin, then every plan that a thread
 * holds (those of the dead included; they are dropped by sock_plan_drop afterwards, as ever) and
 * every packet to receive into, then end. Connections that cannot be mended are reset.
 */
void stack_repair_begin(struct stack *s);
void stack_repair_plan(struct stack *s, struct plan *plan);
bool stack_repair_hold(
	struct stack *s, ref pkt); /* what the caller has of stack_rx_alloc; false: it is gone */
void stack_repair_end(struct stack *s);

/* sock.c: takes the next changed socket off the list and its events; 0 when there is none. The
 * socket may have become an orphan. */
ref stack_changed(struct stack *s, u32 *events);

/*
 * Nothing is left to do but wait for programs: no connection, no orphan, no TIME-WAIT, no frame
 * that waits for a neighbour or the device. The keeper ends then.
 */
bool stack_idle(const struct stack *s);

int stack_add_route(struct stack *s, const struct addr *prefix, u8 prefix_len,
	const struct addr *gateway, u32 ifindex, u32 metric);

#endif
