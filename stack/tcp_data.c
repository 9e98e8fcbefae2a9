/*
 * The program's data: room to copy into, bytes to copy out of.
 *
 * A send takes the free room of the queue's last packet, if no other thread has it, and new packets
 * of the size that suits the amount (bulk data goes into large ones, so that a super-frame has one
 * or two pieces). Every packet is charged with what it occupies from the reservation to its last
 * acknowledgement. Threads may have several sends between their two steps; bytes enter the stream
 * in the order of the commits.
 */
#include <string.h>

#include "stack/tcp_queue.h"

#define BULK_BYTES    65536u
#define PACKETS_SPARE 32u

/* Linux's tcp_sndbuf_expand: twice the window and what it occupies. */
void tcp_sndbuf_grow(struct stack *s, struct sock *sk, struct tcp *t)
{
	u64 want = 2ull * MAX(t->cwnd, tcp_cc_initial_window(t->mss));

	want = MIN(want + want / 2 + BULK_BYTES, s->tunables.tcp_wmem[2]);
	if (!(sk->options & OPT_SNDBUF_LOCKED) && !sock_memory_fixed(s) && want > sk->sndbuf)
		sk->sndbuf = (u32)want;
}

/*
 * Few packets are left to receive into: then nobody may queue more than one, or not even the
 * acknowledgements that would free what is queued could come in. Of the last ones nobody may keep
 * any (pkt_scarce).
 */
bool tcp_memory_tight(const struct stack *s)
{
	return pkt_large_left(s) < PACKETS_SPARE;
}

static int tcp_send_check(struct stack *s, struct sock *sk, struct tcp *t)
{
	int error;

	switch (t->state) {
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		if (!sk->error && !(sk->flags & SOCK_SND_SHUT))
			return 0;
		break;
	case TCP_SYN_SENT:
	case TCP_SYN_RECEIVED:
		/* TCP Fast Open: text for the SYN, and what the early server answers. */
		if (t->tfo == TFO_DEFERRED || t->tfo == TFO_CHILD) {
			if (!sk->error && !(sk->flags & SOCK_SND_SHUT))
				return 0;
			break;
		}
		t->flags |= TCPF_NOSPACE;
		return -EAGAIN;
	default:
		break;
	}
	(void)s;
	error = sk->error ? sk->error : EPIPE;
	sk->error = 0;
	return -error;
}

static bool tcp_send_room(const struct stack *s, const struct sock *sk, const struct tcp *t)
{
	return sk->tx_charged < sk->sndbuf && t->snd_end - t->snd_nxt < tcp_notsent_lowat(s, t);
}

/* Takes the room behind the last byte queued. */
static u32 tcp_reserve_tail(struct stack *s, struct tcp *t, struct plan *plan, u64 len)
{
	struct pkt *tail = pkt_get(s, t->snd_tail);
	u32 n = tail ? (u32)MIN(tail->room - tail->end, len) : 0;

	if (!n || t->flags & TCPF_TAIL_HELD || !sock_plan_add(s, plan, t->snd_tail, tail->end, n))
		return 0;
	t->flags |= TCPF_TAIL_HELD;
	plan->full_len = 1; /* the first span is the tail's */
	return n;
}

bool tcp_send_allows(const struct stack *s, const struct sock *sk)
{
	return !tcp_memory_tight(s) &&
	       sock_memory_allows(s, sk, PKT_LARGE_ROOM, sk->tx_charged, s->tunables.tcp_wmem[0]);
}

/* A new packet for some of len bytes, charged; 0 when there is no room. */
static u32 tcp_reserve_packet(
	struct stack *s, struct sock *sk, struct tcp *t, struct plan *plan, u64 len)
{
	u32 backlog = t->snd_end - t->snd_nxt, most = PKT_LARGE_ROOM - PKT_HEADROOM;
	u32 left = sk->sndbuf > sk->tx_charged ? sk->sndbuf - sk->tx_charged : 0;
	u64 want =
		MIN(MAX(len, MIN(backlog, BULK_BYTES)), MAX(left, PKT_SMALL_ROOM - PKT_HEADROOM));
	struct pkt *p = NULL;
	ref pkt = 0;
	u32 n;

