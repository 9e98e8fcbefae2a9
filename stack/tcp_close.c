/*
 * Ends of a connection: shutdown, close, abort, and what is left of the socket afterwards.
 *
 * A closed socket becomes an orphan: it lives until its FIN is acknowledged and the peer's has
 * come, bounded by the number of retransmissions, by tcp_fin_timeout in FIN-WAIT-2 and by
 * tcp_max_orphans. Unread data makes close send a RST (RFC 9293 3.6.1, MAY-1, SHLD-3), SO_LINGER
 * with 0 s too.
 */
#include <string.h>

#include "stack/tcp_conn.h"

/* Back to a block without a connection; what the program has set stays. */
void tcp_block_reset(struct tcp *t)
{
	struct tcp keep = *t;

	*t = (struct tcp){
		.slab = keep.slab,
		.sock = keep.sock,
		.state = TCP_CLOSED,
		.flags = keep.flags & (TCPF_NODELAY | TCPF_CORK | TCPF_LINGER2_SET | TCPF_INQ),
		.cc = keep.cc,
		.keep_idle_s = keep.keep_idle_s,
		.keep_intvl_s = keep.keep_intvl_s,
		.keep_cnt = keep.keep_cnt,
		.syn_retries = keep.syn_retries,
		.user_timeout_ms = keep.user_timeout_ms,
		.linger2_s = keep.linger2_s,
		.notsent_lowat = keep.notsent_lowat,
		.defer_accept_s = keep.defer_accept_s,
		.user_mss = keep.user_mss,
		.tfo_connect = keep.tfo_connect,
		.tfo_no_cookie = keep.tfo_no_cookie,
		.tfo_keys = keep.tfo_keys,
		.window_clamp = keep.window_clamp,
		.dup_thresh = keep.dup_thresh,
		.delack_max_us = keep.delack_max_us,
		.save_syn = keep.save_syn,
		.saved_syn = keep.saved_syn,
		.mss = TCP_MSS_DEFAULT,
		.rcv_mss = TCP_MSS_DEFAULT,
		.ssthresh = UINT32_MAX,
		.pacing_rate = UINT64_MAX,
		.rtx_at = NEVER,
		.reo_at = NEVER,
		.tlp_at = NEVER,
		.reo_mult = 1,
		.delack_at = NEVER,
		.keep_at = NEVER,
		.resume_at = NEVER,
	};
	memcpy(t->tfo_key, keep.tfo_key, sizeof(t->tfo_key));
	t->cwnd = tcp_cc_initial_window(t->mss);
	tcp_rtt_init(&t->rtt);
	if (keep.rtt.rto_max_ns) {
		t->rtt.rto_min_ns = keep.rtt.rto_min_ns;
		t->rtt.rto_max_ns = keep.rtt.rto_max_ns;
	}
}

/* Gives back everything that the connection holds, and takes it out of the table. */
static void tcp_release(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (sk->flags & SOCK_HASHED)
		conn_remove(s, &sk->conn);
	tcp_blackhole_end(s, sk, t);
	tcp_queue_free(s, sk, t);
	tcp_ooo_purge(s, sk, t);
	tcp_record_clear(s, t);
	t->flags &= ~(u32)(TCPF_ACK_NOW | TCPF_ACK_DELAYED | TCPF_ACK_SOON);
	t->rtx_at = t->reo_at = t->tlp_at = t->delack_at = t->keep_at = t->resume_at = NEVER;
	wheel_cancel(s, sk->conn.slab.self);
}

static void tcp_free(struct stack *s, struct sock *sk)
{
	if (sk->flags & SOCK_ORPHAN && s->tcp_orphans)
		s->tcp_orphans--;
	sock_free(s, sk);
}

void tcp_done(struct stack *s, struct sock *sk, struct tcp *t, int error)
{
	bool unborn = t->listener && t->state == TCP_SYN_RECEIVED && t->tfo != TFO_CHILD;

	if (t->state == TCP_CLOSED)
		return;
	if (error)
		LOG(s, LOG_TCP, LOG_DEBUG, "%E %E: ends with error %d", &sk->conn.local,
			&sk->conn.remote, error);
	if (t->state == TCP_TIME_WAIT || (t->state == TCP_LAST_ACK && !error))
		tcp_metrics_save(s, sk, t);
	tcp_fastopen_over(s, t, error == ECONNRESET);
	if (t->state == TCP_TIME_WAIT) /* goes on by itself (tcp_timewait.c) */
		t->state = TCP_CLOSED;
	tcp_set_state(s, sk, t, TCP_CLOSED);
	tcp_release(s, sk, t);
	if (sk->flags & SOCK_ORPHAN || unborn) {
		tcp_free(s, sk);
		return;
	}
	sk->state = SOCK_DEAD;
	sk->flags |= SOCK_RCV_SHUT | SOCK_SND_SHUT;
	if (!(sk->flags & SOCK_BOUND_PORT))
		port_detach(s, &sk->conn);
	if (error)
		sock_fail(s, sk, error);
	sock_raise(s, sk, EV_IN | EV_OUT | EV_HUP | EV_RDHUP);
}

void tcp_abort(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (tcp_synchronized(t) || t->state == TCP_SYN_RECEIVED)
		tcp_send_reset(s, sk, t);
	tcp_done(s, sk, t, ECONNRESET);
}

