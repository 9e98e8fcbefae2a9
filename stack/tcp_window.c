/*
 * The receive window: how much is advertised, when an update is worth a segment, and how the buffer
 * grows with the path.
 *
 * Half of the receive buffer is window, the other half covers what packets occupy beyond their
 * payload (as Linux's tcp_adv_win_scale 1). A buffer that has grown knows better: its window is the
 * share that the payload of full segments had of what they occupied, less a sixteenth of that
 * (Linux's scaling_ratio). The right edge never moves back (SHLD-14). It moves
 * forward only when that is worth it (receiver's silly window avoidance, MUST-39): below half of
 * the buffer, not for less than a segment or a sixteenth. Once in a round trip the buffer is
 * compared with what the program took in that time, and made twice as large plus room for slow
 * start, up to tcp_rmem[2], unless SO_RCVBUF was set (Linux's dynamic right sizing).
 */
#include "stack/tcp_conn.h"

#define PRESSED_SEGMENTS 4u

static u32 tcp_full_space(const struct sock *sk, const struct tcp *t)
{
	return tcp_share(t, sk->rcvbuf);
}

u32 tcp_space(const struct sock *sk, const struct tcp *t)
{
	return sk->rcvbuf > sk->rx_charged ? tcp_share(t, sk->rcvbuf - sk->rx_charged) : 0;
}

void tcp_window_measure(struct tcp *t, u32 len, u32 charged)
{
	if (len >= t->rcv_mss)
		t->rcv_seg_share = (u8)MIN((u64)len * 256 / charged, 240);
}

void tcp_window_init(struct stack *s, const struct sock *sk, u32 mss, u32 *wnd, u8 *wscale)
{
	const struct tcp *t = tcp_of(s, sk);
	u32 space = tcp_full_space(sk, t),
	    most = MAX(s->tunables.tcp_rmem[2], s->tunables.rmem_max);

	if (sk->options & OPT_RCVBUF_LOCKED)
		most = space;
	if (t && t->window_clamp) {
		space = MIN(space, t->window_clamp);
		most = MIN(most, t->window_clamp);
	}
	*wnd = MIN(space, s->tunables.tcp_workaround_signed_windows ? 32767u : 65535u);
	if (*wnd > mss)
		*wnd -= *wnd % mss;
	*wscale = 0;
	while (s->tunables.tcp_window_scaling && most > 65535 && *wscale < TCP_WSCALE_MAX) {
		most >>= 1;
		(*wscale)++;
	}
}

static u32 tcp_round_up(u32 n, u8 shift)
{
	u32 unit = 1u << shift;

	return (n + unit - 1) & ~(unit - 1);
}

/* Linux's __tcp_select_window under pressure: room for a few segments only; and none behind unread
 * text that there would be no memory for (tcp_prune.c). */
static u32 tcp_free_space(struct stack *s, const struct sock *sk, const struct tcp *t, u32 full)
{
	u32 free = MIN(tcp_space(sk, t), full);

	if (sk->rxq.count && !tcp_prune_allows(s, sk, t->rcv_mss))
		return 0;
	if (sock_memory_pressure(s) && free < full / 2)
		return MIN(free, PRESSED_SEGMENTS * (u32)t->adv_mss);
	return free;
}

static void tcp_window_count(struct stack *s, u32 before, u32 now, bool closed)
{
	if (before && !now)
		counter_inc(s, counter_tcp_window_closed);
	else if (!before && now)
		counter_inc(s, counter_tcp_window_opened);
	else if (now && closed)
		counter_inc(s, counter_tcp_window_zero);
}

u32 tcp_window_select(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 now = tcp_rcv_window(t), full = tcp_full_space(sk, t), free, mss, wnd;
	bool closed;

	if (t->flags & TCPF_NO_MEMORY) {
		t->flags &= ~(u32)TCPF_NO_MEMORY;
		t->rcv_wnd_end = t->rcv_nxt;
		tcp_window_count(s, now, 0, true);
		return 0;
	}
	if (t->window_clamp)
		full = MIN(full, t->window_clamp);
	free = tcp_free_space(s, sk, t, full);
	mss = MIN(t->rcv_mss, full);
	if (free < full / 2 && (free < full >> 4 || free < mss))
		wnd = 0;
	else if (t->rcv_wscale)
		wnd = tcp_round_up(free, t->rcv_wscale);
	else if (mss && (now + mss <= free || now > free))
		wnd = free - free % mss;
	else
		wnd = now;
	closed = !wnd;
	wnd = MAX(wnd, tcp_round_up(now, t->rcv_wscale));
	wnd = MIN(wnd, 65535u << t->rcv_wscale);
	t->rcv_wnd_end = seq_max(t->rcv_wnd_end, t->rcv_nxt + wnd);
	tcp_window_count(s, now, wnd, closed);
	return wnd;
}

