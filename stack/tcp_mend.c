/*
 * A connection that a death may have cut in the middle of a step, brought to where its steps begin.
 *
 * What decides is written in an order that tells how far a step had come. A byte has been received
 * once rcv_nxt has passed it, and is acknowledged after that; it has been read once copied_seq has,
 * and is taken off the queue after that; it has been sent by the program once snd_end has, and is
 * acknowledged once snd_una has. So the queues are cut to these numbers. Everything that only makes
 * a connection fast or small is forgotten where it does not agree: what came out of order (RFC 2018
 * 8 allows it; the peer sends it again), the peer's SACKs, and what was known of losses.
 *
 * The packet in front may have been shortened before its number said so: the packets' ends tell.
 */
#include "stack/tcp_queue.h"

/* Numbers in front of a chain that ends at `end`: its first packet's. False: there is a hole. */
static bool mend_numbers(struct stack *s, ref head, u32 end)
{
	struct pkt *first = pkt_get(s, head), *next = first ? pkt_get(s, first->next) : NULL;
	u32 behind = next ? next->seq : end;

	if (first && seq_lt(first->seq + pkt_len(first), behind))
		first->seq = behind - pkt_len(first);
	for (struct pkt *p = first; p; p = next) {
		next = pkt_get(s, p->next);
		if (next && p->seq + pkt_len(p) != next->seq)
			return false;
	}
	return true;
}

/* Takes what lies at or behind `end` off a chain. */
static void mend_cut(struct stack *s, ref *head, ref *tail, u32 end)
{
	ref at = *head;
	struct pkt *kept = NULL, *p;

	while ((p = pkt_get(s, at)) && seq_lt(p->seq, end)) {
		kept = p;
		at = p->next;
	}
	if (kept) {
		kept->next = 0;
		pkt_trim(kept, MIN(pkt_len(kept), end - kept->seq));
	}
	*tail = kept ? kept->slab.self : 0;
	if (!kept)
		*head = 0;
	while ((p = pkt_get(s, at))) {
		ref next = p->next;

		p->next = 0;
		p->mark = 0;
		pkt_release(s, at);
		at = next;
	}
}

/* In-order bytes: from copied_seq to rcv_nxt. */
static bool mend_received(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct pktq *q = &sk->rxq;
	u32 end = t->rcv_nxt - (t->flags & TCPF_RCV_FIN ? 1 : 0);
	struct pkt *p;

	if (!mend_numbers(s, q->head, end))
		return false;
	mend_cut(s, &q->head, &q->tail, end);
	while ((p = pkt_get(s, q->head)) && seq_leq(p->seq + pkt_len(p), t->copied_seq))
		pkt_release(s, pktq_pop(s, q));
	if (p && seq_lt(p->seq, t->copied_seq)) {
		u32 read = t->copied_seq - p->seq;

		pkt_pull(p, read);
		p->seq += read;
	}
	q->bytes = q->count = 0;
	for (p = pkt_get(s, q->head); p; p = pkt_get(s, p->next)) {
		q->bytes += pkt_len(p);
		q->count++;
	}
	p = pkt_get(s, q->head);
	return p ? p->seq == t->copied_seq && p->seq + q->bytes == end : t->copied_seq == end;
}

static u32 mend_charge(struct stack *s, ref head)
{
	u32 charged = 0;

	for (struct pkt *p = pkt_get(s, head); p; p = pkt_get(s, p->next))
		charged += pkt_truesize(p);
	return charged;
}

/* What came out of order, if it is whole; else nothing. */
static void mend_out_of_order(struct stack *s, struct sock *sk, struct tcp *t)
{
	struct tcp_ranges *r = tcp_ooo(s, t);
	u32 bytes = 0, charged = 0;
	bool whole = !r || tcp_ranges_valid(r);

	for (u32 i = 0; whole && r && i < r->count; i++) {
		u32 seq = r->range[i].start;
		ref last = 0;

		for (struct pkt *p = pkt_get(s, r->range[i].first); p && seq == p->seq;
			p = pkt_get(s, p->next)) {
			seq += pkt_len(p);
			last = p->slab.self;
			charged += pkt_truesize(p);
		}
		bytes += seq - r->range[i].start;
		whole = seq == r->range[i].end && last == r->range[i].last && last &&
			!pkt_get(s, last)->next;
	}
	if (r && r->count && seq_leq(r->range[0].start, t->rcv_nxt))
		whole = false;
	if (!whole) {
		tcp_ooo_purge(s, sk, t);
		charged = bytes = 0;
	}
	t->ooo_bytes = bytes;
	sk->rx_charged = charged + mend_charge(s, sk->rxq.head) + mend_charge(s, sk->errq.head);
}

