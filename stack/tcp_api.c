/*
 * The program's calls on TCP but for data and options: making, connecting, readiness; and the table
 * of operations.
 */
#include "stack/tcp_conn.h"

#define TCP_MAX 262144u

void tcp_init(struct stack *s)
{
	slab_init(s, SLAB_TCP, sizeof(struct tcp), TCP_MAX);
	slab_init(s, SLAB_TCP_REQUEST, sizeof(struct tcp_request), TCP_MAX);
	slab_init(s, SLAB_TCP_TIMEWAIT, sizeof(struct tcp_timewait), TCP_MAX);
}

static int tcp_open(struct stack *s, struct sock *sk)
{
	ref r = slab_alloc(s, SLAB_TCP);
	struct tcp *t = slab_get(s, SLAB_TCP, r);

	if (!t)
		return -ENOBUFS;
	t->sock = sk->conn.slab.self;
	t->cc = s->tunables.tcp_congestion_control < TCP_CCS ? s->tunables.tcp_congestion_control
							     : TCP_CC_RENO;
	tcp_block_reset(t);
	t->rtt.rto_min_ns = s->tunables.tcp_rto_min_us * NS_PER_US;
	t->rtt.rto_max_ns = s->tunables.tcp_rto_max_ms * NS_PER_MS;
	t->dup_thresh = s->tunables.tcp_reordering;
	sk->tcp = r;
	return 0;
}

static void tcp_destroy(struct stack *s, struct sock *sk)
{
	struct tcp *t = tcp_of(s, sk);

	if (!t)
		return;
	tcp_queue_free(s, sk, t);
	tcp_ooo_purge(s, sk, t);
	tcp_record_clear(s, t);
	if (t->saved_syn)
		pkt_release(s, t->saved_syn);
	slab_free(s, sk->tcp);
	sk->tcp = 0;
}

static void tcp_connect_init(struct stack *s, struct sock *sk, struct tcp *t)
{
	const struct stack_tunables *u = &s->tunables;

	tcp_block_reset(t);
	t->flags |= (u->tcp_timestamps ? TCPF_TIMESTAMP : 0) | (u->tcp_sack ? TCPF_SACK : 0) |
		    (u->tcp_window_scaling ? TCPF_WSCALE : 0) | TCPF_RTT_TIMING;
	t->ts_offset = tcp_ts_offset(s, &sk->conn.local, &sk->conn.remote);
	t->iss = t->snd_una = tcp_isn(s, &sk->conn.local, &sk->conn.remote);
	t->snd_nxt = t->snd_end = t->snd_sml = t->snd_up = t->fack = t->snd_una + 1;
	t->rtt_sent_ns = s->now_ns;
	t->stalled_ns = MAX(s->now_ns, 1);
	t->adv_mss = tcp_adv_mss(s, sk, t, &sk->conn.remote.addr);
	t->rcv_mss = (u16)MIN(TCP_MSS_DEFAULT, t->adv_mss);
	tcp_window_init(s, sk, t->adv_mss, &t->rcv_wnd_end, &t->rcv_wscale);
	tcp_set_state(s, sk, t, TCP_SYN_SENT);
}

static int tcp_connect(struct stack *s, struct sock *sk, const struct endpoint *remote)
{
	struct tcp *t = tcp_of(s, sk);
	struct path path;
	int ret;

	ret = ip_route(s, &remote->addr, sk->conn.ifindex, &path);
	if (ret < 0)
		return ret;
	if (path.broadcast || addr_is_multicast(&remote->addr)) /* MUST-46 */
		return -ENETUNREACH;
	ret = sock_autobind(s, sk, remote);
	if (ret < 0)
		return ret;
	sk->conn.remote = *remote;
	sk->error = sk->soft_error = 0;
	conn_insert(s, &sk->conn);
	sk->state = SOCK_CONNECTING;
	tcp_connect_init(s, sk, t);
	if (tcp_fastopen_connect(s, sk, t))
		return 0;
	tcp_send_syn(s, sk, t);
	tcp_timer_update(s, sk, t);
	return -EINPROGRESS;
}

