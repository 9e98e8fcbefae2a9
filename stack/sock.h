/*
 * Sockets: what the shim calls, for every protocol. All calls are made under the host's lock, none blocks: where Linux
 * would block, -EAGAIN (or -EINPROGRESS) comes back and the socket's readiness changes later. Errors are negative errno,
 * those of Linux. Names of options, levels and flags are Linux's numbers (linux.h).
 *
 * User memory is never touched here: sending reserves room, the caller copies into it without the lock, then commits;
 * receiving takes references, the caller copies out, then commits. What a call holds between the two steps is in a struct
 * plan, which lies in the caller's thread slot in the region, so that the death of the thread can free it (sock_plan_drop).
 */
#ifndef STACK_SOCK_H
#define STACK_SOCK_H

#include "stack/addr.h"
#include "stack/hash.h"
#include "stack/pkt.h"
#include "stack/wheel.h"

/* What everything in the connection table begins with: sockets, handshakes, TIME-WAIT. */
struct conn {
	struct slab_head slab;
	struct hlink by_tuple;
	struct endpoint local;
	struct endpoint remote;
	ref port;      /* struct port, 0 when it holds none */
	ref port_next; /* in one of the two lists of its port */
	ref port_prev;
	u32 ifindex;   /* SO_BINDTODEVICE, 0 any */
	u8 proto;      /* PROTO_* of ip.h */
	u8 bind;       /* enum conn_bind */
	u8 zero[2];
};

/* What bind() looks at in the holders of a port. */
enum conn_bind {
	CONN_REUSEADDR = 1,
	CONN_REUSEPORT = 2,
	CONN_LISTENING = 4,
	CONN_TIMEWAIT = 8,
	CONN_CONNECTED = 16, /* in the port's list of connected ones */
};

/* State of a socket as the API sees it; TCP's own states are in struct tcp. */
enum sock_state {
	SOCK_CLOSED,     /* fresh */
	SOCK_LISTENING,
	SOCK_CONNECTING, /* TCP: SYN sent */
	SOCK_CONNECTED,  /* TCP: the handshake is done, and whatever comes after; UDP: has a peer */
	SOCK_DEAD,       /* TCP: connection over; error delivered or to be delivered */
};

enum sock_flag {
	SOCK_ORPHAN = 1 << 0,      /* no descriptor anywhere; lives until the protocol is done */
	SOCK_RCV_SHUT = 1 << 1,    /* shutdown(SHUT_RD), or the peer's FIN has been received */
	SOCK_SND_SHUT = 1 << 2,    /* shutdown(SHUT_WR) */
	SOCK_BOUND_ADDR = 1 << 3,  /* the program chose the local address */
	SOCK_BOUND_PORT = 1 << 4,  /* the program chose the local port */
	SOCK_CHANGED = 1 << 5,     /* on the list of changed sockets */
	SOCK_HASHED = 1 << 6,      /* in the connection table */
	SOCK_WAS_CONNECTED = 1 << 7,
	SOCK_CONNECT_PENDING = 1 << 8, /* connect() said -EINPROGRESS and has not told its outcome yet */
	SOCK_TX_WAIT = 1 << 9,     /* wants EV_OUT when the device's queue has room again */
	SOCK_TETHERED = 1 << 10,   /* owned by preload/: its placeholder is tied to the keeper (tether.h) */
	SOCK_SPLICED = 1 << 11,    /* owned by preload/: the keeper moves its bytes */
	SOCK_PUMP_DUE = 1 << 12,   /* owned by preload/: on the keeper's list of those that it is to look at */
	SOCK_SPLICE_MARKED = 1 << 13, /* owned by preload/: see splice.c */
	SOCK_FASTOPEN = 1 << 14,   /* TCP: the next connect waits for text if there is a cookie (MSG_FASTOPEN) */
	SOCK_LENT = 1 << 15,       /* owned by preload/: programs without the library accept from it, too (lend.h) */
};

