/*
 * TCP_INFO: how a connection fares, in the layout of Linux's struct tcp_info.
 *
 * Linux counts in packets what is kept in bytes here: a run of the record of what is in flight is
 * as many packets as full segments it makes, rounded up, as segments sent one by one are runs of
 * their own. What Linux never sets any more (tcpi_fackets, tcpi_last_ack_sent) or cannot happen
 * here (tcpi_rehash: no path is chosen by a hash) is 0.
 */
#include "stack/tcp_info.h"

#include <string.h>

#include "stack/tcp_conn.h"

enum {
	INFO_TIMESTAMPS = 1,
	INFO_SACK = 2,
	INFO_WSCALE = 4,
	INFO_ECN = 8,
	INFO_ECN_SEEN = 16,
	INFO_SYN_DATA = 32,
};
enum { CA_OPEN, CA_DISORDER, CA_CWR, CA_RECOVERY, CA_LOSS };

#define RTTVAR_INITIAL_US 250000 /* a quarter of the first timeout */

static u32 info_us(u64 ns)
{
	return (u32)MIN(ns / NS_PER_US, UINT32_MAX);
}

/* What never happened counts from the beginning. */
static u32 info_ms_since(const struct stack *s, const struct tcp *t, u64 then_ns)
{
	u64 since = then_ns ? then_ns : t->established_ns;

	return since ? (u32)MIN((s->now_ns - MIN(since, s->now_ns)) / NS_PER_MS, UINT32_MAX) : 0;
}

static void info_path(
	struct stack *s, const struct sock *sk, const struct tcp *t, struct tcp_info_out *i)
{
	struct path path;
	u32 space = tcp_share(t, sk->rcvbuf);

	i->pmtu = ip_route(s, &sk->conn.remote.addr, sk->conn.ifindex, &path) == 0 ? path.mtu : 0;
	i->snd_mss = t->mss;
	i->rcv_mss = t->rcv_mss;
	i->advmss = t->established_ns && t->flags & TCPF_TIMESTAMP ? t->adv_mss - TCP_TIMESTAMP_LEN
								   : t->adv_mss;
	i->rto = info_us(tcp_rtt_timeout(&t->rtt, t->backoff));
	i->ato = t->text_ns ? info_us(tcp_delack_ns(t)) : 0;
	i->rtt = info_us(t->rtt.srtt_ns);
	i->rttvar = t->rtt.srtt_ns ? info_us(t->rtt.rttvar_ns) : RTTVAR_INITIAL_US;
	i->min_rtt = t->rtt.min_ns == NEVER ? UINT32_MAX : info_us(t->rtt.min_ns);
	i->rcv_rtt = info_us(t->rcv_rtt_ns);
	i->rcv_space = t->drs_space;
	i->rcv_ssthresh = t->window_clamp ? MIN(space, t->window_clamp) : space;
}

static void info_count(struct stack *s, const struct tcp *t, struct tcp_info_out *i)
{
	struct tcp_sent *r = tcp_record(s, t);
	u32 mss = MAX(t->mss, 1u);

	for (u32 k = 0; r && k < r->count; k++) {
		const struct tcp_sent_run *run = tcp_sent_at(r, k);
		u32 packets = tcp_segment_count(run->end - run->start, mss);

		i->unacked += packets;
		i->sacked += run->flags & SENT_SACKED ? packets : 0;
		i->lost += run->flags & SENT_LOST ? packets : 0;
		i->retrans += run->flags & SENT_AGAIN ? packets : 0;
	}
	if (!(t->flags & TCPF_SACK)) /* duplicate ACKs stand for them */
		i->sacked = t->dupacks / mss;
	if (t->state == TCP_SYN_SENT || t->state == TCP_SYN_RECEIVED)
		i->unacked = 1;
}