	if (!tcp_send_allows(s, sk) && !(tcp_evict(s, sk) && tcp_send_allows(s, sk))) {
		if (sk->tx_charged)
			return 0;
		want = MIN(want, PKT_SMALL_ROOM - PKT_HEADROOM);
	}

	for (want = MIN(want, most); !pkt && want;
		want = want > PKT_MEDIUM_ROOM - PKT_HEADROOM  ? PKT_MEDIUM_ROOM - PKT_HEADROOM
		       : want > PKT_SMALL_ROOM - PKT_HEADROOM ? PKT_SMALL_ROOM - PKT_HEADROOM
							      : 0) {
		pkt = pkt_alloc(s, (u32)want);
		p = pkt_get(s, pkt);
	}
	if (!p)
		return 0;
	n = (u32)MIN(p->room - p->end, len);
	if (sock_plan_add(s, plan, pkt, p->end, n))
		sock_memory_take(s, &sk->tx_charged, pkt_truesize(p));
	else
		n = 0;
	pkt_release(s, pkt); /* the plan holds it */
	return n;
}

/*
 * The caller is to wait for room: what it has queued goes first, MSG_MORE and TCP_CORK or not
 * (tcp_sendmsg_locked of Linux, wait_for_space).
 */
static int tcp_send_full(struct stack *s, struct sock *sk, struct tcp *t)
{
	t->flags = (t->flags | TCPF_NOSPACE) & ~(u32)TCPF_MORE;
	tcp_output_all(s, sk, t);
	return -EAGAIN;
}

/* No packet is to be had: wait for an acknowledgement that gives some back, if one is to come. */
static int tcp_send_starved(struct stack *s, struct sock *sk, struct tcp *t)
{
	/* Linux's sk_stream_moderate_sndbuf */
	if (!(sk->options & OPT_SNDBUF_LOCKED))
		sk->sndbuf = MAX(MIN(sk->sndbuf, sk->tx_charged / 2), SOCK_SNDBUF_MIN);
	return t->snd_una == t->snd_end ? -ENOBUFS : tcp_send_full(s, sk, t);
}

s64 tcp_send_reserve(struct stack *s, struct sock *sk, struct plan *plan, u64 len)
{
	struct tcp *t = tcp_of(s, sk);
	int ret = tcp_send_check(s, sk, t);
	u32 n;

	if (ret < 0)
		return ret;
	if (len && !tcp_send_room(s, sk, t))
		return tcp_send_full(s, sk, t);
	sock_plan_begin(s, sk, plan, PLAN_SEND);
	if (!len)
		return 0;
	if (t->tfo == TFO_DEFERRED)
		len = MIN(len, tcp_fastopen_room(s, sk, t));
	len -= tcp_reserve_tail(s, t, plan, len);
	while (len && plan->count < PLAN_SPANS &&
		(plan->count == 0 || sk->tx_charged < sk->sndbuf)) {
		n = tcp_reserve_packet(s, sk, t, plan, len);
		if (!n)
			break;
		len -= n;
	}
	if (plan->count == 0) {
		sock_plan_end(s, plan);
		return tcp_send_starved(s, sk, t);
	}
	return plan->bytes;
}

/* Packets that the plan did not use are given back. */
static void tcp_uncharge_span(struct stack *s, struct sock *sk, ref pkt)
{
	const struct pkt *p = pkt_get(s, pkt);

	if (p)
		sock_memory_give(s, &sk->tx_charged, pkt_truesize(p));
}

static void tcp_commit_packet(
	struct stack *s, struct sock *sk, struct tcp *t, const struct span *span, u32 n)
{
	struct pkt *p = pkt_get(s, span->pkt);

	p->start = span->offset;
	p->end = span->offset + n;
	pkt_hold(s, span->pkt);
	tcp_queue_append(s, sk, t, span->pkt);
}

/* The bytes copied into the room of what was the last packet: usually it still is. */
static u32 tcp_commit_tail(
	struct stack *s, struct sock *sk, struct tcp *t, const struct span *span, u32 n)
{
	struct pkt *p = pkt_get(s, span->pkt), *q;
	ref copy;

