/*
 * What a connection leaves behind for the next one to the same address (RFC 9040 2): round-trip
 * time and its variance, the slow start threshold, the window, whether the path reorders, and the
 * cookie of TCP Fast Open.
 *
 * The entries lie in a four-way table by keyed hash of the address; the one used least recently
 * gives way, so that memory is bounded whoever connects. Connections that close in order are
 * remembered, unless tcp_no_metrics_save is set; the threshold only without
 * tcp_no_ssthresh_metrics_save, whose default is that of Linux: not. A new connection takes the
 * round-trip time for its timeout alone, and only if that becomes longer, as Linux: a path that has
 * become faster is measured soon enough.
 */
#include "stack/tcp_conn.h"

#define METRIC_WAYS 4u

static struct tcp_metric *metric_set(struct stack *s, const struct addr *dst)
{
	u64 hash = siphash(&s->hash_key, dst, sizeof(*dst));

	return &s->metric[(hash & (STACK_METRICS / METRIC_WAYS - 1)) * METRIC_WAYS];
}

struct tcp_metric *tcp_metric_find(struct stack *s, const struct addr *dst)
{
	struct tcp_metric *set = metric_set(s, dst);

	for (u32 i = 0; i < METRIC_WAYS; i++) {
		if (set[i].dst.family != FAMILY_NONE && addr_equal(&set[i].dst, dst))
			return &set[i];
	}
	return NULL;
}

struct tcp_metric *tcp_metric_make(struct stack *s, const struct addr *dst)
{
	struct tcp_metric *m = tcp_metric_find(s, dst), *set = metric_set(s, dst);

	if (!m) {
		m = &set[0];
		for (u32 i = 1; i < METRIC_WAYS; i++) {
			if (set[i].used_ns < m->used_ns)
				m = &set[i];
		}
		*m = (struct tcp_metric){.dst = *dst};
	}
	m->used_ns = MAX(s->now_ns, 1);
	return m;
}

bool tcp_metric_proven(struct stack *s, const struct addr *dst)
{
	const struct tcp_metric *m = tcp_metric_find(s, dst);

	return m && m->rtt_us;
}

/* Linux's tcp_update_metrics: a smaller time at once, a larger one by an eighth. */
static void metric_rtt(struct tcp_metric *m, const struct tcp_rtt *r)
{
	u32 rtt = (u32)MIN(r->srtt_ns / NS_PER_US, UINT32_MAX);
	u32 var = (u32)MIN(r->rttvar_ns / NS_PER_US, UINT32_MAX), off;

	rtt = MAX(rtt, 1u);
	off = (m->rtt_us > rtt ? m->rtt_us - rtt : rtt - m->rtt_us) / 2;
	off = MAX(off, var);
	if (m->rtt_us == 0)
		m->rttvar_us = var;
	else if (off >= m->rttvar_us)
		m->rttvar_us = off;
	else
		m->rttvar_us -= (m->rttvar_us - off) / 4;
	if (m->rtt_us <= rtt)
		m->rtt_us = rtt;
	else
		m->rtt_us -= (m->rtt_us - rtt) / 8;
}

void tcp_metrics_save(struct stack *s, const struct sock *sk, const struct tcp *t)
{
	struct tcp_metric *m;

	if (s->tunables.tcp_no_metrics_save)
		return;
	m = tcp_metric_make(s, &sk->conn.remote.addr);
	if (t->backoff || !t->rtt.srtt_ns) { /* nothing came back in time: begin anew */
		m->rtt_us = 0;
		return;
	}
	metric_rtt(m, &t->rtt);
	m->cwnd = t->cwnd / MAX(t->mss, 1u);
	m->reordering = t->reordering;
	m->ssthresh = 0;
	if (!s->tunables.tcp_no_ssthresh_metrics_save && t->ssthresh != UINT32_MAX)
		m->ssthresh = MAX(t->ssthresh / MAX(t->mss, 1u), 2u);
}

void tcp_metrics_load(struct stack *s, const struct sock *sk, struct tcp *t)
{
	struct tcp_metric *m = tcp_metric_find(s, &sk->conn.remote.addr);
	u64 rtt_ns;

	if (!m || s->tunables.tcp_no_metrics_save)
		return;
	m->used_ns = MAX(s->now_ns, 1);
	if (m->ssthresh)
		t->ssthresh = m->ssthresh * t->mss;
	if (m->reordering)
		t->reordering = true;
	rtt_ns = m->rtt_us * NS_PER_US;
	if (rtt_ns > t->rtt.srtt_ns)
		t->rtt.rto_ns = MIN(rtt_ns + MAX(2 * rtt_ns, TCP_RTO_MIN_NS), TCP_RTO_MAX_NS);
}
