/*
 * Options of level SOL_TCP and the ioctls of a stream, with Linux's ranges, lengths and errors.
 *
 * TCP_REPAIR and what belongs to it answer EPERM, TCP_ULP ENOENT as without its modules;
 * TCP_MD5SIG, TCP_AO and TCP_ZEROCOPY_RECEIVE are not there (ENOPROTOOPT).
 */
#include <string.h>

#include "stack/tcp_bbr.h"
#include "stack/tcp_conn.h"
#include "stack/tcp_info.h"

#define KEEP_MAX_S  32767
#define PROBES_MAX  127
#define MSS_OPT_MAX 32767
#define FIN_MAX_S   120
#define CLAMP_MIN   1152 /* half of the smallest receive buffer */
#define CC_NAME_MAX 16u

#define RTO_MAX_LOW_MS	1000
#define RTO_MAX_HIGH_MS 120000
#define TIMER_MIN_US	2000 /* two ticks */
#define TIMER_MAX_US	200000
#define SAVE_SYN_MAX	2

static int tcp_set_in_range(int value, int low, int high, u32 *field)
{
	if (value < low || value > high)
		return -EINVAL;
	*field = (u32)value;
	return 0;
}

static int tcp_set_small(int value, int low, int high, u8 *field)
{
	if (value < low || value > high)
		return -EINVAL;
	*field = (u8)value;
	return 0;
}

static int tcp_set_nodelay(struct stack *s, struct sock *sk, struct tcp *t, int value)
{
	if (!value) {
		t->flags &= ~(u32)TCPF_NODELAY;
		return 0;
	}
	t->flags |= TCPF_NODELAY;
	tcp_output_all(s, sk, t);
	return 0;
}

static int tcp_set_cork(struct stack *s, struct sock *sk, struct tcp *t, int value)
{
	if (value) {
		t->flags |= TCPF_CORK;
		return 0;
	}
	t->flags &= ~(u32)(TCPF_CORK | TCPF_MORE);
	tcp_output_all(s, sk, t);
	return 0;
}

static int tcp_set_linger2(struct tcp *t, int value)
{
	t->flags |= TCPF_LINGER2_SET;
	if (value < 0)
		t->linger2_s = TCP_LINGER2_NONE;
	else if (value)
		t->linger2_s = MIN((u32)value, FIN_MAX_S);
	else
		t->flags &= ~(u32)TCPF_LINGER2_SET;
	return 0;
}

/* Linux counts in SYN-ACK retransmissions: the time is rounded up to 1, 3, 7, 15 s and so on. */
static int tcp_set_defer_accept(struct tcp *t, int value)
{
	u32 period = 1, timeout = 1;

	if (value <= 0) {
		t->defer_accept_s = 0;
		return 0;
	}
	for (u32 tries = 1; (u32)value > period && tries < 255; tries++) {
		timeout = MIN(timeout * 2, 120u);
		period += timeout;
	}
	t->defer_accept_s = period;
	return 0;
}

static int tcp_set_quickack(struct stack *s, struct sock *sk, struct tcp *t, int value)
{
	if (!value) {
		t->flags |= TCPF_PINGPONG;
		return 0;
	}
	t->flags &= ~(u32)TCPF_PINGPONG;
	t->quick = TCP_QUICK_ACKS;
	if (tcp_synchronized(t) && t->flags & TCPF_ACK_DELAYED) {
		tcp_send_ack(s, sk, t);
		if (!(value & 1))
			t->flags |= TCPF_PINGPONG;
	}
	return 0;
}

static int tcp_set_window_clamp(struct tcp *t, int value)
{
	if (!value) {
		if (t->state != TCP_CLOSED)
			return -EINVAL;
		t->window_clamp = 0;
		return 0;
	}
	t->window_clamp = value < CLAMP_MIN ? CLAMP_MIN : (u32)value;
	return 0;
}

static int tcp_set_mss(struct tcp *t, int value)
{
	if (value && (value < (int)TCP_MSS_MIN || value > MSS_OPT_MAX))
		return -EINVAL;
	t->user_mss = (u16)value; /* of no effect once the SYNs are exchanged, as on Linux */
	return 0;
}