	if (p->mark && span->pkt == t->snd_tail) {
		pkt_put(p, n);
		t->snd_end += n;
		return n;
	}
	if (!p->mark && p->refs == 1) { /* acknowledged meanwhile: it is the plan's alone */
		sock_memory_take(s, &sk->tx_charged, pkt_truesize(p));
		tcp_commit_packet(s, sk, t, span, n);
		return n;
	}
	/* Another thread's bytes stand behind it by now. */
	copy = pkt_alloc(s, n);
	q = pkt_get(s, copy);
	if (!q)
		return 0;
	memcpy(pkt_put(q, n), p->data + span->offset, n);
	sock_memory_take(s, &sk->tx_charged, pkt_truesize(q));
	tcp_queue_append(s, sk, t, copy);
	return n;
}

static u32 tcp_commit_spans(
	struct stack *s, struct sock *sk, struct tcp *t, struct plan *plan, u32 copied)
{
	u32 left = MIN(copied, plan->bytes), done = 0;

	for (u32 i = 0; i < plan->count; i++) {
		const struct span *span = &plan->span[i];
		u32 n = MIN(left, span->len), queued = n;

		if (i == 0 && plan->full_len) {
			t->flags &= ~(u32)TCPF_TAIL_HELD;
			queued = n ? tcp_commit_tail(s, sk, t, span, n) : 0;
		} else if (n) {
			tcp_commit_packet(s, sk, t, span, n);
		} else {
			tcp_uncharge_span(s, sk, span->pkt);
		}
		done += queued;
		left = queued == n ? left - n : 0;
	}
	return done;
}

void tcp_send_drop(struct stack *s, struct sock *sk, struct plan *plan)
{
	struct tcp *t = tcp_of(s, sk);

	if (t)
		tcp_commit_spans(s, sk, t, plan, 0);
}

s64 tcp_send_commit(struct stack *s, struct sock *sk, struct plan *plan, u32 copied)
{
	struct tcp *t = tcp_of(s, sk);
	int ret = tcp_send_check(s, sk, t);

	if (ret < 0) { /* the connection ended while the bytes were copied */
		tcp_commit_spans(s, sk, t, plan, 0);
		return ret == -EAGAIN ? -EPIPE : ret;
	}
	tcp_delivery_limited(s, t);
	copied = tcp_commit_spans(s, sk, t, plan, copied);
	if (t->tfo == TFO_DEFERRED) {
		t->rtt_sent_ns = t->stalled_ns = MAX(s->now_ns, 1);
		sk->flags |= SOCK_CONNECT_PENDING;
		plan->flags |= LX_MSG_FASTOPEN;
		tcp_send_syn(s, sk, t);
		tcp_timer_update(s, sk, t);
		return copied;
	}
	if (!copied) /* nothing sent pushes nothing that MSG_MORE holds back */
		return 0;
	t->flags &= ~(u32)TCPF_MORE;
	if (plan->flags & LX_MSG_MORE)
		t->flags |= TCPF_MORE;
	if (plan->flags & LX_MSG_OOB && copied) {
		t->flags = (t->flags | TCPF_URG_OUT) & ~(u32)TCPF_MORE;
		t->snd_up = t->snd_end;
	}
	tcp_stamp_queued(sk, t);
	tcp_output(s, sk, t);
	return copied;
}

/* --- receiving --- */

void tcp_consume(struct stack *s, struct sock *sk, struct tcp *t, u32 n)
{
	t->copied_seq += n;
	if (t->urg_state != TCP_URG_NONE && seq_gt(t->copied_seq, t->urg_seq))
		t->urg_state = TCP_URG_NONE;
	while (n) {
		struct pkt *p = pkt_get(s, sk->rxq.head);
		u32 len = p ? pkt_len(p) : 0;

		if (!p) {
			counter_inc(s, counter_invariant);
			return;
		}
		if (len > n) {
			pkt_pull(p, n);
			p->seq += n;
			sk->rxq.bytes -= n;
			return;
		}
		n -= len;
		sk->stamp_ns = p->time_ns;
		sock_memory_give(s, &sk->rx_charged, pkt_truesize(p));
		pkt_release(s, pktq_pop(s, &sk->rxq));
	}
}

static void tcp_clear_meta(struct plan *plan)
{
	memset(&plan->meta, 0, sizeof(plan->meta));
	plan->meta.tos = plan->meta.ttl = -1;
}

/* MSG_OOB: Linux's tcp_recv_urg. */
static s64 tcp_take_urgent(
	struct stack *s, struct sock *sk, struct tcp *t, struct plan *plan, u64 len)
{
	struct pkt *p;
	ref pkt;

