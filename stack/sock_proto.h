/*
 * Between the socket layer (sock*.c, conn.c) and the protocols (tcp*.c, udp*.c); nobody else
 * includes it.
 *
 * A protocol is a const table of operations, found by the protocol number in the socket: no code
 * pointer is ever stored in the region. The socket layer checks what is the same for all
 * (arguments, states, ports), then calls the protocol.
 */
#ifndef STACK_SOCK_PROTO_H
#define STACK_SOCK_PROTO_H

#include "stack/linux.h"
#include "stack/ip.h"
#include "stack/stack.h"

struct sock_ops {
	/* A socket has been made, by socket() or by sock_spawn: allocate what belongs to it. 0 or
	 * -ENOBUFS. */
	int (*open)(struct stack *s, struct sock *sk);

	/* The socket is about to be freed: release what belongs to it (rxq and errq are purged by
	 * sock_free). */
	void (*destroy)(struct stack *s, struct sock *sk);

	/*
	 * The socket is not connected, and remote is of its family. UDP: 0. TCP: -EINPROGRESS after
	 * the SYN; it calls sock_autobind, conn_insert, and sets state. Calls while connecting or
	 * connected are answered by sock_connect.
	 */
	int (*connect)(struct stack *s, struct sock *sk, const struct endpoint *remote);

	/* connect(AF_UNSPEC): back to SOCK_CLOSED; ports and addresses that the program did not
	 * choose are given up by the caller. */
	int (*disconnect)(struct stack *s, struct sock *sk);

	/* Only TCP (else NULL): the socket has a port and state SOCK_LISTENING is new or already
	 * there; backlog is clamped. */
	int (*listen)(struct stack *s, struct sock *sk, u32 backlog);
	ref (*accept)(
		struct stack *s, struct sock *sk, int *error); /* the state is SOCK_LISTENING */

	int (*shutdown)(struct stack *s, struct sock *sk, int how);

	/*
	 * SOCK_ORPHAN has been set. Either calls sock_free, at once or later, or hands over to
	 * smaller objects. Returns the time to linger in ns.
	 */
	u64 (*close)(struct stack *s, struct sock *sk);

	u32 (*poll)(struct stack *s, struct sock *sk);

	/* The two halves of sending and receiving as in sock.h; the drops give back what the
	 * protocol charged (spans are released after). */
	s64 (*send_reserve)(struct stack *s, struct sock *sk, struct plan *plan, u64 len);
	s64 (*send_commit)(struct stack *s, struct sock *sk, struct plan *plan, u32 copied);
	void (*send_drop)(struct stack *s, struct sock *sk, struct plan *plan);
	s64 (*recv_take)(struct stack *s, struct sock *sk, struct plan *plan, u64 len);
	s64 (*recv_commit)(struct stack *s, struct sock *sk, struct plan *plan, u32 copied);

	/* The protocol's own level (SOL_TCP, SOL_UDP). val is as in sock.h; -ENOPROTOOPT for
	 * unknown names. */
	int (*setopt)(struct stack *s, struct sock *sk, int name, const void *val, u32 len);
	int (*getopt)(struct stack *s, struct sock *sk, int name, void *val, u32 *len);
	int (*ioctl)(struct stack *s, struct sock *sk, unsigned request, int *value);

	/* May be NULL: an option of another level that concerns the protocol has been set (level
	 * SOL_SOCKET: KEEPALIVE, RCVBUF, ...). */
	void (*opt_changed)(struct stack *s, struct sock *sk, int level, int name);

	/*
	 * May be NULL: a new connection wants the four-tuple of this object (SLAB_TCP_TIMEWAIT).
	 * `chosen`: the program has bound its port. True when it may have it: the object has been
	 * freed then.
	 */
	bool (*yield)(struct stack *s, ref conn, bool chosen);
};

extern const struct sock_ops tcp_ops;
extern const struct sock_ops udp_ops;