static int tcp_set_congestion(const struct stack *s, struct tcp *t, const void *val, u32 len)
{
	int cc;

	if (len < 1)
		return -EINVAL;
	cc = tcp_cc_by_name(val, MIN(len, CC_NAME_MAX - 1));
	if (cc < 0)
		return -ENOENT;
	if (!(s->tunables.tcp_allowed_congestion_control & 1u << cc))
		return -EPERM;
	if (t->cc != cc) {
		t->cc = (u8)cc;
		tcp_cc_of(t)->init(t, s->now_ns);
	}
	return 0;
}

static int tcp_set_fastopen_connect(struct stack *s, struct sock *sk, int value)
{
	if (value < 0 || value > 1)
		return -EINVAL;
	if (!(s->tunables.tcp_fastopen & TFO_CLIENT))
		return -EOPNOTSUPP;
	if (sk->state != SOCK_CLOSED)
		return -EINVAL;
	tcp_of(s, sk)->tfo_connect = value;
	return 0;
}

/* One key, or the one in use and the one before it. */
static int tcp_set_fastopen_key(struct tcp *t, const void *val, u32 len)
{
	if (len != 16 && len != 32)
		return -EINVAL;
	t->tfo_keys = 0;
	memcpy(t->tfo_key, val, len);
	t->tfo_keys = (u8)(len / 16);
	return 0;
}

/* What is answered with an errno, and what has no effect here as it has none on Linux with a modern
 * peer. */
static int tcp_set_other(struct stack *s, struct sock *sk, int name, int value)
{
	switch (name) {
	case LX_TCP_REPAIR_OPTIONS: /* not in repair: it never is */
		return -EINVAL;
	case LX_TCP_REPAIR:
	case LX_TCP_REPAIR_QUEUE:
	case LX_TCP_QUEUE_SEQ:
	case LX_TCP_REPAIR_WINDOW:
	case LX_TCP_TIMESTAMP:
		return -EPERM;
	case LX_TCP_FASTOPEN:
		if (value < 0 || (sk->state != SOCK_CLOSED && sk->state != SOCK_LISTENING))
			return -EINVAL;
		sk->fastopen_qlen = MIN((u32)value, s->tunables.somaxconn);
		return 0;
	case LX_TCP_FASTOPEN_CONNECT:
		return tcp_set_fastopen_connect(s, sk, value);
	case LX_TCP_FASTOPEN_NO_COOKIE:
		if (value < 0 || value > 1)
			return -EINVAL;
		if (sk->state != SOCK_CLOSED && sk->state != SOCK_LISTENING)
			return -EINVAL;
		tcp_of(s, sk)->tfo_no_cookie = value;
		return 0;
	case LX_TCP_THIN_LINEAR_TIMEOUTS:
		if (value < 0 || value > 1)
			return -EINVAL;
		sk->stored = value ? sk->stored | 1ull << STORED_THIN_LINEAR
				   : sk->stored & ~(1ull << STORED_THIN_LINEAR);
		return 0;
	case LX_TCP_THIN_DUPACK:
		return value < 0 || value > 1 ? -EINVAL : 0;
	default:
		return -ENOPROTOOPT;
	}
}

/* Bounds of timers: of Linux, in its clock's ticks. */
static int tcp_set_timers(struct tcp *t, int name, int value)
{
	switch (name) {
	case LX_TCP_RTO_MAX_MS:
		if (value < RTO_MAX_LOW_MS || value > RTO_MAX_HIGH_MS)
			return -EINVAL;
		t->rtt.rto_max_ns = (u32)value * NS_PER_MS;
		return 0;
	case LX_TCP_RTO_MIN_US:
		if (value < TIMER_MIN_US || value > TIMER_MAX_US)
			return -EINVAL;
		t->rtt.rto_min_ns = (u32)value * NS_PER_US;
		return 0;
	case LX_TCP_DELACK_MAX_US:
		if (value < TIMER_MIN_US || value > TIMER_MAX_US)
			return -EINVAL;
		t->delack_max_us = (u32)value;
		return 0;
	case LX_TCP_SAVE_SYN:
		return tcp_set_small(value, 0, SAVE_SYN_MAX, &t->save_syn);
	default:
		return -ENOPROTOOPT;
	}
}

