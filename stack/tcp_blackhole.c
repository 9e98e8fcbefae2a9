/*
 * Paths that swallow what Fast Open sends (RFC 7413 4.1.3, Linux's
 * tcp_fastopen_blackhole_timeout_sec).
 *
 * Some firewalls let such a SYN pass, and drop what follows it. Signs of that on a connection whose
 * SYN had the option: the third timeout in a row, or giving up before it; and, before any text has
 * come, a RST or a FIN that is not in order, as what was in front of it is missing. Fast Open is
 * then asked for by nobody for the tunable's seconds, twice as long each time, 64 times at most,
 * until such a connection has brought text. 0, the default, switches all this off. A loopback path
 * proves nothing.
 */
#include "stack/tcp_conn.h"

#define DOUBLINGS_MAX 6u

static void blackhole_found(struct stack *s)
{
	if (!s->tunables.tcp_fastopen_blackhole_timeout_s)
		return;
	s->tfo_paused_ns = s->now_ns;
	s->tfo_pauses++;
	counter_inc(s, counter_tcp_fastopen_blackhole);
}

bool tcp_blackhole_paused(const struct stack *s, struct tcp *t)
{
	u64 pause_ns = s->tunables.tcp_fastopen_blackhole_timeout_s * NS_PER_S;

	if (!pause_ns || !s->tfo_pauses)
		return false;
	if (s->now_ns - s->tfo_paused_ns < pause_ns << MIN(s->tfo_pauses - 1, DOUBLINGS_MAX))
		return true;
	t->tfo_trial = true;
	return false;
}

void tcp_blackhole_timeout(struct stack *s, const struct tcp *t, bool last)
{
	if (t->tfo_used && (t->retries == 2 || (t->retries < 2 && last)))
		blackhole_found(s);
}

void tcp_blackhole_reset(struct stack *s, const struct tcp *t)
{
	if (t->tfo_used && !t->totals.data_segs_in && t->state == TCP_ESTABLISHED)
		blackhole_found(s);
}

void tcp_blackhole_end(struct stack *s, const struct sock *sk, const struct tcp *t)
{
	struct path path;

	if (!t->tfo_used)
		return;
	if (!t->totals.data_segs_in) {
		if (t->flags & TCPF_FIN_SEEN && !(t->flags & TCPF_RCV_FIN))
			blackhole_found(s);
	} else if (t->tfo_trial &&
		   ip_route(s, &sk->conn.remote.addr, sk->conn.ifindex, &path) == 0 &&
		   !path.local) {
		s->tfo_pauses = 0;
	}
}