	if (sk->options & OPT_OOBINLINE || t->urg_state == TCP_URG_NONE ||
		t->urg_state == TCP_URG_READ)
		return -EINVAL;
	if (t->state == TCP_CLOSED && !(t->flags & TCPF_RCV_FIN))
		return -ENOTCONN;
	if (t->urg_state == TCP_URG_NOT_YET)
		return t->state == TCP_CLOSED || sk->flags & SOCK_RCV_SHUT ? 0 : -EAGAIN;
	pkt = pkt_alloc(s, 1);
	p = pkt_get(s, pkt);
	if (!p)
		return -ENOBUFS;
	*pkt_put(p, 1) = t->urg_byte;
	sock_plan_begin(s, sk, plan, PLAN_RECV);
	tcp_clear_meta(plan);
	plan->meta.msg_flags = LX_MSG_OOB | (len ? 0 : LX_MSG_TRUNC);
	if (len)
		sock_plan_add(s, plan, pkt, p->start, 1);
	pkt_release(s, pkt);
	if (!(plan->flags & LX_MSG_PEEK))
		t->urg_state = TCP_URG_READ;
	return plan->bytes;
}

/* What recv gives when nothing waits, in Linux's order. */
static s64 tcp_recv_nothing(struct sock *sk, const struct tcp *t)
{
	int error = sk->error;

	if (t->flags & TCPF_RCV_FIN)
		return 0;
	if (error) {
		sk->error = 0;
		return -error;
	}
	if (sk->flags & SOCK_RCV_SHUT)
		return 0;
	return t->state == TCP_CLOSED ? -ENOTCONN : -EAGAIN;
}

/* How many bytes may be read now, up to the urgent mark; *skip says that the urgent byte is first
 * and not in line. */
static u32 tcp_readable_run(const struct sock *sk, const struct tcp *t, u32 *skip)
{
	u32 run = tcp_available(sk, t), mark = t->urg_seq - t->copied_seq;

	*skip = 0;
	if (t->urg_state == TCP_URG_NONE || mark >= run)
		return run;
	if (mark)
		return mark;
	if (sk->options & OPT_OOBINLINE)
		return run;
	*skip = 1;
	return run - 1;
}

s64 tcp_recv_take(struct stack *s, struct sock *sk, struct plan *plan, u64 len)
{
	struct tcp *t = tcp_of(s, sk);
	u32 skip, run, ahead = sock_peek_from(sk, plan->flags);

	if (t->state == TCP_LISTEN)
		return -ENOTCONN;
	if (plan->flags & LX_MSG_OOB)
		return tcp_take_urgent(s, sk, t, plan, len);
	run = tcp_readable_run(sk, t, &skip);
	if (skip && len && !(plan->flags & LX_MSG_PEEK)) {
		tcp_consume(s, sk, t, 1);
		skip = 0;
	}
	if (run <= ahead)
		return skip && !len ? 0 : tcp_recv_nothing(sk, t);
	skip += ahead;
	run -= ahead;
	sock_plan_begin(s, sk, plan, PLAN_RECV);
	tcp_clear_meta(plan);
	len = MIN(len, run);
	for (struct pkt *p = pkt_get(s, sk->rxq.head); p && len; p = pkt_get(s, p->next)) {
		u32 n = pkt_len(p) - MIN(skip, pkt_len(p));

		n = (u32)MIN(n, len);
		if (n && !sock_plan_add(s, plan, p->slab.self, p->start + skip, n))
			break;
		skip -= MIN(skip, pkt_len(p));
		len -= n;
		plan->meta.time_ns = p->time_ns;
	}
	return plan->bytes;
}

s64 tcp_recv_commit(struct stack *s, struct sock *sk, struct plan *plan, u32 copied)
{
	struct tcp *t = tcp_of(s, sk);

	if (plan->flags & LX_MSG_OOB)
		return copied;
	sock_peek_move(sk, plan->flags, copied);
	if (plan->flags & LX_MSG_PEEK)
		return copied;
	copied = MIN(copied, tcp_available(sk, t));
	tcp_consume(s, sk, t, copied);
	tcp_window_read(s, sk, t, copied);
	return copied;
}
