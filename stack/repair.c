/*
 * After a process died within an entry of the engine, whose stores stopped anywhere: mark and
 * sweep.
 *
 * What is trusted is the state of sockets, connections, neighbours and datagrams themselves.
 * Everything that follows from them is made anew: who holds each packet and frame, free lists,
 * tables, lists, the wheel, sums. A chain is cut at what is no live packet, or is in another chain
 * already. Then every connection is asked to send what it owes, and its invariants are checked
 * (tcp_check): one that does not keep them was cut in the middle and is reset. Every program that
 * waits is told to look again.
 *
 * All walks are bounded by the slabs' counts.
 */
#include <string.h>

#include "stack/neigh.h"
#include "stack/reasm.h"
#include "stack/tcp_conn.h"

/* Marks that exist only between begin and end, in struct sock.flags: some plan holds the socket for
 * receiving, or for sending. */
#define HELD_RECV (1u << 30)
#define HELD_SEND (1u << 31)

enum { FRAME_HELD = 1 };

/*
 * Counts the chain as holder of its packets and cuts it where it is broken; q is filled in. Returns
 * the sum of what the packets occupy.
 */
static u32 repair_queue(struct stack *s, struct pktq *q)
{
	struct pktq whole = {.head = q->head};
	struct pkt *last = NULL;
	u32 charged = 0;

	for (ref r = q->head; r;) {
		struct pkt *p = pkt_get(s, r);

		if (!p || p->refs) {
			*(last ? &last->next : &whole.head) = 0;
			break;
		}
		p->refs = 1;
		whole.tail = r;
		whole.count++;
		whole.bytes += pkt_len(p);
		charged += pkt_truesize(p);
		last = p;
		r = p->next;
	}
	*q = whole;
	return charged;
}

/* The same for a chain of which only the ends are kept. */
static u32 repair_chain(struct stack *s, ref *head, ref *tail)
{
	struct pktq q = {.head = *head};
	u32 charged = repair_queue(s, &q);

	*head = q.head;
	*tail = q.tail;
	return charged;
}

/* Counts one more holder; false when there is no such packet: it was about to be forgotten. */
bool stack_repair_hold(struct stack *s, ref r)
{
	struct pkt *p = pkt_get(s, r);

	if (p)
		p->refs++;
	return p != NULL;
}

/* --- begin: what holds packets and frames --- */

static u32 repair_ooo(struct stack *s, struct tcp *t)
{
	struct tcp_ranges *r = tcp_ooo(s, t);
	u32 charged = 0;

	if (!stack_repair_hold(s, t->ooo))
		t->ooo = 0;
	if (!stack_repair_hold(s, t->sent))
		t->sent = 0;
	if (!stack_repair_hold(s, t->saved_syn))
		t->saved_syn = 0;
	for (u32 i = 0; r && i < MIN(r->count, r->max); i++)
		charged += repair_chain(s, &r->range[i].first, &r->range[i].last);
	return charged;
}

static void repair_sock(struct stack *s, struct sock *sk)
{
	struct tcp *t = tcp_of(s, sk);
	u32 received, sent = 0;

	if (sk->conn.proto == PROTO_TCP && !t) {
		slab_discard(s, sk->conn.slab.self); /* half made, or half freed */
		return;
	}
	if (t && !t->state) { /* on its way to a block without a connection */
		t->sock = sk->conn.slab.self;
		tcp_block_reset(t);
	}
	received = repair_queue(s, &sk->rxq);
	if (t) {
		sent = repair_chain(s, &t->snd_head, &t->snd_tail);
		received += repair_ooo(s, t);
		sk->tx_charged = sent;
	}
	sk->rx_charged = received + repair_queue(s, &sk->errq);
	if (!stack_repair_hold(s, sk->cork))
		sk->cork = 0;
	if (!stack_repair_hold(s, sk->filter))
		sk->filter = 0;
	sk->flags &= ~(HELD_RECV | HELD_SEND);
}

static void repair_request(struct stack *s, struct tcp_request *req)
{
	const struct sock *listener = sock_get(s, req->listener);
	const struct tcp *t = listener ? tcp_of(s, listener) : NULL;

	/* One without a listener will go. */
	if (!t || t->state != TCP_LISTEN || !stack_repair_hold(s, req->saved_syn))
		req->saved_syn = 0;
}

static void repair_neigh_queue(struct stack *s, struct neigh *n)
{
	struct frame *last = NULL;

	n->queued = 0;
	n->queue_tail = 0;
	for (ref r = n->queue_head; r;) {
		struct frame *f = frame_get(s, r);

		if (!f || f->flags & FRAME_HELD) {
			*(last ? &last->next : &n->queue_head) = 0;
			break;
		}
		f->flags |= FRAME_HELD;
		n->queue_tail = r;
		n->queued++;
		last = f;
		r = f->next;
	}
	s->neigh_queued += n->queued;
}