/* Queued bytes: from snd_una to snd_end. `held` is charged for what plans hold. */
static bool mend_sent(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 queued = mend_charge(s, t->snd_head),
	    held = sk->tx_charged - MIN(sk->tx_charged, queued), first;
	struct pkt *p;

	if (!mend_numbers(s, t->snd_head, t->snd_end))
		return false;
	mend_cut(s, &t->snd_head, &t->snd_tail, t->snd_end);
	t->snd_cursor = 0;
	for (p = pkt_get(s, t->snd_head); p; p = pkt_get(s, p->next))
		p->mark = 1;
	sk->tx_charged = held + mend_charge(s, t->snd_head);
	tcp_queue_acked(s, sk, t);
	p = pkt_get(s, t->snd_head);
	first = tcp_synchronized(t) ? t->snd_una : t->iss + 1; /* behind our SYN */
	return p ? seq_leq(p->seq, first) : seq_geq(first, t->snd_end);
}

static void mend_recovery(struct stack *s, struct sock *sk, struct tcp *t)
{
	const struct tcp_sent *r = tcp_record(s, t);

	t->cwr = false;
	t->mtup.probe = 0;
	if (!t->mss)
		tcp_mss_update(s, sk, t);
	if (!t->cwnd)
		t->cwnd = tcp_cc_initial_window(t->mss);
	if (!tcp_synchronized(t) ||
		(r ? tcp_sent_valid(r, t->snd_una, t->snd_nxt) : !tcp_flight(t)))
		return;
	tcp_record_clear(s, t);
	if (!tcp_flight(t) || !tcp_record_make(s, t))
		return;
	tcp_record_sent(s, t, t->snd_una, t->snd_nxt);
	tcp_recovery_resend(s, t);
}

/* The handshake that we began: as before the peer's SYN. */
static void mend_syn_sent(struct stack *s, const struct sock *sk, struct tcp *t)
{
	u8 wscale;

	t->snd_una = t->iss;
	t->snd_nxt = t->iss + 1;
	tcp_window_init(s, sk, t->adv_mss, &t->rcv_wnd_end, &wscale);
	t->rcv_nxt = t->rcv_acked = t->copied_seq = 0;
	t->rtx_mode = TCP_RTX_RTO;
	if (t->rtx_at == NEVER)
		t->rtx_at = s->now_ns;
}

/* A listener's connection before its last step: the peer is asked for its ACK again. */
static void mend_syn_received(struct stack *s, struct tcp *t)
{
	if (t->rtx_at != NEVER)
		return;
	t->snd_una = t->iss;
	t->rtx_mode = TCP_RTX_RTO;
	t->rtx_at = s->now_ns;
}

bool tcp_mend(struct stack *s, struct sock *sk, struct tcp *t)
{
	ref self = sk->conn.slab.self;

	if (t->state == TCP_SYN_SENT) {
		mend_syn_sent(s, sk, t);
		return mend_sent(s, sk, t);
	}
	/* The peer's FIN is taken whole or not yet. */
	if (t->flags & TCPF_RCV_FIN &&
		(t->rcv_nxt == t->fin_seq || t->state == TCP_ESTABLISHED ||
			t->state == TCP_FIN_WAIT_1 || t->state == TCP_FIN_WAIT_2)) {
		t->flags &= ~(u32)TCPF_RCV_FIN;
		t->rcv_nxt = t->fin_seq;
	}
	/* The state comes before the FIN that it speaks of. */
	if (t->state == TCP_FIN_WAIT_1 || t->state == TCP_CLOSING || t->state == TCP_LAST_ACK)
		t->flags |= TCPF_FIN;
	if (!mend_received(s, sk, t))
		return false;
	mend_out_of_order(s, sk, t);
	if (!mend_sent(s, sk, t))
		return false;
	mend_recovery(s, sk, t);
	if (seq_gt(t->rcv_acked, t->rcv_nxt))
		t->rcv_acked = t->rcv_nxt;
	if (t->state == TCP_SYN_RECEIVED)
		mend_syn_received(s, t);
	else if (sk->state == SOCK_CONNECTING)
		sk->state = SOCK_CONNECTED;
	if (tcp_synchronized(t) && t->snd_una == t->snd_nxt && !tcp_advance_close(s, sk, t))
		return true;
	if (sock_get(s, self) && tcp_synchronized(t) && t->flags & TCPF_FIN_SEEN)
		tcp_take_fin(s, sk, t);
	return true;
}