/* The time a window takes to come in is a round trip, or more: the estimate of a side that sends
 * nothing. */
void tcp_window_arrived(struct stack *s, struct tcp *t)
{
	if (t->rcv_rtt_at_ns && seq_lt(t->rcv_nxt, t->rcv_rtt_seq))
		return;
	if (t->rcv_rtt_at_ns) {
		u64 sample = MAX(s->now_ns - t->rcv_rtt_at_ns, 1);

		if (!t->rcv_rtt_ns || sample < t->rcv_rtt_ns)
			t->rcv_rtt_ns = sample;
		else /* a longer path, or a pause of the peer */
			t->rcv_rtt_ns += (sample - t->rcv_rtt_ns) / 8;
	}
	t->rcv_rtt_at_ns = MAX(s->now_ns, 1);
	t->rcv_rtt_seq = t->rcv_nxt + MAX(tcp_rcv_window(t), t->rcv_mss);
}

static void tcp_rcvbuf_grow(struct stack *s, struct sock *sk, struct tcp *t)
{
	u32 copied = t->copied_seq - t->drs_seq, share;
	u64 window, buffer;

	if (!t->rcv_rtt_ns || s->now_ns - t->drs_ns < t->rcv_rtt_ns)
		return;
	if (copied > t->drs_space) {
		if (s->tunables.tcp_moderate_rcvbuf && !(sk->options & OPT_RCVBUF_LOCKED) &&
			!sock_memory_fixed(s)) {
			window = 2ull * copied + 16ull * t->rcv_mss;
			if (t->drs_space)
				window += 2 * window * (copied - t->drs_space) / t->drs_space;
			share = MAX(t->rcv_seg_share - t->rcv_seg_share / 16u, 128u);
			buffer = MIN(window * 256 / share, s->tunables.tcp_rmem[2]);
			if (buffer > sk->rcvbuf) {
				sk->rcvbuf = (u32)buffer;
				t->rcv_share = (u8)share;
			}
		}
		t->drs_space = copied;
	}
	t->drs_seq = t->copied_seq;
	t->drs_ns = s->now_ns;
}

/* Linux's __tcp_cleanup_rbuf: an ACK that waited is sent when the program has caught up, or the
 * window opens well. */
static bool tcp_update_worth(
	struct stack *s, const struct sock *sk, const struct tcp *t, u32 copied)
{
	u32 now = tcp_rcv_window(t), full = tcp_full_space(sk, t), free;

	if (t->flags & TCPF_ACK_DELAYED &&
		(t->rcv_nxt - t->rcv_acked > t->rcv_mss ||
			(copied && !(t->flags & TCPF_PINGPONG) && t->flags & TCPF_ACK_SOON &&
				t->copied_seq == t->rcv_nxt)))
		return true;
	if (!copied || sk->flags & SOCK_RCV_SHUT)
		return false;
	if (t->window_clamp)
		full = MIN(full, t->window_clamp);
	if (2 * (u64)now > full)
		return false;
	free = tcp_free_space(s, sk, t, full);
	if (free < full / 2 && (free < full >> 4 || free < t->rcv_mss))
		return false;
	return free && free >= 2 * (u64)now;
}

void tcp_window_read(struct stack *s, struct sock *sk, struct tcp *t, u32 copied)
{
	if (copied) {
		tcp_rcvbuf_grow(s, sk, t);
		tcp_prune_read(sk, t);
	}
	if (tcp_synchronized(t) && !(t->flags & TCPF_RCV_FIN) &&
		tcp_update_worth(s, sk, t, copied)) {
		tcp_send_ack(s, sk, t);
		tcp_timer_update(s, sk, t);
	}
}