static int tcp_set_int(struct stack *s, struct sock *sk, struct tcp *t, int name, int value)
{
	int ret;

	switch (name) {
	case LX_TCP_NODELAY:
		return tcp_set_nodelay(s, sk, t, value);
	case LX_TCP_CORK:
		return tcp_set_cork(s, sk, t, value);
	case LX_TCP_MAXSEG:
		return tcp_set_mss(t, value);
	case LX_TCP_KEEPIDLE:
		ret = tcp_set_in_range(value, 1, KEEP_MAX_S, &t->keep_idle_s);
		if (ret == 0)
			tcp_opt_changed(s, sk, LX_SOL_SOCKET, LX_SO_KEEPALIVE);
		return ret;
	case LX_TCP_KEEPINTVL:
		return tcp_set_in_range(value, 1, KEEP_MAX_S, &t->keep_intvl_s);
	case LX_TCP_KEEPCNT:
		return tcp_set_small(value, 1, PROBES_MAX, &t->keep_cnt);
	case LX_TCP_SYNCNT:
		return tcp_set_small(value, 1, PROBES_MAX, &t->syn_retries);
	case LX_TCP_LINGER2:
		return tcp_set_linger2(t, value);
	case LX_TCP_DEFER_ACCEPT:
		return tcp_set_defer_accept(t, value);
	case LX_TCP_WINDOW_CLAMP:
		return tcp_set_window_clamp(t, value);
	case LX_TCP_QUICKACK:
		return tcp_set_quickack(s, sk, t, value);
	case LX_TCP_USER_TIMEOUT:
		return tcp_set_in_range(value, 0, INT32_MAX, &t->user_timeout_ms);
	case LX_TCP_NOTSENT_LOWAT:
		t->notsent_lowat = (u32)value;
		tcp_writable(s, sk, t);
		return 0;
	case LX_TCP_INQ:
		if (value < 0 || value > 1)
			return -EINVAL;
		t->flags = value ? t->flags | TCPF_INQ : t->flags & ~(u32)TCPF_INQ;
		return 0;
	default:
		ret = tcp_set_timers(t, name, value);
		return ret == -ENOPROTOOPT ? tcp_set_other(s, sk, name, value) : ret;
	}
}

int tcp_setopt(struct stack *s, struct sock *sk, int name, const void *val, u32 len)
{
	struct tcp *t = tcp_of(s, sk);
	int value, ret;

	if (name == LX_TCP_CONGESTION)
		return tcp_set_congestion(s, t, val, len);
	if (name == LX_TCP_FASTOPEN_KEY)
		return tcp_set_fastopen_key(t, val, len);
	if (name == LX_TCP_ULP)
		return len < 1 ? -EINVAL : -ENOENT;
	ret = sock_opt_read(val, len, &value);
	return ret < 0 ? ret : tcp_set_int(s, sk, t, name, value);
}

static int tcp_get_mss(const struct tcp *t)
{
	if (t->user_mss && (t->state == TCP_CLOSED || t->state == TCP_LISTEN))
		return t->user_mss;
	return t->mss;
}

