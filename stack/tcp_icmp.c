/*
 * ICMP errors about our segments. The quoted sequence number must lie in what is in flight (RFC
 * 5927 4), or the error is forged or late. A smaller path MTU is learnt and the segment sent again;
 * any other error is soft on a synchronized connection, whatever its code (MUST-56, RFC 5927 5.2),
 * and ends one that is still in SYN-SENT if it is a hard one.
 */
#include "stack/bytes.h"
#include "stack/tcp_conn.h"

enum { ICMP4_UNREACHABLE = 3, ICMP4_FRAG_NEEDED = 4 };

static void tcp_icmp_mtu(struct stack *s, struct sock *sk, struct tcp *t, u32 mtu)
{
	u16 before = t->mss;

	if (sk->mtu_discover == LX_IP_PMTUDISC_DONT || sk->mtu_discover >= LX_IP_PMTUDISC_INTERFACE)
		return;
	ip_pmtu_learn(s, &sk->conn.remote.addr, mtu);
	if (!tcp_synchronized(t))
		return;
	tcp_mss_update(s, sk, t);
	if (tcp_mtup_too_big(s, t, mtu)) {
		tcp_output(s, sk, t);
		return;
	}
	if (t->mss >= before)
		return;
	counter_inc(s, counter_tcp_pmtu);
	/* What is in flight was too large: again, smaller, and that is no sign of congestion (RFC
	 * 1191 6.4). */
	tcp_recovery_resend(s, t);
	tcp_output(s, sk, t);
}

/*
 * A hard error ends a connect, but a parameter problem is a hint as well (MUST-56). An error of our
 * own says that the next hop does not answer: as on Linux the connect need not wait for its SYNs to
 * run out.
 */
static bool tcp_icmp_ends_opening(const struct stack *s, const struct icmp_error *e)
{
	if (netif_is_local(s, &e->offender))
		return true;
	return e->fatal && !(e->family == FAMILY_INET && e->type != ICMP4_UNREACHABLE);
}

static void tcp_icmp_sock(
	struct stack *s, struct sock *sk, struct tcp *t, u32 seq, const struct icmp_error *e)
{
	if (t->state == TCP_CLOSED || t->state == TCP_LISTEN)
		return;
	if (seq - t->snd_una >= MAX(tcp_flight(t), 1u)) { /* MUST-54 */
		counter_inc(s, counter_tcp_icmp_window);
		return;
	}
	if (e->family == FAMILY_INET && e->type == ICMP4_UNREACHABLE &&
		e->code == ICMP4_FRAG_NEEDED) {
		tcp_icmp_mtu(s, sk, t, e->info);
		return;
	}
	sk->soft_error = e->error; /* MUST-47, SHLD-25 */
	if (t->state == TCP_SYN_SENT && tcp_icmp_ends_opening(s, e))
		tcp_done(s, sk, t, e->error);
}

void tcp_icmp_error(struct stack *s, struct pkt *quoted, const struct icmp_error *e)
{
	const u8 *h = pkt_peek(quoted, 0, 8);
	struct endpoint local = quoted->to, remote = quoted->from;
	struct sock *sk;
	struct tcp *t;
	ref r;

	if (!h)
		return;
	local.port = get16(h);
	remote.port = get16(h + 2);
	r = conn_lookup(s, PROTO_TCP, &local, &remote);
	sk = sock_get(s, r);
	t = sk ? tcp_of(s, sk) : NULL;
	if (t)
		tcp_icmp_sock(s, sk, t, get32(h + 4), e);
	else if (!slab_get(s, SLAB_TCP_REQUEST, r) && !slab_get(s, SLAB_TCP_TIMEWAIT, r))
		counter_inc(s, counter_icmp_quote);
}