void sock_init(struct stack *s); /* from stack_init: slabs and tables of sockets */

const struct sock_ops *sock_ops_of(u8 proto);

/* --- plans --- */

/* Begins a plan; plan->sock and plan->kind are set, spans cleared. Flags, to, from and meta stay as
 * the caller set them. */
void sock_plan_begin(struct stack *s, struct sock *sk, struct plan *plan, enum plan_kind kind);

/* Adds bytes of a packet, with a reference of its own to it; false when the plan has PLAN_SPANS
 * already. */
bool sock_plan_add(struct stack *s, struct plan *plan, ref pkt, u32 offset, u32 len);

/* Releases all spans and clears the plan. */
void sock_plan_end(struct stack *s, struct plan *plan);

/* SO_PEEK_OFF: where MSG_PEEK begins, 0 without; and after `copied` bytes have been peeked at or
 * taken. */
static inline u32 sock_peek_from(const struct sock *sk, u32 flags)
{
	return flags & LX_MSG_PEEK && sk->peek_off > 0 ? (u32)sk->peek_off : 0;
}
static inline void sock_peek_move(struct sock *sk, u32 flags, u32 copied)
{
	s64 off = sk->peek_off;

	if (off < 0)
		return;
	off += flags & LX_MSG_PEEK ? (s64)copied : -(s64)copied;
	sk->peek_off = (int)MIN(MAX(off, 0), INT32_MAX);
}

/* --- ports --- */

/* A bound local port and everything that holds it. */
struct port {
	struct slab_head slab;
	struct hlink by_number;
	ref open;      /* list of struct conn (conn.port_next): bound or listening, to be found by
			  sock_lookup */
	ref connected; /* list: those in the connection table, and TIME-WAIT */
	u16 number;    /* host order */
	u8 proto;
	bool explicit; /* some holder came by bind: not to be shared by automatic choice */
};

/* Links a conn to the list of its port, and takes it off. port_detach frees the port with its last
 * holder. */
void port_attach(struct stack *s, ref port, struct conn *c, bool connected);
void port_detach(struct stack *s, struct conn *c);

/* Moves a socket to the other of the port's two lists. */
void port_move(struct stack *s, struct conn *c, bool connected);

/* The first of a port's list, 0 when it is empty; the next is conn.port_next. */
ref port_first(struct stack *s, u8 proto, u16 number, bool connected);

/* bind() and listen(): takes port `number` (0: any free one) at c->local.addr under the rules of
 * Linux. 0 or -EADDRINUSE. */
int port_bind(struct stack *s, struct sock *sk, u16 number);
int port_listen_check(struct stack *s, struct sock *sk);

/* The object in the connection table or a port's list, of any of the three kinds; NULL when stale.
 */
struct conn *conn_get(struct stack *s, ref r);

/* For repair.c: the connection table, and the ports with their lists, anew out of their objects. */
void conn_rebuild(struct stack *s);
void port_rebuild(struct stack *s);

/* --- helpers of the socket layer for protocols --- */

/* connect(AF_UNSPEC): ends the connection, and gives up what the program did not choose itself. */
int sock_dissolve(struct stack *s, struct sock *sk);

/* Gives up the address and port that the program did not choose itself. */
void sock_unbind(struct stack *s, struct sock *sk);

/* Leaves all groups. */
void mcast_drop_all(struct stack *s, struct sock *sk);

/* Whether a packet to a group is for this socket: joined there with this source, or
 * IP_MULTICAST_ALL. */
bool mcast_wants(struct stack *s, const struct sock *sk, const struct addr *group,
	const struct addr *source, u32 ifindex);

/* 0.0.0.0 as a destination means this host (Linux): our bound address, or 127.0.0.1. */
void sock_fix_remote(const struct sock *sk, struct endpoint *remote);

/* The address to send from: the bound one unless it is a group or broadcast address; family
 * FAMILY_NONE when there is none. */