/* Boolean options, one bit each, stored as set by the program. */
enum sock_option {
	OPT_REUSEADDR = 1 << 0,
	OPT_REUSEPORT = 1 << 1,
	OPT_KEEPALIVE = 1 << 2,
	OPT_BROADCAST = 1 << 3,
	OPT_OOBINLINE = 1 << 4,
	OPT_LINGER = 1 << 5,
	OPT_DONTROUTE = 1 << 6,
	OPT_DEBUG = 1 << 7,
	OPT_TIMESTAMP = 1 << 8,
	OPT_TIMESTAMPNS = 1 << 9,
	OPT_PKTINFO = 1 << 10,
	OPT_RECVTTL = 1 << 11,
	OPT_RECVTOS = 1 << 12,
	OPT_RECVERR = 1 << 13,
	OPT_RECVORIGDSTADDR = 1 << 14,
	OPT_FREEBIND = 1 << 15,
	OPT_TRANSPARENT = 1 << 16,
	OPT_BIND_NO_PORT = 1 << 17,
	OPT_MULTICAST_LOOP = 1 << 18,
	OPT_MULTICAST_ALL = 1 << 19,
	OPT_SNDBUF_LOCKED = 1 << 20, /* SO_SNDBUF was set: no auto-tuning */
	OPT_RCVBUF_LOCKED = 1 << 21,
	OPT_UDP_CORK = 1 << 22,
	OPT_UDP_GRO = 1 << 23,
	OPT_RECVOPTS = 1 << 24,
	OPT_RXQ_OVFL = 1 << 25,
	OPT_ZEROCOPY = 1 << 26,
	OPT_NO_CHECK = 1 << 27,
};

/* Linux's SOF_TIMESTAMPING_*; what is not named is stored alone. */
enum sock_tstamp {
	TSTAMP_TX_SOFTWARE = 1 << 1,
	TSTAMP_RX_SOFTWARE = 1 << 3,
	TSTAMP_SOFTWARE = 1 << 4, /* report software stamps */
	TSTAMP_OPT_ID = 1 << 7,
	TSTAMP_TX_SCHED = 1 << 8,
	TSTAMP_TX_ACK = 1 << 9,
	TSTAMP_OPT_TSONLY = 1 << 11,
	TSTAMP_OPT_STATS = 1 << 12,
	TSTAMP_OPT_ID_TCP = 1 << 16,
	TSTAMP_TX = TSTAMP_TX_SOFTWARE | TSTAMP_TX_SCHED | TSTAMP_TX_ACK,
};
enum sock_tstamp_report { TSTAMP_REPORT_SND, TSTAMP_REPORT_SCHED, TSTAMP_REPORT_ACK };

#define MEMBERSHIP_SOURCES 10u /* igmp_max_msf */

