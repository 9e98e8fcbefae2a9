/* The invariants of a connection, for tests: what must hold between any two entries of the engine.
 */
#include "stack/tcp_conn.h"

static const char *tcp_check_send(struct stack *s, const struct sock *sk, const struct tcp *t)
{
	u32 seq = 0, charged = 0;
	ref last = 0;
	bool first = true;

	if (seq_gt(t->snd_una, t->snd_nxt))
		return "snd_una beyond snd_nxt";
	if (seq_gt(t->snd_nxt, t->snd_end + (t->flags & TCPF_FIN_SENT ? 1 : 0)))
		return "snd_nxt beyond what is queued";
	for (ref at = t->snd_head; at;) {
		const struct pkt *p = pkt_get(s, at);

		if (!p)
			return "send queue broken";
		if (!first && p->seq != seq)
			return "hole in the send queue";
		if (first && pkt_len(p) &&
			seq_gt(p->seq, tcp_synchronized(t) ? t->snd_una : t->iss + 1))
			return "send queue begins behind snd_una";
		first = false;
		seq = p->seq + pkt_len(p);
		charged += pkt_truesize(p);
		last = at;
		at = p->next;
	}
	if (last != t->snd_tail)
		return "tail of the send queue";
	if (!first && seq != t->snd_end)
		return "send queue does not end at snd_end";
	if (charged > sk->tx_charged)
		return "send queue not charged";
	return NULL;
}

static const char *tcp_check_ooo(struct stack *s, const struct tcp *t, u32 *charged)
{
	const struct tcp_ranges *r = tcp_ooo(s, t);
	u32 bytes = 0;

	for (u32 i = 0; r && i < r->count; i++) {
		u32 seq = r->range[i].start;
		ref last = 0;

		for (ref at = r->range[i].first; at;) {
			const struct pkt *p = pkt_get(s, at);

			if (!p || p->seq != seq)
				return "out-of-order chain broken";
			seq += pkt_len(p);
			*charged += pkt_truesize(p);
			last = at;
			at = p->next;
		}
		if (last != r->range[i].last || seq != r->range[i].end)
			return "out-of-order range does not match its packets";
		bytes += r->range[i].end - r->range[i].start;
	}
	if (r && !tcp_ranges_valid(r))
		return "out-of-order ranges";
	if (r && r->count && seq_leq(r->range[0].start, t->rcv_nxt))
		return "out-of-order range at rcv_nxt";
	return bytes == t->ooo_bytes ? NULL : "ooo_bytes";
}

static const char *tcp_check_receive(struct stack *s, const struct sock *sk, const struct tcp *t)
{
	u32 bytes = 0, charged = 0;
	const char *why;

	for (const struct pkt *p = pkt_get(s, sk->errq.head); p; p = pkt_get(s, p->next))
		charged += pkt_truesize(p);
	for (const struct pkt *p = pkt_get(s, sk->rxq.head); p; p = pkt_get(s, p->next)) {
		bytes += pkt_len(p);
		charged += pkt_truesize(p);
	}
	if (bytes != tcp_available(sk, t) || bytes != sk->rxq.bytes)
		return "receive queue does not match copied_seq and rcv_nxt";
	why = tcp_check_ooo(s, t, &charged);
	if (why)
		return why;
	if (charged != sk->rx_charged)
		return "receive queue not charged right";
	if (seq_gt(t->rcv_acked, t->rcv_nxt))
		return "rcv_acked beyond rcv_nxt";
	return NULL;
}

static const char *tcp_check_recovery(struct stack *s, const struct tcp *t)
{
	const struct tcp_sent *r = tcp_record(s, t);

	if (tcp_synchronized(t) && tcp_flight(t) && !r)
		return "data in flight without a record";
	if (r && !tcp_sent_valid(r, tcp_synchronized(t) ? t->snd_una : t->iss + 1, t->snd_nxt))
		return "record of what is in flight";
	if (tcp_synchronized(t) && (t->cwnd == 0 || t->mss == 0))
		return "cwnd or mss is 0";
	return NULL;
}

static const char *tcp_check_timers(const struct sock *sk, const struct tcp *t)
{
	u64 at = MIN(MIN(t->rtx_at, t->delack_at), MIN(t->keep_at, t->resume_at));

	at = MIN(at, MIN(t->reo_at, t->tlp_at));

	if (tcp_synchronized(t) && tcp_flight(t) && t->rtx_at == NEVER && t->resume_at == NEVER)
		return "data in flight without a timer";
	if (at < sk->timer.deadline_ns)
		return "deadline earlier than the wheel's entry";
	if (t->flags & TCPF_ACK_NOW)
		return "an ACK that was due has not been sent";
	return NULL;
}

const char *tcp_check(struct stack *s, struct sock *sk)
{
	const struct tcp *t = tcp_of(s, sk);
	const char *why;

	if (!t || t->state == TCP_LISTEN)
		return NULL;
	why = tcp_check_send(s, sk, t);
	if (!why && t->state != TCP_SYN_SENT)
		why = tcp_check_receive(s, sk, t);
	if (!why)
		why = tcp_check_recovery(s, t);
	if (!why)
		why = tcp_check_timers(sk, t);
	if (why)
		counter_inc(s, counter_invariant);
	return why;
}
