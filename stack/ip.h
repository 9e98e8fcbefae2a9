/*
 * What the transport protocols ask of IP, for both families: a route and source address for a
 * destination, and sending. ip4.c implements it for IPv4.
 */
#ifndef STACK_IP_H
#define STACK_IP_H

#include "stack/frame.h"

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_UDPLITE = 136 };

/* A way to a destination. */
struct path {
	struct addr next_hop;
	struct addr source; /* the address to use when none is bound */
	u16 ifindex;
	u16 mtu; /* what the path is known to carry: the interface's MTU or a smaller learnt one, in
		    bytes of IP packet */
	bool local;
	bool broadcast; /* or multicast */
};

/* What the IP header of an outgoing packet says. */
struct ip_out {
	struct addr src;
	struct addr dst;
	u8 proto;
	u8 ttl; /* 0: the default */
	u8 tos;
	bool dont_fragment;
	bool beyond_path;    /* what the path is known to carry is no limit: the interface's MTU is */
	u16 ifindex;	     /* 0: by the routes */
	bool multicast_loop; /* a copy of what goes to a group comes back to our own members */
	u8 options_len;	     /* IPv4 options to add, a multiple of 4 */
	u8 options[40];
};

/*
 * Finds the way to dst; ifindex 0 leaves the choice of interface to the routes. 0, or -ENETUNREACH.
 * (RFC 1122 3.3.1)
 */
int ip_route(struct stack *s, const struct addr *dst, u32 ifindex, struct path *path);

/*
 * Sends a frame that holds a transport header and payload; consumes it in every case. Offsets in
 * frame.offload count from the transport header (csum_start 0, header_len that of the transport
 * header): the layers below add theirs. The checksum field must hold the folded pseudo-header sum
 * and frame.offload say where it is (OFFLOAD_NEEDS_CSUM): it is completed here when the device does
 * not do it. Fragments when larger than the path's MTU unless dont_fragment is set or the device
 * segments. 0, -ENETUNREACH, -EMSGSIZE (dont_fragment and too large), -EHOSTUNREACH, -ENOBUFS.
 */
int ip_send(struct stack *s, ref frame, const struct ip_out *ip);

/*
 * The MTU learnt for a destination by ICMP, or 0. Learning never goes below 552 or above the
 * present value (RFC 1191), holds for 10 minutes, and is called by the transport protocol that has
 * verified the quoted packet as its own (RFC 5927 7).
 */
u16 ip_pmtu_get(struct stack *s, const struct addr *dst);
void ip_pmtu_learn(struct stack *s, const struct addr *dst, u32 mtu);

/* Transport input: ip4.c calls these with the view at the transport header, and pkt.from.addr,
 * to.addr, tos, ttl set. */
void tcp_input(struct stack *s, ref pkt);
void udp_input(struct stack *s, ref pkt, u8 proto); /* PROTO_UDP or PROTO_UDPLITE */
void icmp_input(struct stack *s, ref pkt);

/* tcp.c: its slabs and tunables, from stack_init; and the timer of a socket, handshake or TIME-WAIT
 * is due. */
void tcp_init(struct stack *s);
void tcp_timer(struct stack *s, ref owner);

/* sock layer: some socket has joined the group on the interface. */
bool sock_is_member(struct stack *s, const struct addr *group, u32 ifindex);

/*
 * An ICMP error about a packet of ours: icmp.c calls the protocol that sent it. The quoted
 * transport bytes are the view of pkt (at least 8); pkt.to is the local end (as quoted source),
 * pkt.from the remote one, ports included; offender is who sent the error. The same way come errors
 * of our own about frames that could not be sent (no answer from the next hop).
 */
struct icmp_error {
	u8 family; /* of the error: FAMILY_INET or FAMILY_INET6 */
	u8 type;
	u8 code;
	u8 proto;
	u32 info;   /* next-hop MTU or parameter pointer */
	int error;  /* positive errno as Linux maps it (icmp_err_convert) */
	bool fatal; /* Linux's hard errors: fatal to a connected datagram socket, and to a
		       connection in SYN-SENT */
	struct addr offender;
};
void tcp_icmp_error(struct stack *s, struct pkt *quoted, const struct icmp_error *e);
void udp_icmp_error(struct stack *s, struct pkt *quoted, const struct icmp_error *e);

/* Reports to its socket that a frame, which begins at its IP header, could not be sent; does not
 * consume it. */
void icmp_report_unsent(struct stack *s, struct frame *f, u8 type, u8 code);

/* Sends an ICMP error about a received packet, whose IP header is at pkt.l3, within the rate
 * limits; does not consume it. */
void icmp_send_error(struct stack *s, struct pkt *about, u8 type, u8 code, u32 info);

#endif
