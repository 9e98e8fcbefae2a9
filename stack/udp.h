/* Private to udp*.c, which serve UDP-Lite too: conn.proto tells. */
#ifndef STACK_UDP_H
#define STACK_UDP_H

#include "stack/sock_memory.h"

enum {
	UDP_HEADER = 8,
	UDP_PAYLOAD_MAX = 65507, /* what an IPv4 packet without options carries */
	UDP_SEGMENTS_MAX = 128,	 /* UDP_MAX_SEGMENTS */
};

/*
 * What a queued datagram costs its socket: the memory it occupies, but for small ones what Linux
 * charges, so that as many fit into SO_RCVBUF as programs are used to (277 into the default).
 */
static inline u32 udp_charge(const struct pkt *p)
{
	return pkt_len(p) <= 128 ? MIN(768u, pkt_truesize(p)) : pkt_truesize(p);
}

/* udp_out.c */
s64 udp_send_reserve(struct stack *s, struct sock *sk, struct plan *plan, u64 len);
s64 udp_send_commit(struct stack *s, struct sock *sk, struct plan *plan, u32 copied);

/* Sends what UDP_CORK or MSG_MORE has gathered; 0 when there is nothing. */
int udp_push(struct stack *s, struct sock *sk);

#endif