struct sock {
	struct conn conn;        /* must be first */
	u8 type;                 /* SOCK_STREAM = 1, SOCK_DGRAM = 2 */
	u8 state;                /* enum sock_state */
	u16 family;
	u32 flags;               /* enum sock_flag */
	u32 options;             /* enum sock_option */
	ref tcp;                 /* struct tcp */
	int error;               /* pending, positive errno: SO_ERROR reports and clears it */
	int soft_error;          /* reported when the connection fails for want of answers */
	struct pktq rxq;         /* datagrams, or in-order bytes */
	u32 rx_charged;          /* truesize of what waits for the program, out-of-order bytes included */
	u32 tx_charged;          /* truesize of what the program has queued and the protocol holds */
	u32 rcvbuf, sndbuf;      /* bytes, as getsockopt gives them (Linux doubles what is set) */
	u32 rcvlowat;
	ref reader;              /* thread that is between recv_take and recv_commit: others wait (opaque, not 0) */
	u32 mark, priority;
	u64 rcvtimeo_ns, sndtimeo_ns; /* 0: none */
	u32 linger_s;
	u32 dissolved;           /* times: a call that sleeps meanwhile has lost its connection */
	u64 max_pacing_rate;
	u64 cookie;
	u64 stamp_ns;            /* of the last packet read, for SIOCGSTAMP */
	u8 tos, ttl;             /* ttl 0: the default */
	u8 multicast_ttl, mtu_discover;
	u32 multicast_if;
	struct addr multicast_src; /* family FAMILY_NONE: none */
	ref memberships;         /* list of struct membership */
	struct pktq errq;        /* IP_RECVERR */
	u32 rx_dropped;          /* for SO_RXQ_OVFL */
	u16 udp_segment;         /* UDP_SEGMENT */
	u16 lite_send, lite_receive; /* UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV; 0 all of a datagram */
	u32 fastopen_qlen;       /* TCP_FASTOPEN */
	u16 port_low, port_high; /* IP_LOCAL_PORT_RANGE, 0: the host's */
	u8 ip_options_len;
	u8 ip_options[40];
	u8 min_ttl;              /* IP_MINTTL: packets with less are ignored; 0 none */
	u32 unicast_if;          /* IP_UNICAST_IF */
	int peek_off;            /* SO_PEEK_OFF, -1 off */
	u32 tstamp_flags;        /* SO_TIMESTAMPING: enum sock_tstamp */
	u32 tstamp_key;          /* SOF_TIMESTAMPING_OPT_ID: the next datagram's, or the number of a stream's byte 0 */
	int tstamp_phc;
	u64 stored;              /* bit per option that is only stored (sock_opt.c) */
	u32 busy_poll_us, reserve_mem;
	int incoming_cpu;
	u32 txtime_clock, txtime_flags; /* SO_TXTIME */
	ref filter;              /* SO_ATTACH_FILTER: a packet that holds the program, shared by children */
	ref cork;                /* UDP_CORK, MSG_MORE: the datagram in the making */
	struct udp_route {       /* where to and how a datagram is sent */
		struct endpoint to;
		struct addr src;
		u32 ifindex;
		u32 mtu;
		u32 gso_size;
		u32 flags;       /* MSG_* */
		u8 tos, ttl;
		u8 local, group; /* to ourselves; to a group or broadcast address */
	} cork_route;
	struct timer timer;      /* TCP's deadlines */
	/* Readiness. */
	ref changed_next;
	ref tx_wait_next;        /* SOCK_TX_WAIT */
	u32 events;              /* what has newly happened since the caller last took the change: POLL* */
	/* Owned by preload/, kept here so that it dies with the socket. */
	ref watch_items;         /* epoll items on this socket */
	ref waiters;             /* sleeping calls on this socket */
	u32 holders;             /* processes that hold descriptors of it */
	u32 fd_flags;            /* file status flags shared by all its descriptors: O_NONBLOCK, O_ASYNC */
	u64 inode;               /* of the placeholder */
	int owner;               /* F_SETOWN: process, or group as a negative number; 0 none */
	u8 owner_signal;         /* F_SETSIG */
};

/* A multicast group that a socket has joined. */
struct membership {
	struct slab_head slab;
	ref next;        /* of the socket's list */
	struct addr group;
	u32 ifindex;
	u8 include;      /* sources: those listed only; else all but those listed */
	u8 sources;
	u8 filtered;     /* has had a source: the mode is fixed from then on, as on Linux */
	struct addr source[MEMBERSHIP_SOURCES];
};

/* poll(2)'s bits. */
enum {
	EV_IN = 0x001,
	EV_PRI = 0x002,
	EV_OUT = 0x004,
	EV_ERR = 0x008,
	EV_HUP = 0x010,
	EV_RDHUP = 0x2000,
	/* A change of state, for sock_raise: whoever waits looks again, whatever it waits for
	 * (Linux's sk_state_change). */
	EV_STATE = EV_HUP,
};

/* A piece of packet memory to copy to or from. */
struct span {
	ref pkt;
	u32 offset; /* in data[] */
	u32 len;
};

#define PLAN_SPANS 36
#define PLAN_STATS 272u /* bytes of SCM_TIMESTAMPING_OPT_STATS */

