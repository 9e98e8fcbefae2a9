/*
 * Splicing, as members see it: the switch, and whom it concerns.
 *
 * The flag is set under the lock, so every operation of the engine stands before or behind the
 * switch. Who sleeps on the socket is woken and goes on in the kernel; a member that is between the
 * two steps of a receive keeps its turn, and the keeper waits for it, so no byte is lost, doubled
 * or overtaken. What changes on a spliced socket goes to the keeper by a ring of sockets in the
 * region (splice_due), with the keeper's bell.
 */
#include "preload/splice.h"

#include "preload/region.h"

void splice_due(struct stack *s, struct sock *sk)
{
	struct host *host = host_local.host;

	(void)s;
	if (sk->flags & SOCK_PUMP_DUE)
		return;
	if (host->due_count < ARRAY_LEN(host->due))
		host->due[host->due_count++] = sk->conn.slab.self;
	else
		host->due_all = 1;
	sk->flags |= SOCK_PUMP_DUE;
}

void splice_repair(void)
{
	host_local.host->due_all = 1;
}

void splice_set(struct stack *s, struct sock *sk)
{
	if (sk->flags & SOCK_SPLICED)
		return;
	__atomic_store_n(&sk->flags, sk->flags | SOCK_SPLICED, __ATOMIC_RELEASE);
	/* The pump takes bytes as they come; who reads decides in the kernel how many to wait for.
	 */
	sk->rcvlowat = 1;
	splice_due(s, sk);
	/* Everybody who waits for anything looks again. */
	sock_raise(s, sk, EV_IN | EV_OUT | EV_ERR | EV_HUP);
}