/* A frame that was being freed has lost some of its pieces. */
static void repair_pieces(struct stack *s, struct frame *f)
{
	u32 kept = 0;

	for (u32 i = 0; i < MIN(f->pieces, FRAME_PIECES); i++) {
		if (stack_repair_hold(s, f->piece[i].pkt))
			f->piece[kept++] = f->piece[i];
	}
	f->pieces = (u8)kept;
	f->flags &= (u8)~FRAME_HELD;
}

static void repair_frames(struct stack *s)
{
	for (u32 i = s->tx_freed; i != s->tx_head; i++) {
		struct frame *f = frame_get(s, s->tx_ring[i & (STACK_TX_RING - 1)]);

		if (f)
			f->flags |= FRAME_HELD;
		else
			s->tx_ring[i & (STACK_TX_RING - 1)] = 0; /* freed already */
	}
	s->neigh_queued = 0;
	for (u32 i = 0; i < slab_touched(s, SLAB_NEIGH); i++) {
		struct neigh *n = slab_at(s, SLAB_NEIGH, i);

		if (n)
			repair_neigh_queue(s, n);
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_FRAME); i++) {
		struct frame *f = slab_at(s, SLAB_FRAME, i);

		if (f && !(f->flags & FRAME_HELD))
			slab_discard(s, f->slab.self);
		else if (f)
			repair_pieces(s, f);
	}
}

void stack_repair_begin(struct stack *s)
{
	s->looping = false;
	memset(s->touched, 0, sizeof(s->touched));
	for (enum slab_kind kind = SLAB_PKT_SMALL; kind <= SLAB_PKT_HUGE; kind++) {
		for (u32 i = 0; i < slab_touched(s, kind); i++) {
			struct pkt *p = slab_at(s, kind, i);

			if (p)
				p->refs = 0;
		}
	}
	repair_chain(s, &s->loop_head, &s->loop_tail);
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk)
			repair_sock(s, sk);
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_TCP_REQUEST); i++) {
		struct tcp_request *req = slab_at(s, SLAB_TCP_REQUEST, i);

		if (req)
			repair_request(s, req);
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_REASM); i++) {
		struct reasm *d = slab_at(s, SLAB_REASM, i);

		if (d)
			repair_chain(s, &d->head, &d->tail);
	}
	repair_frames(s);
}

/* What is in the connection's queue already has been committed: the plan does not hold it any more,
 * but for the tail's room. */
static void repair_send_plan(struct stack *s, struct sock *sk, struct plan *plan)
{
	u32 kept = 0;

	for (u32 i = 0; i < plan->count; i++) {
		struct pkt *p = pkt_get(s, plan->span[i].pkt);
		bool tail = i == 0 && plan->full_len;

		if (!p || (p->refs && !tail))
			continue;
		if (!tail)
			sk->tx_charged += pkt_truesize(p);
		plan->span[kept++] = plan->span[i];
	}
	plan->count = kept;
}

void stack_repair_plan(struct stack *s, struct plan *plan)
{
	struct sock *sk = sock_get(s, plan->sock);

	if (plan->kind == PLAN_NONE)
		return;
	plan->count = MIN(plan->count, (u32)PLAN_SPANS);
	if (sk && sk->tcp && plan->kind == PLAN_SEND)
		repair_send_plan(s, sk, plan);
	for (u32 i = 0; i < plan->count; i++)
		stack_repair_hold(s, plan->span[i].pkt);
	if (sk)
		sk->flags |= plan->kind == PLAN_RECV ? HELD_RECV : HELD_SEND;
}

/* --- end: sweep, and everything that follows from the objects --- */

static void repair_sweep(struct stack *s)
{
	for (enum slab_kind kind = SLAB_PKT_SMALL; kind <= SLAB_PKT_HUGE; kind++) {
		for (u32 i = 0; i < slab_touched(s, kind); i++) {
			struct pkt *p = slab_at(s, kind, i);

			if (p && !p->refs)
				slab_discard(s, p->slab.self);
		}
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_TCP); i++) {
		struct tcp *t = slab_at(s, SLAB_TCP, i);
		struct sock *sk = t ? sock_get(s, t->sock) : NULL;

		if (t && (!sk || sk->tcp != t->slab.self))
			slab_discard(s, t->slab.self);
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_TCP_REQUEST); i++) {
		struct tcp_request *req = slab_at(s, SLAB_TCP_REQUEST, i);
		struct sock *listener = req ? sock_get(s, req->listener) : NULL;

		if (req && (!listener || !tcp_of(s, listener) ||
				   tcp_of(s, listener)->state != TCP_LISTEN))
			slab_discard(s, req->conn.slab.self);
	}
}