/* What a send or receive holds between its two steps. */
struct plan {
	ref sock;
	u8 kind; /* enum plan_kind, written last when the plan is made and first when it is dropped */
	u8 zero[3];
	u32 flags;   /* MSG_* of the call */
	u32 count;   /* spans */
	u32 bytes;   /* sum of the spans' lengths */
	u32 full_len;/* datagram: its true length (MSG_TRUNC) */
	struct span span[PLAN_SPANS];
	/* Datagram sent: where to, and what the control messages asked. Received: where from, and what they report. */
	struct endpoint to;
	struct endpoint from;
	struct plan_meta {
		struct addr local;  /* IP_PKTINFO: ipi_addr, the header's destination */
		struct addr spec;   /* ipi_spec_dst: our address; sending: the source, family FAMILY_NONE: not given */
		u32 ifindex;
		u32 local_port;     /* of the header's destination, for IP_RECVORIGDSTADDR */
		int tos, ttl;       /* -1: not given */
		u32 gso_size;       /* UDP_SEGMENT, UDP_GRO */
		u64 time_ns;        /* realtime */
		u32 dropped;
		u32 msg_flags;      /* MSG_TRUNC, MSG_OOB, MSG_ERRQUEUE to report */
		u32 stats_len;      /* MSG_ERRQUEUE: of plan.stats, 0: none */
		struct icmp_error_report {
			u32 error;
			u8 origin, type, code, zero;
			u32 info, data;
			struct endpoint offender;
		} report;           /* MSG_ERRQUEUE */
	} meta;
	u8 stats[PLAN_STATS];       /* netlink attributes: how the connection fared */
};

enum plan_kind { PLAN_NONE, PLAN_SEND, PLAN_RECV };

struct sock *sock_get(struct stack *s, ref sk);

/* A new socket, not bound. family FAMILY_INET; type SOCK_STREAM or SOCK_DGRAM without flags. ref, or negative errno in *error. */
ref sock_open(struct stack *s, int family, int type, int protocol, int *error);

int sock_bind(struct stack *s, ref sk, const struct endpoint *local);
/*
 * -EINPROGRESS when TCP has begun: after EV_OUT, EV_ERR or EV_HUP another call (of the program, or of the shim for a blocking one) gives
 * the outcome once, 0 or the error; then -EISCONN. -EALREADY meanwhile. family FAMILY_NONE (AF_UNSPEC) dissolves.
 */
int sock_connect(struct stack *s, ref sk, const struct endpoint *remote);

/* What the next sock_connect would say of one that is on its way, told once; 0 when none is. */
int sock_connect_outcome(struct stack *s, ref sk);
int sock_listen(struct stack *s, ref sk, int backlog);
/* A new socket for the oldest completed connection; 0 with *error = -EAGAIN when there is none. */
ref sock_accept(struct stack *s, ref sk, int *error);
int sock_shutdown(struct stack *s, ref sk, int how); /* SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2 */

/*
 * The last descriptor has gone. The socket becomes an orphan until its protocol has finished, or is freed. Returns nanoseconds
 * that a close under SO_LINGER should wait for EV_HUP (0: no wait).
 */
u64 sock_close(struct stack *s, ref sk);
int sock_name(struct stack *s, ref sk, struct endpoint *local);
int sock_peer(struct stack *s, ref sk, struct endpoint *remote); /* -ENOTCONN */

/* Takes the pending error: what SO_ERROR gives. Positive errno or 0. */
int sock_error(struct stack *s, ref sk);

/* The poll mask as it is now: EV_* (EV_ERR, EV_HUP always included). */
u32 sock_poll(struct stack *s, ref sk);

/*
 * Sending. plan->to (family FAMILY_NONE: to the peer) and plan->meta are set by the caller, plan->flags too. Reserves room for at most len
 * bytes (datagrams: all or nothing) and fills the spans. Returns the number of bytes reserved, or -EAGAIN (no room), -EPIPE,
 * -ENOTCONN, -EDESTADDRREQ, -EMSGSIZE, -ENOBUFS, ... A zero-length datagram is reserved as 0 with plan->kind set.
 */