static u8 info_ca_state(const struct tcp *t, const struct tcp_info_out *i)
{
	if (t->recovery == TCP_LOSS)
		return CA_LOSS;
	if (t->recovery == TCP_RECOVERY)
		return CA_RECOVERY;
	if (t->cwr)
		return CA_CWR;
	return i->sacked || i->lost ? CA_DISORDER : CA_OPEN;
}

static void info_flight(struct stack *s, const struct tcp *t, struct tcp_info_out *i)
{
	info_count(s, t, i);
	i->ca_state = info_ca_state(t, i);
	i->snd_ssthresh = t->ssthresh == UINT32_MAX ? 0x7fffffff : t->ssthresh / MAX(t->mss, 1u);
	i->notsent_bytes = t->snd_end - seq_min(t->snd_nxt, t->snd_end);
	i->snd_wnd = t->snd_wnd;
	i->rcv_wnd = tcp_rcv_window(t);
}

static void info_totals(const struct stack *s, const struct tcp *t, struct tcp_info_out *i)
{
	const struct tcp_totals *n = &t->totals;
	struct tcp_rates rates = tcp_rates_now(s, t);

	i->total_retrans = n->retransmits;
	i->bytes_acked = n->bytes_acked;
	i->bytes_received = n->bytes_received;
	i->segs_out = n->segs_out;
	i->segs_in = n->segs_in;
	i->data_segs_in = n->data_segs_in;
	i->data_segs_out = n->data_segs_out;
	i->delivered = n->delivered;
	i->delivered_ce = t->ecn.delivered_ce;
	i->bytes_sent = n->bytes_sent;
	i->bytes_retrans = n->bytes_retrans;
	i->dsack_dups = n->dsack_dups;
	i->reord_seen = n->reord_seen;
	i->rcv_ooopack = n->rcv_ooo;
	i->total_rto = n->rto;
	i->total_rto_recoveries = n->rto_recoveries;
	i->total_rto_time = n->rto_time_ms;
	i->delivery_rate = tcp_delivery_rate(t);
	i->app_limited = (u8)(t->rate_limited | t->tfo_fail << 1);
	i->busy_time = rates.busy_ns / NS_PER_US;
	i->rwnd_limited = rates.window_ns / NS_PER_US;
	i->sndbuf_limited = rates.sndbuf_ns / NS_PER_US;
}

void tcp_info_fill(
	struct stack *s, const struct sock *sk, const struct tcp *t, struct tcp_info_out *i)
{
	memset(i, 0, sizeof(*i));
	i->state = t->state;
	i->pacing_rate = t->pacing_rate ? t->pacing_rate : UINT64_MAX;
	i->max_pacing_rate = sk->max_pacing_rate;
	i->reordering = t->dup_thresh;
	i->snd_cwnd = t->cwnd / MAX(t->mss, 1u);
	if (t->state == TCP_LISTEN) {
		i->unacked = t->accept_count;
		i->sacked = t->backlog;
		return;
	}
	i->retransmits = t->retries;
	i->probes = t->probes;
	i->backoff = t->backoff;
	i->options = (u8)((t->flags & TCPF_TIMESTAMP ? INFO_TIMESTAMPS : 0) |
			  (t->flags & TCPF_SACK ? INFO_SACK : 0) |
			  (t->flags & TCPF_WSCALE ? INFO_WSCALE : 0) |
			  (t->ecn.mode != TCP_ECN_OFF ? INFO_ECN : 0) |
			  (t->ecn.flags & TCP_ECN_SEEN ? INFO_ECN_SEEN : 0) |
			  (t->syn_data_acked ? INFO_SYN_DATA : 0));
	i->wscales = (u8)(t->snd_wscale | t->rcv_wscale << 4);
	i->last_data_sent = info_ms_since(s, t, t->data_sent_ns);
	i->last_data_recv = info_ms_since(s, t, t->text_ns);
	i->last_ack_recv = info_ms_since(s, t, t->heard_ns);
	info_path(s, sk, t, i);
	info_flight(s, t, i);
	info_totals(s, t, i);
}