static void repair_tasks(struct stack *s)
{
	for (u32 i = 0; i < slab_touched(s, SLAB_TASK); i++) {
		struct task *task = slab_at(s, SLAB_TASK, i);

		if (task && !wheel_armed(s, task->slab.self))
			slab_discard(s, task->slab.self);
	}
}

/* Sockets' own fields that follow from others. */
static void repair_sock_fields(struct stack *s)
{
	s->tcp_orphans = 0;
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);
		struct tcp *t = sk ? tcp_of(s, sk) : NULL;

		if (!sk)
			continue;
		if (!(sk->flags & HELD_RECV))
			sk->reader = 0;
		if (t && !(sk->flags & HELD_SEND))
			t->flags &= ~(u32)TCPF_TAIL_HELD;
		sk->flags &= ~(HELD_RECV | HELD_SEND | SOCK_CHANGED | SOCK_TX_WAIT);
		if (t && t->state != TCP_CLOSED && t->state != TCP_LISTEN)
			sk->flags |= SOCK_HASHED;
		if (t && sk->flags & SOCK_ORPHAN)
			s->tcp_orphans++;
		if (t) {
			t->accept_next = t->accept_tail = t->request_head = 0;
			t->accept_count = t->request_count = t->tfo_count = 0;
		}
	}
}

/* The queues of listeners, and TIME-WAIT's. */
static void repair_tcp_lists(struct stack *s)
{
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);
		struct tcp *t = sk ? tcp_of(s, sk) : NULL;

		if (t && t->listener &&
			(tcp_synchronized(t) || t->state == TCP_CLOSED || t->tfo == TFO_CHILD))
			tcp_accept_enqueue(s, sk, t);
		if (t && t->tfo == TFO_CHILD && sock_get(s, t->tfo_listener) &&
			tcp_of(s, sock_get(s, t->tfo_listener)))
			tcp_of(s, sock_get(s, t->tfo_listener))->tfo_count++;
	}
	for (u32 i = 0; i < slab_touched(s, SLAB_TCP_REQUEST); i++) {
		struct tcp_request *req = slab_at(s, SLAB_TCP_REQUEST, i), *head;
		struct tcp *t = req ? tcp_of(s, sock_get(s, req->listener)) : NULL;

		if (!t)
			continue;
		head = slab_get(s, SLAB_TCP_REQUEST, t->request_head);
		req->prev = 0;
		req->next = t->request_head;
		if (head)
			head->prev = req->conn.slab.self;
		t->request_head = req->conn.slab.self;
		t->request_count++;
		if (!wheel_armed(s, req->conn.slab.self))
			wheel_arm(s, req->conn.slab.self, s->now_ns);
	}
	s->timewait_head = s->timewait_tail = 0;
	for (u32 i = 0; i < slab_touched(s, SLAB_TCP_TIMEWAIT); i++) {
		struct tcp_timewait *tw = slab_at(s, SLAB_TCP_TIMEWAIT, i);
		struct tcp_timewait *tail = slab_get(s, SLAB_TCP_TIMEWAIT, s->timewait_tail);

		if (!tw)
			continue;
		tw->next = 0;
		tw->prev = s->timewait_tail;
		*(tail ? &tail->next : &s->timewait_head) = tw->conn.slab.self;
		s->timewait_tail = tw->conn.slab.self;
		if (!wheel_armed(s, tw->conn.slab.self))
			wheel_arm(s, tw->conn.slab.self, s->now_ns + TCP_TIMEWAIT_NS);
	}
}

/*
 * A socket without a connection: what the end of one has left undone is done, and a closed one
 * freed. False when the socket is none such.
 */
static bool repair_closed(struct stack *s, struct sock *sk, struct tcp *t)
{
	ref self = sk->conn.slab.self;
	struct tcp place;

	if (t && t->state != TCP_CLOSED && t->state != TCP_LISTEN)
		return false;
	if (t && t->state == TCP_CLOSED &&
		(sk->flags & SOCK_HASHED || t->snd_head || t->ooo || t->sent)) {
		t->state = TCP_LAST_ACK;
		tcp_done(s, sk, t, sk->error);
	}
	if (t && sock_get(s, self) && t->state == TCP_CLOSED && tcp_check(s, sk)) {
		sock_memory_purge(s, sk, &sk->rxq);
		tcp_queue_free(s, sk, t);
		tcp_ooo_purge(s, sk, t);
		tcp_record_clear(s, t);
		place = *t;
		tcp_block_reset(t);
		t->listener = place.listener; /* it keeps its place in the queue of a listener */
		t->accept_next = place.accept_next;
	}
	if (sock_get(s, self) && sk->flags & SOCK_ORPHAN)
		sock_free(s, sk);
	return true;
}