/* Times and counts of retries. */
static int tcp_get_time(const struct stack_tunables *u, const struct tcp *t, int name, int *value)
{
	switch (name) {
	case LX_TCP_KEEPIDLE:
		*value = (int)(t->keep_idle_s ? t->keep_idle_s : u->tcp_keepalive_time_s);
		return 0;
	case LX_TCP_KEEPINTVL:
		*value = (int)(t->keep_intvl_s ? t->keep_intvl_s : u->tcp_keepalive_intvl_s);
		return 0;
	case LX_TCP_KEEPCNT:
		*value = t->keep_cnt ? t->keep_cnt : u->tcp_keepalive_probes;
		return 0;
	case LX_TCP_SYNCNT:
		*value = t->syn_retries ? t->syn_retries : u->tcp_syn_retries;
		return 0;
	case LX_TCP_LINGER2:
		*value = (int)(t->flags & TCPF_LINGER2_SET ? t->linger2_s : u->tcp_fin_timeout_s);
		return 0;
	case LX_TCP_DEFER_ACCEPT:
		*value = (int)t->defer_accept_s;
		return 0;
	case LX_TCP_USER_TIMEOUT:
		*value = (int)t->user_timeout_ms;
		return 0;
	case LX_TCP_RTO_MAX_MS:
		*value = (int)(t->rtt.rto_max_ns / NS_PER_MS);
		return 0;
	case LX_TCP_RTO_MIN_US:
		*value = (int)(t->rtt.rto_min_ns / NS_PER_US);
		return 0;
	case LX_TCP_DELACK_MAX_US:
		*value = t->delack_max_us ? (int)t->delack_max_us : TIMER_MAX_US;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

/* Where none was set, that of a connection is what the receive buffer leaves (Linux's
 * tcp_init_buffer_space). */
static u32 tcp_get_window_clamp(const struct sock *sk, const struct tcp *t)
{
	u32 most = tcp_share(t, sk->rcvbuf), mss = t->adv_mss;

	if (t->window_clamp || !tcp_synchronized(t))
		return t->window_clamp;
	return most > 2 * mss ? MAX(2 * mss, most - mss) : most;
}

static int tcp_get_number(
	struct stack *s, const struct sock *sk, const struct tcp *t, int name, int *value)
{
	switch (name) {
	case LX_TCP_NODELAY:
		*value = t->flags & TCPF_NODELAY ? 1 : 0;
		return 0;
	case LX_TCP_CORK:
		*value = t->flags & TCPF_CORK ? 1 : 0;
		return 0;
	case LX_TCP_MAXSEG:
		*value = tcp_get_mss(t);
		return 0;
	case LX_TCP_WINDOW_CLAMP:
		*value = (int)tcp_get_window_clamp(sk, t);
		return 0;
	case LX_TCP_QUICKACK:
		*value = t->flags & TCPF_PINGPONG ? 0 : 1;
		return 0;
	case LX_TCP_NOTSENT_LOWAT:
		*value = (int)t->notsent_lowat;
		return 0;
	case LX_TCP_INQ:
		*value = t->flags & TCPF_INQ ? 1 : 0;
		return 0;
	case LX_TCP_TIMESTAMP:
		*value = (int)tcp_clock(s, t->ts_offset);
		return 0;
	case LX_TCP_SAVE_SYN:
		*value = t->save_syn;
		return 0;
	case LX_TCP_REPAIR_QUEUE:
	case LX_TCP_QUEUE_SEQ:
		return -EINVAL;
	case LX_TCP_REPAIR_WINDOW:
		return -EPERM;
	case LX_TCP_FASTOPEN:
		*value = (int)sk->fastopen_qlen;
		return 0;
	case LX_TCP_THIN_LINEAR_TIMEOUTS:
		*value = sock_stored(sk, STORED_THIN_LINEAR);
		return 0;
	case LX_TCP_FASTOPEN_CONNECT:
		*value = t->tfo_connect;
		return 0;
	case LX_TCP_FASTOPEN_NO_COOKIE:
		*value = t->tfo_no_cookie;
		return 0;
	case LX_TCP_THIN_DUPACK:
	case LX_TCP_REPAIR:
		*value = 0;
		return 0;
	default:
		return tcp_get_time(&s->tunables, t, name, value);
	}
}

/* Linux's struct tcp_bbr_info; nothing of the others. */
static int tcp_get_cc_info(struct tcp *t, void *val, u32 *len)
{
	const struct bbr *b = bbr_of(t);
	const u32 info[5] = {(u32)b->bw, (u32)(b->bw >> 32), b->min_rtt_us,
		b->pacing_gain * 256u / 100, b->cwnd_gain * 256u / 100};

	if (t->cc == TCP_CC_BBR)
		return sock_opt_copy(val, len, info, sizeof(info));
	*len = 0;
	return 0;
}

/* The headers are given once. With too little room the length needed comes back with the error. */
static int tcp_get_saved_syn(struct stack *s, struct tcp *t, void *val, u32 *len)
{
	const struct pkt *p = pkt_get(s, t->saved_syn);
	u32 size = p ? pkt_len(p) : 0;

	if (*len < size) {
		*len = size;
		return -EINVAL;
	}
	*len = size;
	if (!p)
		return 0;
	memcpy(val, p->data + p->start, size);
	pkt_release(s, t->saved_syn);
	t->saved_syn = 0;
	return 0;
}

int tcp_getopt(struct stack *s, struct sock *sk, int name, void *val, u32 *len)
{
	struct tcp *t = tcp_of(s, sk);
	struct tcp_info_out info;
	char cc[CC_NAME_MAX] = {0};
	int value, ret;

	switch (name) {
	case LX_TCP_INFO:
		tcp_info_fill(s, sk, t, &info);
		return sock_opt_copy(val, len, &info, sizeof(info));
	case LX_TCP_CONGESTION:
		for (u32 i = 0; i < CC_NAME_MAX - 1 && tcp_cc_name(t->cc)[i]; i++)
			cc[i] = tcp_cc_name(t->cc)[i];
		return sock_opt_copy(val, len, cc, sizeof(cc));
	case LX_TCP_SAVED_SYN:
		return tcp_get_saved_syn(s, t, val, len);
	case LX_TCP_FASTOPEN_KEY:
		return sock_opt_copy(val, len, t->tfo_key, 16u * t->tfo_keys);
	case LX_TCP_CC_INFO:
		return tcp_get_cc_info(t, val, len);
	case LX_TCP_ULP:
		*len = 0;
		return 0;
	default:
		ret = tcp_get_number(s, sk, t, name, &value);
		return ret < 0 ? ret : sock_opt_int(val, len, value);
	}
}

/* Linux's tcp_inq */
static int tcp_inq(const struct sock *sk, const struct tcp *t)
{
	u32 available = tcp_available(sk, t), mark = t->urg_seq - t->copied_seq;

	if (t->state == TCP_SYN_RECEIVED)
		return 0;
	if (sk->options & OPT_OOBINLINE || t->urg_state == TCP_URG_NONE || mark >= available)
		return (int)available;
	return (int)mark;
}

int tcp_ioctl(struct stack *s, struct sock *sk, unsigned request, int *value)
{
	struct tcp *t = tcp_of(s, sk);
	u32 fin = t->flags & TCPF_FIN ? 1 : 0;

	if (request == LX_SIOCATMARK) {
		*value = t->urg_state != TCP_URG_NONE && t->urg_seq == t->copied_seq;
		return 0;
	}
	if (t->state == TCP_LISTEN)
		return -EINVAL;
	*value = 0;
	switch (request) {
	case LX_FIONREAD:
		*value = tcp_inq(sk, t);
		return 0;
	case LX_SIOCOUTQ:
		if (t->state != TCP_SYN_SENT && t->state != TCP_SYN_RECEIVED &&
			t->state != TCP_CLOSED)
			*value = (int)(t->snd_end + fin - t->snd_una);
		return 0;
	case LX_SIOCOUTQNSD:
		if (t->state != TCP_SYN_SENT && t->state != TCP_SYN_RECEIVED &&
			t->state != TCP_CLOSED)
			*value = (int)(t->snd_end + fin - t->snd_nxt);
		return 0;
	default:
		return -EINVAL;
	}
}

/* Linux's tcp_set_rcvlowat: so much has to fit, and may be there already. */
static void tcp_rcvlowat_changed(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 share = t->rcv_share ? t->rcv_share : 128;
	u64 space = (u64)sk->rcvlowat * 256 / share;

	if (tcp_synchronized(t) && tcp_readable(sk, t))
		sock_raise(s, sk, EV_IN);
	if (sk->options & OPT_RCVBUF_LOCKED || space <= sk->rcvbuf)
		return;
	sk->rcvbuf = (u32)MIN(space, INT32_MAX);
	if (t->window_clamp && t->window_clamp < sk->rcvlowat)
		t->window_clamp = sk->rcvlowat;
}

void tcp_opt_changed(struct stack *s, struct sock *sk, int level, int name)
{
	struct tcp *t = tcp_of(s, sk);

	if (level != LX_SOL_SOCKET)
		return;
	if (name == LX_SO_KEEPALIVE) {
		tcp_timer_keepalive(s, sk, t);
		tcp_timer_update(s, sk, t);
	} else if (name == LX_SO_RCVLOWAT) {
		tcp_rcvlowat_changed(s, sk, t);
	} else if (name == LX_SO_SNDBUF || name == LX_SO_SNDBUFFORCE) {
		tcp_writable(s, sk, t);
	} else if (name == LX_SO_MAX_PACING_RATE) {
		t->pacing_rate = MIN(t->pacing_rate, sk->max_pacing_rate);
	}
}