/* Linux's sk_stream_is_writeable and tcp_stream_memory_free, for waking. */
static bool tcp_may_write(const struct stack *s, const struct sock *sk, const struct tcp *t)
{
	if (sk->tx_charged && !tcp_send_allows(s, sk)) /* what is queued goes first, and wakes */
		return false;
	if (sk->sndbuf < sk->tx_charged || sk->sndbuf - sk->tx_charged < sk->tx_charged / 2)
		return false;
	return 2 * (u64)(t->snd_end - t->snd_nxt) < tcp_notsent_lowat(s, t);
}

void tcp_writable(struct stack *s, struct sock *sk, struct tcp *t)
{
	if (t->flags & TCPF_NOSPACE && tcp_may_write(s, sk, t)) {
		t->flags &= ~(u32)TCPF_NOSPACE;
		sock_raise(s, sk, EV_OUT);
	}
}

u32 tcp_available(const struct sock *sk, const struct tcp *t)
{
	(void)sk;
	if (t->state == TCP_LISTEN || t->state == TCP_SYN_SENT)
		return 0;
	return t->rcv_nxt - t->copied_seq - (t->flags & TCPF_RCV_FIN ? 1 : 0);
}

bool tcp_readable(const struct sock *sk, const struct tcp *t)
{
	u32 available = tcp_available(sk, t), target = sk->rcvlowat;

	/* The urgent byte next in line is not read in line. */
	if (t->urg_state != TCP_URG_NONE && t->urg_seq == t->copied_seq &&
		!(sk->options & OPT_OOBINLINE))
		target++;
	return available && (available >= target || tcp_rcv_window(t) <= t->rcv_mss);
}

/* Linux's tcp_poll. */
u32 tcp_poll(struct stack *s, struct sock *sk)
{
	struct tcp *t = tcp_of(s, sk);
	u32 mask = sk->error || sk->errq.count ? EV_ERR : 0;

	if (t->state == TCP_LISTEN)
		return t->accept_count ? EV_IN : 0;
	if ((sk->flags & SOCK_RCV_SHUT && sk->flags & SOCK_SND_SHUT) || t->state == TCP_CLOSED)
		mask |= EV_HUP;
	if (sk->flags & SOCK_RCV_SHUT)
		mask |= EV_IN | EV_RDHUP;
	if (t->tfo == TFO_DEFERRED)
		return mask | EV_OUT;
	if (t->tfo != TFO_CHILD && (t->state == TCP_SYN_SENT || t->state == TCP_SYN_RECEIVED))
		return mask;
	if (tcp_readable(sk, t))
		mask |= EV_IN;
	if (sk->flags & SOCK_SND_SHUT || tcp_may_write(s, sk, t))
		mask |= EV_OUT;
	else
		t->flags |= TCPF_NOSPACE;
	if (t->urg_state == TCP_URG_VALID)
		mask |= EV_PRI;
	return mask;
}

const struct sock_ops tcp_ops = {
	.open = tcp_open,
	.destroy = tcp_destroy,
	.connect = tcp_connect,
	.disconnect = tcp_disconnect,
	.listen = tcp_listen,
	.accept = tcp_accept,
	.shutdown = tcp_shutdown,
	.close = tcp_close,
	.poll = tcp_poll,
	.send_reserve = tcp_send_reserve,
	.send_commit = tcp_send_commit,
	.send_drop = tcp_send_drop,
	.recv_take = tcp_recv_take,
	.recv_commit = tcp_recv_commit,
	.setopt = tcp_setopt,
	.getopt = tcp_getopt,
	.ioctl = tcp_ioctl,
	.opt_changed = tcp_opt_changed,
	.yield = tcp_timewait_yield,
};