struct addr sock_source(struct stack *s, const struct sock *sk);

/* Waits for room in the device's queue: EV_OUT is raised by sock_tx_room, which stack_tx_reclaim
 * calls. */
bool sock_tx_full(const struct stack *s);
void sock_tx_wait(struct stack *s, struct sock *sk);

/* Appends to the error queue if IP_RECVERR asks for it: about is the quoted payload (a view; may be
 * NULL), not consumed. */
void sock_queue_error(struct stack *s, struct sock *sk, struct pkt *about,
	const struct icmp_error_report *report, const struct endpoint *dst);

/* SO_TIMESTAMPING: reports that what carries this id has come to that point now, if the program has asked for it. */
void sock_stamp(struct stack *s, struct sock *sk, enum sock_tstamp_report point, u32 id);
/* ... with what SOF_TIMESTAMPING_OPT_STATS asks for, PLAN_STATS bytes at most. */
void sock_stamp_stats(struct stack *s, struct sock *sk, enum sock_tstamp_report point, u32 id,
	const void *stats, u32 len);
int sock_stamp_set(struct stack *s, struct sock *sk, const void *val, u32 len);

/* Takes from the error queue: MSG_ERRQUEUE of every protocol. */
s64 sock_errqueue_take(struct stack *s, struct sock *sk, struct plan *plan, u64 len);

/* --- options (sock_opt.c) --- */

/* Writes an int option as Linux does: the first min(*len, 4) bytes, and *len becomes that. */
int sock_opt_int(void *val, u32 *len, int value);
int sock_opt_copy(void *val, u32 *len, const void *from, u32 size);

/* Reads an int option: -EINVAL when len is less than 4. */
int sock_opt_read(const void *val, u32 len, int *value);

int opt_ip_set(struct stack *s, struct sock *sk, int name, const void *val, u32 len);
int opt_ip_get(struct stack *s, struct sock *sk, int name, void *val, u32 *len);
int mcast_setopt(struct stack *s, struct sock *sk, int name, const void *val, u32 len);
int mcast_getopt(struct stack *s, struct sock *sk, int name, void *val, u32 *len);

/* An interface by its address (0 none). */
u32 mcast_ifindex_of(struct stack *s, const struct addr *a);

/* SO_ATTACH_FILTER (filter.c). The program is val: 8 bytes an instruction. */
int filter_attach(struct stack *s, struct sock *sk, const void *val, u32 len);
int filter_detach(struct stack *s, struct sock *sk);
int filter_get(struct stack *s, const struct sock *sk, void *val, u32 *len);

/* How many bytes of the packet's view (at its transport header) the filter keeps; 0: drop it. */
u32 filter_run(struct stack *s, const struct sock *sk, struct pkt *p);

/* Options that are stored and read back, as they have no visible effect on a TAP under Linux
 * either; bits of sock.stored. */
enum sock_stored {
	STORED_WIFI_STATUS,
	STORED_NOFCS,
	STORED_SELECT_ERR_QUEUE,
	STORED_RCVMARK,
	STORED_RCVPRIORITY,
	STORED_PREFER_BUSY_POLL,
	STORED_LOCK_FILTER,
	STORED_NO_TXREHASH,
	STORED_TSTAMP_NEW,
	STORED_RETOPTS,
	STORED_PASSSEC,
	STORED_CHECKSUM,
	STORED_RECVFRAGSIZE,
	STORED_RECVERR_RFC4884,
	STORED_NO_CHECK6_TX,
	STORED_NO_CHECK6_RX,
	STORED_LITE_SEND,    /* lite_send was set */
	STORED_LITE_RECEIVE, /* lite_receive was set */
	STORED_THIN_LINEAR,
};

static inline bool sock_stored(const struct sock *sk, enum sock_stored bit)
{
	return sk->stored >> bit & 1;
}

#endif
