/*
 * What sockets hold of the region, and the host's limits on it (tcp_mem, udp_mem): private to the
 * socket layer and the transports.
 */
#ifndef STACK_SOCK_MEMORY_H
#define STACK_SOCK_MEMORY_H

#include "stack/sock_proto.h"

#define SOCK_MEMORY_PAGE 4096u /* what tcp_mem and udp_mem count in */

/* Linux's SOCK_MIN_SNDBUF and SOCK_MIN_RCVBUF on 64-bit machines. */
#define SOCK_SNDBUF_MIN 4608u
#define SOCK_RCVBUF_MIN 2304u

/* The thresholds of tunables that leave them to the host, by the size of its region. */
void sock_memory_init(struct stack *s);

/* A socket of TCP has so many bytes more or fewer; charged is its rx_charged or tx_charged. */
void sock_memory_take(struct stack *s, u32 *charged, u32 bytes);
void sock_memory_give(struct stack *s, u32 *charged, u32 bytes);

/* TCP is short of memory since the last time that it was above tcp_mem's second threshold. */
static inline bool sock_memory_pressure(const struct stack *s)
{
	return s->tcp_pressure_ns != 0;
}

/* No buffer may grow. */
static inline bool sock_memory_fixed(const struct stack *s)
{
	return sock_memory_pressure(s) ||
	       s->tcp_memory / SOCK_MEMORY_PAGE >= s->tunables.tcp_mem[0];
}

/* Nothing is left of what TCP may have. */
static inline bool sock_memory_spent(const struct stack *s)
{
	return s->tcp_memory / SOCK_MEMORY_PAGE > s->tunables.tcp_mem[2];
}

/*
 * May a socket of TCP that has `held` bytes in this direction, of which `least` are everybody's
 * due, have so many more? (Linux's __sk_mem_raise_allocated)
 */
bool sock_memory_allows(
	const struct stack *s, const struct sock *sk, u32 bytes, u32 held, u32 least);

/* The socket holds less than its equal share of the third threshold. */
bool sock_memory_is_small(const struct stack *s, const struct sock *sk);

bool sock_memory_udp_allows(const struct stack *s, const struct sock *sk, u32 bytes);

/* A packet waits for the program, or no more: the host has what it occupies, the socket `charge`. */
void sock_memory_queued(struct stack *s, struct sock *sk, const struct pkt *p, u32 charge);
void sock_memory_taken(struct stack *s, struct sock *sk, const struct pkt *p, u32 charge);

/* Gives a queue of them up. Of a socket that lives on only TCP's charge follows. */
void sock_memory_purge(struct stack *s, struct sock *sk, struct pktq *q);

/* What all sockets hold, by the sockets themselves: for repair.c, and for tests. */
void sock_memory_count(struct stack *s, u64 *tcp, u64 *udp);

#endif