s64 sock_send_reserve(struct stack *s, ref sk, struct plan *plan, u64 len);

/* Queues the first `copied` bytes of the plan and drops the plan. Returns copied, or a negative errno for a datagram that failed. */
s64 sock_send_commit(struct stack *s, struct plan *plan, u32 copied);

/*
 * Receiving. plan->flags is set by the caller (MSG_PEEK, MSG_TRUNC, MSG_OOB, MSG_ERRQUEUE, ...; MSG_DONTWAIT also for
 * O_NONBLOCK). Takes at most len bytes (of one datagram).
 * Returns the number of bytes in the spans, 0 with plan->kind PLAN_NONE at the end of the stream (a zero-length datagram has
 * PLAN_RECV), -EAGAIN when there is nothing, -EBUSY when another thread is between its two steps (try again), or a
 * pending error.
 */
s64 sock_recv_take(struct stack *s, ref sk, struct plan *plan, u64 len, ref reader);

/* Takes `copied` bytes off the queue (none with MSG_PEEK) and drops the plan. A datagram goes whole. Returns copied. */
s64 sock_recv_commit(struct stack *s, struct plan *plan, u32 copied);

/* Gives back what a plan holds: after a fault, or the death of its thread. Nothing is sent or taken. */
void sock_plan_drop(struct stack *s, struct plan *plan);

/* The address of a span's bytes in this process. */
void *sock_span(struct stack *s, const struct span *span);

/*
 * Options: val and len in Linux's layout for this architecture, in memory of the caller that is not user memory. Set: 0 or negative errno.
 * Get: *len is the room on entry and the size on return; at most SOCK_OPT_MAX bytes.
 */
#define SOCK_OPT_MAX 512
int sock_setopt(struct stack *s, ref sk, int level, int name, const void *val, u32 len);
int sock_getopt(struct stack *s, ref sk, int level, int name, void *val, u32 *len);

/* FIONREAD/SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK: *value gets the answer. -EINVAL as Linux. */
int sock_ioctl(struct stack *s, ref sk, unsigned request, int *value);

/* --- for the protocols --- */

/* Something happened to a socket: EV_* bits. Puts it on the list that stack_changed() hands out. */
void sock_raise(struct stack *s, struct sock *sk, u32 events);

/* The device's queue has been emptied: sockets that wait to send look again. */
void sock_tx_room(struct stack *s);

/* Sets the pending error and raises EV_ERR | EV_IN | EV_OUT. */
void sock_fail(struct stack *s, struct sock *sk, int error);

/* Unlinks from all tables, purges queues, frees. For orphans at the end and sockets never connected. */
void sock_free(struct stack *s, struct sock *sk);

/* A socket for a connection that a listener's handshake has completed: options inherited as Linux does. 0 without room. */
ref sock_spawn(struct stack *s, const struct sock *listener, const struct endpoint *local, const struct endpoint *remote);

/* Gives the socket a local port if it has none (RFC 6056) and a source address; 0, -EADDRNOTAVAIL, -EAGAIN, ... */
int sock_autobind(struct stack *s, struct sock *sk, const struct endpoint *remote);

/* The connection table: everything with both ends. */
void conn_insert(struct stack *s, struct conn *c);
void conn_remove(struct stack *s, struct conn *c);
/* The object (SLAB_SOCK, SLAB_TCP_REQUEST or SLAB_TCP_TIMEWAIT) of a four-tuple, or 0. */
ref conn_lookup(struct stack *s, u8 proto, const struct endpoint *local, const struct endpoint *remote);
/* The best listening or unconnected socket for a packet to `local` from `remote` on ifindex (Linux's scoring, SO_REUSEPORT spread). */
ref sock_lookup(struct stack *s, u8 proto, const struct endpoint *local, const struct endpoint *remote, u32 ifindex);

#endif