/* Queues the FIN behind what is queued (RFC 9293 3.10.4). */
static void tcp_send_fin(struct stack *s, struct sock *sk, struct tcp *t)
{
	switch (t->state) {
	case TCP_SYN_RECEIVED:
		t->flags |= TCPF_FIN; /* FIN-WAIT-1 as soon as the handshake is complete */
		return;
	case TCP_ESTABLISHED:
		tcp_set_state(s, sk, t, TCP_FIN_WAIT_1);
		break;
	case TCP_CLOSE_WAIT:
		tcp_set_state(s, sk, t, TCP_LAST_ACK);
		break;
	default:
		return;
	}
	t->flags |= TCPF_FIN;
	t->flags &= ~(u32)(TCPF_MORE | TCPF_CORK);
	tcp_output(s, sk, t);
}

int tcp_shutdown(struct stack *s, struct sock *sk, int how)
{
	struct tcp *t = tcp_of(s, sk);
	int ret = t->state == TCP_CLOSED ? -ENOTCONN : 0;

	/* An end that nobody is told of any more: Linux's SS_DISCONNECTING. */
	if (sk->flags & SOCK_CONNECT_PENDING && t->state == TCP_CLOSED)
		sk->flags &= ~(u32)SOCK_WAS_CONNECTED;
	sk->flags &= ~(u32)SOCK_CONNECT_PENDING;
	/* Of one that listens or is connecting, for reading: that ends, as on Linux. */
	if (t->state == TCP_SYN_SENT || (t->state == TCP_LISTEN && how != LX_SHUT_WR)) {
		sock_dissolve(s, sk);
		sock_raise(s, sk, EV_STATE);
		return 0;
	}
	if (how != LX_SHUT_WR)
		sk->flags |= SOCK_RCV_SHUT;
	if (how != LX_SHUT_RD && t->state != TCP_LISTEN) {
		sk->flags |= SOCK_SND_SHUT;
		tcp_send_fin(s, sk, t);
	}
	sock_raise(s, sk,
		(how != LX_SHUT_WR ? EV_IN | EV_RDHUP : 0) | (how != LX_SHUT_RD ? EV_OUT : 0) |
			EV_STATE);
	return ret;
}

/* An orphan waits for the peer's FIN for tcp_fin_timeout or TCP_LINGER2, or not at all. False: it
 * is gone. */
bool tcp_fin_wait_2(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 seconds = t->flags & TCPF_LINGER2_SET ? t->linger2_s : s->tunables.tcp_fin_timeout_s;

	if (seconds == TCP_LINGER2_NONE) {
		tcp_abort(s, sk, t);
		return false;
	}
	/* Linux's tcp_fin_time: time for the peer to send its FIN a few times. */
	t->keep_at =
		s->now_ns + MAX(seconds * NS_PER_S, tcp_rtt_timeout(&t->rtt, t->backoff) * 7 / 2);
	tcp_timer_update(s, sk, t);
	return true;
}

/* What remains for the orphan to do; it may be gone afterwards. */
static void tcp_orphan(struct stack *s, struct sock *sk, struct tcp *t)
{
	sk->flags |= SOCK_RCV_SHUT | SOCK_SND_SHUT;
	if (s->tcp_orphans > s->tunables.tcp_max_orphans) {
		counter_inc(s, counter_tcp_orphan_overflow);
		tcp_abort(s, sk, t);
		return;
	}
	if (tcp_evict_orphan(s, sk, t))
		return;
	if (t->state == TCP_FIN_WAIT_2) {
		tcp_fin_wait_2(s, sk, t);
		return;
	}
	tcp_send_fin(s, sk, t);
}

u64 tcp_close(struct stack *s, struct sock *sk)
{
	struct tcp *t = tcp_of(s, sk);
	bool linger = sk->options & OPT_LINGER, unread = tcp_available(sk, t) != 0;
	ref self = sk->conn.slab.self;

	s->tcp_orphans++;
	if (t->state == TCP_LISTEN) {
		tcp_listen_close(s, sk, t);
		tcp_set_state(s, sk, t, TCP_CLOSED);
	}
	if (t->state == TCP_CLOSED || t->state == TCP_SYN_SENT) {
		tcp_release(s, sk, t);
		tcp_free(s, sk);
		return 0;
	}
	if (unread || (linger && !sk->linger_s)) {
		counter_inc(s, unread ? counter_tcp_abort_unread : counter_tcp_abort_linger);
		tcp_abort(s, sk, t);
		return 0;
	}
	tcp_orphan(s, sk, t);
	return linger && sock_get(s, self) && !(t->state == TCP_FIN_WAIT_2)
		       ? sk->linger_s * NS_PER_S
		       : 0;
}

int tcp_disconnect(struct stack *s, struct sock *sk)
{
	struct tcp *t = tcp_of(s, sk);

	if (t->state == TCP_LISTEN) {
		tcp_listen_close(s, sk, t);
		sk->conn.bind &= (u8)~CONN_LISTENING;
	} else if (t->state != TCP_CLOSED) {
		sk->error = ECONNRESET;
		if (tcp_synchronized(t) || t->state == TCP_SYN_RECEIVED)
			tcp_send_reset(s, sk, t);
	}
	tcp_release(s, sk, t);
	sock_memory_purge(s, sk, &sk->rxq);
	tcp_block_reset(t);
	sock_raise(s, sk, EV_ERR); /* whoever waits for a connection or data learns of it */
	return 0;
}