/* An orphan in a state that its close would have left: the close is done again. False when the
 * socket is gone. */
static bool repair_close(struct stack *s, struct sock *sk, const struct tcp *t)
{
	static const u32 before_close = 1u << TCP_LISTEN | 1u << TCP_SYN_SENT |
					1u << TCP_SYN_RECEIVED | 1u << TCP_ESTABLISHED |
					1u << TCP_CLOSE_WAIT | 1u << TCP_FIN_WAIT_2;
	ref self = sk->conn.slab.self;

	if (!(sk->flags & SOCK_ORPHAN) || !t || !(before_close >> t->state & 1))
		return true;
	sk->flags &= ~(u32)SOCK_ORPHAN;
	s->tcp_orphans -= s->tcp_orphans != 0;
	sock_close(s, self);
	return sock_get(s, self) != NULL;
}

/* The other end of a connection with ourselves has gone, and its last segment with the dead one. */
static bool repair_is_alone(struct stack *s, const struct sock *sk, const struct tcp *t)
{
	return tcp_synchronized(t) && netif_is_local(s, &sk->conn.remote.addr) &&
	       !conn_lookup(s, PROTO_TCP, &sk->conn.remote, &sk->conn.local);
}

/* A connection's first place is its request's: one that has not taken it over is given up. */
static bool repair_is_twin(struct stack *s, const struct sock *sk, const struct tcp *t)
{
	for (u32 i = 0; t->state == TCP_SYN_RECEIVED && t->listener &&
			i < slab_touched(s, SLAB_TCP_REQUEST);
		i++) {
		const struct tcp_request *req = slab_at(s, SLAB_TCP_REQUEST, i);

		if (req && endpoint_equal(&req->conn.remote, &sk->conn.remote) &&
			endpoint_equal(&req->conn.local, &sk->conn.local))
			return true;
	}
	return false;
}

static void repair_reset(struct stack *s, struct sock *sk, struct tcp *t, const char *broken)
{
	ref self = sk->conn.slab.self;

	counter_inc(s, counter_repair_reset);
	LOG(s, LOG_TCP, LOG_ERROR, "%E %E reset in a repair: %s", &sk->conn.local, &sk->conn.remote,
		broken);
	tcp_abort(s, sk, t);
	if (sock_get(s, self))
		repair_closed(s, sk, t);
}

/* What the dead process may have owed on this connection is done; one that was cut in the middle is
 * mended, or reset. */
static void repair_connection(struct stack *s, struct sock *sk, struct tcp *t)
{
	ref self = sk->conn.slab.self;
	const char *broken;

	if (t->state == TCP_TIME_WAIT ||
		repair_is_twin(s, sk,
			t)) { /* a socket's for an instant: its struct tcp_timewait goes on */
		tcp_done(s, sk, t, 0);
		return;
	}
	if (repair_is_alone(s, sk, t)) {
		tcp_done(s, sk, t, ECONNRESET);
		return;
	}
	if (!tcp_mend(s, sk, t)) {
		repair_reset(s, sk, t, "queues");
		return;
	}
	if (!sock_get(s, self) || t->state == TCP_CLOSED)
		return;
	wheel_arm(s, self, s->now_ns); /* looks at all its deadlines */
	if (tcp_synchronized(t))
		tcp_output(s, sk, t);
	if (!sock_get(s, self))
		return;
	broken = tcp_check(s, sk);
	if (broken)
		repair_reset(s, sk, t, broken);
}

static void repair_sockets(struct stack *s)
{
	u64 invariants = s->counters[counter_invariant]; /* tcp_check counts what is found here */

	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);
		struct tcp *t = sk ? tcp_of(s, sk) : NULL;

		if (sk && repair_close(s, sk, t) && !repair_closed(s, sk, t))
			repair_connection(s, sk, t);
	}
	s->counters[counter_invariant] = invariants;
}

void stack_repair_end(struct stack *s)
{
	counter_inc(s, counter_repair);
	repair_sweep(s);
	wheel_rebuild(s); /* of what is left */
	repair_tasks(s);
	repair_sock_fields(s);
	port_rebuild(s);
	conn_rebuild(s);
	neigh_rebuild(s);
	slab_rebuild(s);
	reasm_rebuild(s);
	s->changed_head = s->changed_tail = 0;
	s->tx_wait_head = 0;
	repair_tcp_lists(s);
	repair_sockets(s);
	sock_memory_count(s, &s->tcp_memory, &s->udp_memory);
	for (u32 i = 0; i < slab_touched(s, SLAB_SOCK); i++) {
		struct sock *sk = slab_at(s, SLAB_SOCK, i);

		if (sk && !(sk->flags & SOCK_ORPHAN))
			sock_raise(s, sk, sock_poll(s, sk->conn.slab.self));
	}
}
