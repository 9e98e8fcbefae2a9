/*
 * Explicit congestion notification: a connection's state (in struct tcp), and the code points of the
 * IP header.
 */
#ifndef STACK_TCP_ECN_H
#define STACK_TCP_ECN_H

#include "stack/types.h"

/* The two low bits of the type of service (RFC 3168 5). */
enum ip_ecn { ECN_NOT_ECT, ECN_ECT1, ECN_ECT0, ECN_CE, ECN_BITS = 3 };

enum tcp_ecn_mode {
	TCP_ECN_OFF,
	TCP_ECN_CLASSIC,  /* RFC 3168 */
	TCP_ECN_ACCURATE, /* RFC 9768 */
};

enum tcp_ecn_flag {
	TCP_ECN_ASKED = 1,    /* our SYN has asked for it */
	TCP_ECN_ECHO = 2,     /* CE has come: ECE on everything until the peer's CWR */
	TCP_ECN_SEND_CWR = 4, /* the window was reduced: CWR on the next new data */
	TCP_ECN_SEEN = 8,     /* the peer has sent ECT or CE */
	TCP_ECN_ASKED_ACCURATE = 16,
	TCP_ECN_REFLECT = 32, /* the next ACK tells how the peer's SYN-ACK came */
	TCP_ECN_CHECKED = 64, /* the first count of the peer has been looked at */
	TCP_ECN_MANGLED = 128, /* the path changes the bits: nothing of ours is ECN-capable */
};

struct tcp_ecn {
	u8 mode;  /* enum tcp_ecn_mode */
	u8 flags; /* enum tcp_ecn_flag */
	u8 syn;	  /* enum ip_ecn with which the peer's SYN or SYN-ACK came */
	u8 last;  /* ... and its last text */
	u32 received_ce; /* RFC 9768: segments that have come with CE, */
	u32 reported_ce; /* and what the last segment that we sent told of it */
	u32 delivered_ce; /* segments that the peer has told to have come with CE */
};

#endif
